"""Opening the database: the one place that knows which DuckDB this is and how it encrypts."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_tui.core.errors import MlopsError, NotAllowed

if TYPE_CHECKING:
    import duckdb

STORAGE_VERSION = "v1.5.0"
CATALOG = "store"
HOT = "hot"
"""Catalog in memory for what is searched again and again; it may be empty at any time."""
INVALIDATED = "has been invalidated"


class StoreGone(MlopsError):
    """The database gave up this opening of its file: what is committed is safe, and only a new one may go on."""

    code = "MLOPS-E0002"


def open_database(path: Path, key: str | None, *, memory_mb: int, threads: int) -> duckdb.DuckDBPyConnection:
    """Open or create the database file and lock the instance down.

    Args:
        path: the database file.
        key: passphrase of native AES-256-GCM; None opens it in plain.
        memory_mb: memory limit of the whole instance.
        threads: worker threads of the whole instance.

    Raises:
        NotAllowed: the key does not open the file.
        MlopsError: the file is damaged, or its disk is full or read-only.
    """
    import duckdb

    connection = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{memory_mb}MB",
            "threads": str(threads),
        },
    )
    options = f"STORAGE_VERSION '{STORAGE_VERSION}'"
    if key is not None:
        # The bare wheel refuses to write encrypted files; this extension brings the cipher: by path, never by network.
        connection.execute(f"LOAD '{_cipher_extension()}'")
        options += f", ENCRYPTION_KEY '{key}'"
    # Times are UTC whatever the machine's zone: otherwise now()::TIMESTAMP would be local.
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET temp_file_encryption = true")
    connection.execute(f"SET temp_directory = '{_quoted(path.parent / 'tmp')}'")
    try:
        connection.execute(f"ATTACH '{_quoted(path)}' AS {CATALOG} ({options})")
    except duckdb.Error as error:
        connection.close()
        raise _explained(path, key, error) from error
    connection.execute(f"ATTACH ':memory:' AS {HOT}")
    connection.execute(f"USE {CATALOG}")
    connection.execute(f"SET allowed_directories = ['{_quoted(path.parent)}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _cipher_extension() -> str:
    spec = importlib.util.find_spec("duckdb_extension_httpfs")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    for found in folder.glob("extensions/*/httpfs.duckdb_extension"):
        return _quoted(found)
    raise MlopsError(
        "the store cannot be encrypted: the cipher extension is missing",
        "the package duckdb-extension-httpfs is not installed beside duckdb",
        "pip install 'duckdb-extension-httpfs==1.5.5'",
    )


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def disk_failure(path: Path, error: BaseException) -> MlopsError | None:
    """Return what a person is told when the disk failed a statement, or None when that was not it."""
    if isinstance(error, MlopsError):  # told already, perhaps of another disk than the store's
        return None
    text = str(error)
    if INVALIDATED in text:
        return StoreGone(
            "the store has to be opened again", "its disk failed a write", "try again: a new agent takes everything up"
        )
    if "No space left on device" in text or "Disk quota exceeded" in text or "File too large" in text:
        return MlopsError(
            "the disk is full", f"{path.parent} takes no more bytes", "free some space and try again: nothing was kept"
        )
    if "Read-only file system" in text:
        return MlopsError(f"{path.parent} cannot be written", "its disk is read-only", "mount it for writing")
    return None


def _explained(path: Path, key: str | None, error: Exception) -> MlopsError:
    if (refused := disk_failure(path, error)) is not None:
        return refused
    text = str(error).splitlines()[0]
    if "encrypt" in text.lower() or "decrypt" in text.lower() or "key" in text.lower():
        why = (
            "the key is not the one that the store was made with"
            if key
            else "the store is encrypted and no key was given"
        )
        return NotAllowed(
            f"cannot open the store {path}", f"{why} ({text})", "mlops doctor says where the key is expected"
        )
    return MlopsError(f"cannot open the store {path}", text, "put a copy of it from a backup in its place")
