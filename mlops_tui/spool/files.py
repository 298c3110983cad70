"""The spool folder: what lies in it, files kept beside the events, and how they leave it again."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlops_tui.core.errors import Refused
from mlops_tui.core.ids import uuid7
from mlops_tui.core.paths import private_dir

KEPT = "files"
"""The folder below an owner's where copies of its artifacts lie until they are taken over."""

WIRE = "wire"
"""The folder where the agent itself writes what clients send; each record there names its owner."""


@dataclass(frozen=True, order=True)
class SpoolFile:
    """One event file. Sorts by owner, then by start: a parent's file before those of its forked children.

    Attributes:
        owner: id of the run, job or deployment.
        started: microseconds since the epoch, from the name.
        pid: of the writing process, from the name.
        path: the file.
        host: of the writing process, from the name; characters that file names dislike are ``_``.
        size: bytes now.
        mtime: microseconds since the epoch.
    """

    owner: str
    started: int
    pid: int
    path: Path
    host: str
    size: int
    mtime: int


def scan(spool: Path) -> list[SpoolFile]:
    """Return every event file below the spool folder, sorted. Links and foreign names are passed over."""
    found: list[SpoolFile] = []
    for folder in _entries(spool):
        if folder.is_dir(follow_symlinks=False):
            found += [one for entry in _entries(folder.path) if (one := _spool_file(folder.name, entry))]
    return sorted(found)


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []  # not there yet, or removed meanwhile


def _spool_file(owner: str, entry: os.DirEntry[str]) -> SpoolFile | None:
    stem, dot, suffix = entry.name.rpartition(".")
    parts = stem.rsplit("-", 2)
    if not dot or suffix != "jsonl" or len(parts) != 3 or not (parts[1].isdecimal() and parts[2].isdecimal()):
        return None
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return SpoolFile(
        owner, int(parts[2]), int(parts[1]), Path(entry.path), parts[0], facts.st_size, facts.st_mtime_ns // 1000
    )


def keep(folder: Path, source: Path | bytes) -> tuple[Path, int]:
    """Copy a file, or write bytes, into an owner's folder: whole and on disk, or not at all.

    The name of the copy is on disk once :func:`settle` was called, for as many as were kept.

    Args:
        folder: the owner's folder in the spool.
        source: what to copy.

    Returns:
        The absolute path of the copy, whose name tells nothing of the source, and its size in bytes.

    Raises:
        OSError: the source cannot be read, or the disk is full.
        MlopsError: the folder cannot be made.
    """
    private_dir(folder)
    target = private_dir(folder / KEPT).absolute() / uuid7()
    temporary = target.with_suffix(".tmp")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
            if isinstance(source, bytes):
                copy.write(source)
            else:
                with open(source, "rb") as original:
                    shutil.copyfileobj(original, copy, 1024 * 1024)
            size = copy.tell()
            copy.flush()
            os.fsync(copy.fileno())
        temporary.rename(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target, size


def settle(folder: Path) -> None:
    """Bring the names of what was kept in an owner's folder to disk.

    Raises:
        OSError: it cannot be done, or nothing was kept there.
    """
    fd = os.open(folder / KEPT, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def kept_file(spool: Path, owner: str, file: str) -> Path:
    """Return the copy that an artifact record names, having checked that it is one.

    A record is data: without this check, ``"file":"/home/me/.ssh/id_ed25519"`` would become an artifact.

    Raises:
        Refused: the path is not a plain file directly in the owner's folder of kept files.
    """
    path = Path(file)
    expected = (spool / owner / KEPT).absolute()
    if (
        path.parent != expected
        or path.is_symlink()
        or not path.is_file()
        or expected.resolve() != spool.resolve() / owner / KEPT
    ):
        raise Refused(
            f"{file} is not a file kept for {owner}", f"such files lie in {expected}", "log the artifact again"
        )
    return path


def remove(path: Path) -> None:
    """Delete an event file or a kept file, and the folders that become empty; what is gone already is fine."""
    path.unlink(missing_ok=True)
    folder = path.parent
    for empty in (folder, folder.parent) if folder.name == KEPT else (folder / KEPT, folder):
        with suppress(OSError):  # not empty, or not there
            empty.rmdir()
