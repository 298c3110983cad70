"""Models in memory: unsealed once by the supervisor, handed to workers as open files, never plain on a disk."""

from __future__ import annotations

import functools
import io
import mmap
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mlops_tui.core.errors import Conflict, NotFound
from mlops_tui.core.paths import Home
from mlops_tui.serving.deployment import Model

if TYPE_CHECKING:
    from mlops_tui.blobs import Blobs


class Vault:
    """The open memory files of the models that are served, by their key.

    A memory file belongs to whoever has it open: a new worker gets the old one's, and a new supervisor gets them back
    from the workers, so neither needs the store's key. The key is opened for each new sealed model and not kept.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self.files: dict[str, int] = {}

    def open(self, model: Model) -> int:
        """Return the memory file of a model; reads and unseals it if it is not there yet.

        Raises:
            NotFound: neither an artifact nor a file of that name.
            Conflict: a plain file has another digest than the routes say.
            NotAllowed: the store's key is missing, locked or wrong.
            Damaged: the artifact was changed.
        """
        if model.key not in self.files:
            self.files[model.key] = (
                self._packed(model)
                if model.parts
                else into_memory(*self._content(model.file, model.digest, self._blobs))
            )
        return self.files[model.key]

    def _packed(self, model: Model) -> int:
        """Return the files of a folder as one memory file: a tar, which the model's own process unpacks."""
        blobs = functools.cache(self._blobs)
        with _unsized() as archive:
            with tarfile.open(fileobj=archive, mode="w|") as tar:
                for part in model.parts:
                    member = tarfile.TarInfo(part.path)
                    member.size, chunks = self._content(part.file, part.digest, blobs)
                    tar.addfile(member, io.BufferedReader(_Chunks(chunks)))
            archive.flush()
            _freeze(archive.fileno())
            return os.dup(archive.fileno())

    def _content(self, file: str, digest: str, blobs: Callable[[], Blobs]) -> tuple[int, Iterable[bytes]]:
        """Return the size and the bytes of a file, sealed or plain."""
        kept = os.path.realpath(self._home.blobs) + os.sep
        if digest and os.path.realpath(file).startswith(kept):
            return blobs().size(digest), blobs().iter_chunks(digest)
        data = _plain(file, digest)
        return len(data), [data]

    def adopt(self, key: str, fd: int) -> None:
        """Take over a memory file that a worker has kept."""
        if key in self.files:
            os.close(fd)
        else:
            self.files[key] = fd

    def keep(self, keys: Collection[str]) -> None:
        """Let go of every model that is not among ``keys``."""
        for key in self.files.keys() - keys:
            os.close(self.files.pop(key))

    def _blobs(self) -> Blobs:
        from mlops_tui.blobs import Blobs
        from mlops_tui.core.config import load
        from mlops_tui.keys import open_keys, read_meta

        # Without this, opening keys would begin a new store.
        if read_meta(self._home) is None:
            raise NotFound(f"there is no store in {self._home.data}", "it holds the key of the model", "set MLOPS_HOME")
        return Blobs(self._home.blobs, open_keys(self._home, load(where=self._home)))


class _Chunks(io.RawIOBase):
    """What comes in pieces, as a file that is read from its beginning to its end."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks, self._left = iter(chunks), memoryview(b"")

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the next piece goes; 0 at the end."""
        while not self._left:
            piece = next(self._chunks, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


def _plain(file: str, digest: str) -> bytes:
    from blake3 import blake3

    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise NotFound(f"cannot read the model {file}", str(error.strerror or error)) from error
    if re.fullmatch(r"[0-9a-f]{64}", digest) and (found := blake3(data).hexdigest()) != digest:
        raise Conflict(f"{file} is not the model {digest[:12]}", f"its digest is {found[:12]}")
    return data


def into_memory(size: int, chunks: Iterable[bytes]) -> int:
    """Return an open file that exists in memory only, with these bytes; nobody can change it any more.

    Args:
        size: the number of bytes that the chunks have together, more than 0.
        chunks: the content.

    Raises:
        Conflict: there is nothing in it.
    """
    if size < 1:
        raise Conflict("the model is empty")
    fd = _anonymous(size)
    try:
        with mmap.mmap(fd, size) as memory:
            for chunk in chunks:
                memory.write(chunk)
        _freeze(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def place_of(fd: int) -> bytes | str:
    """Return where a reader finds a memory file without a copy of it: a path on Linux, else the content."""
    path = f"/proc/self/fd/{fd}"
    return path if os.path.exists(path) else from_memory(fd)


def from_memory(fd: int) -> bytes:
    """Return the content of a memory file."""
    # Linux before 6.7 refuses to share a frozen file, even for reading.
    flags = mmap.MAP_PRIVATE if hasattr(os, "memfd_create") else mmap.MAP_SHARED
    with mmap.mmap(fd, 0, flags=flags, prot=mmap.PROT_READ) as memory:
        return memory[:]


def _anonymous(size: int) -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("mlops-model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        return fd
    from multiprocessing.shared_memory import SharedMemory

    shared = SharedMemory(create=True, size=size)
    fd = os.dup(shared._fd)  # type: ignore[attr-defined]
    shared.close()
    shared.unlink()
    return fd


def _unsized() -> IO[bytes]:
    """Return a file in memory that grows; where there is none, one on disk that has no name."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("mlops-model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb")
    return tempfile.TemporaryFile()


def _freeze(fd: int) -> None:
    import fcntl

    if hasattr(fcntl, "F_ADD_SEALS"):
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
