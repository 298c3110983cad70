"""``store.meta``: the plain JSON file beside the store that says how it is sealed and where its key comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from mlops_tui.core.errors import NotAllowed, StoreTooNew
from mlops_tui.core.paths import Home, private_dir
from mlops_tui.keys.files import NewFile, told

FORMAT = 1
STORAGE_VERSION = "v1.5.0"


class StoreMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What is written once when a store is made. Holds no secret.

    Attributes:
        format: version of this file.
        store_id: UUIDv7 of the store.
        encryption: ``on`` or ``off``; never changes.
        key_id: eight bytes in hex, derived from the key: names the key without revealing it.
        key_check: sixteen bytes in hex, derived from key, store id and mode: detects a wrong key.
        key_source: ``env``, ``credentials``, ``keyring``, ``file`` or ``plugin:NAME``.
        key_note: what the source needs to find the key again (keyring backend, wrapped key of a KMS).
        storage_version: DuckDB storage version that every ATTACH names.
        created: microseconds since the epoch, UTC.
    """

    format: int = FORMAT
    store_id: str
    encryption: Literal["on", "off"]
    key_id: str
    key_check: str
    key_source: str
    key_note: str = ""
    storage_version: str = STORAGE_VERSION
    created: int


def meta_path(home: Home) -> Path:
    """Return where ``store.meta`` of a home lies: beside the store."""
    return home.store.parent / "store.meta"


def read_meta(home: Home) -> StoreMeta | None:
    """Return what is known about the store's key, or None when there is no store yet. Needs no key.

    Raises:
        NotAllowed: the file is there and cannot be read or understood.
        StoreTooNew: a newer program wrote it.
    """
    path = meta_path(home)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotAllowed(f"cannot read {path}", str(error.strerror or error), "make it readable for you") from error
    try:
        if (found := msgspec.json.decode(raw)["format"]) > FORMAT:
            raise StoreTooNew(
                "the store was made by a newer program",
                f"{path} has format {found}, this program knows {FORMAT}",
                "upgrade mlops_tui",
            )
        return msgspec.json.decode(raw, type=StoreMeta)
    except (msgspec.DecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise NotAllowed(
            f"{path} is damaged", str(error), "put it back from a backup; it holds no secret but names the key"
        ) from error


def create_meta(home: Home, meta: StoreMeta) -> bool:
    """Write ``store.meta`` for a new store (0600, durable).

    Returns:
        False when another process made it first; read that one then.
    """
    path = meta_path(home)
    private_dir(path.parent)
    text = msgspec.json.format(msgspec.json.encode(meta), indent=2) + b"\n"
    with told(f"cannot write {path}"), NewFile(path.parent) as new:
        new.write(text)
        return new.commit(path, replace=False)


def leftover(home: Home) -> Path | None:
    """Return a store or a sealed artifact that lies there without a ``store.meta``, or None."""
    if home.store.is_file():
        return home.store
    for folder, pattern in ((home.store, "*.duckdb"), (home.blobs, "??/*")):
        if os.path.isdir(folder) and (found := next(iter(folder.glob(pattern)), None)):
            return found
    return None
