"""Files that are either whole on disk or absent: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from mlops_tui.core.errors import MlopsError


@contextmanager
def told(what: str, fix: str = "free some space or choose a folder that you may write") -> Iterator[None]:
    """Turn an ``OSError`` inside the block into an :class:`MlopsError` that says what failed and why."""
    try:
        yield
    except OSError as error:
        raise MlopsError(what, str(error.strerror or error), fix) from error


def sync_dir(folder: Path) -> None:
    """Make the names in a folder durable; file systems that cannot are taken at their word."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError:
        pass
    finally:
        os.close(fd)


class NewFile:
    """A file under a temporary name (0600, ``O_EXCL``) that :meth:`commit` puts in place whole.

    Used as a context manager: leaving it without a commit removes the temporary file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f".new-{os.getpid()}-{secrets.token_hex(6)}"
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._committed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all bytes; a short write is continued."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]

    def commit(self, target: Path, *, replace: bool = True, mode: int = 0o600, durable: bool = True) -> bool:
        """Make the content durable and give it its name.

        Args:
            target: the name.
            replace: take the name from another file.
            mode: the file's permissions.
            durable: wait for the disk; False leaves that to :meth:`Blobs.settle` and the like.

        Returns:
            False when ``replace`` is false and the name was already taken (nothing changes then).
        """
        if mode != 0o600:
            os.fchmod(self.fd, mode)
        if durable:
            os.fsync(self.fd)
        if not replace and not self._claim(target):
            return False
        if replace:
            os.replace(self.path, target)
        self._committed = True
        if durable:
            sync_dir(target.parent)
        return True

    def _claim(self, target: Path) -> bool:
        """Give the file its name only if that is free; a link cannot overwrite, a rename can."""
        try:
            os.link(self.path, target)
        except FileExistsError:
            return False
        except OSError:
            # File systems without hard links (FAT, some network mounts): the agent's lock is the only guard left.
            if os.path.lexists(target):
                return False
            os.rename(self.path, target)
        else:
            os.unlink(self.path)
        return True

    def __enter__(self) -> NewFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self.fd)
        if not self._committed:
            self.path.unlink(missing_ok=True)
