"""Opening what somebody else names: regular files only, never through a symbolic link, never blocking on a pipe."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from mlops_tui.core.errors import BadInput, MlopsError, NotFound

PIECE = 1 << 20


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, without buffering.

    Raises:
        NotFound: there is no such file.
        BadInput: it is a symbolic link, a folder, a pipe, a socket or a device.
        MlopsError: it cannot be read (permissions, I/O error).
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise NotFound(f"there is no file {path}") from error
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise BadInput(
                f"{path} is a symbolic link", "links can point outside what you meant", "give the file itself"
            ) from error
        raise MlopsError(f"cannot read {path}", str(error.strerror), "") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise BadInput(f"{path} is not a file", "it is a folder, a pipe, a socket or a device", "give a regular file")
    return cast(BinaryIO, open(fd, "rb", buffering=0))


def pieces(file: BinaryIO) -> Iterator[memoryview]:
    """Yield a file's bytes from here to the end, up to 1 MiB at a time; a piece is valid until the next one."""
    buffer = memoryview(bytearray(PIECE))
    readinto = file.readinto  # type: ignore[attr-defined]
    while count := readinto(buffer):
        yield buffer[:count]


def detached(file: BinaryIO) -> int:
    """Return an own descriptor of an open file, and close the file."""
    with file:
        return os.dup(file.fileno())
