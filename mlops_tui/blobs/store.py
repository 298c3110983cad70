"""Artifacts by content: the name of a blob is the BLAKE3 digest of its plaintext, the file holds it sealed."""

from __future__ import annotations

import fcntl
import io
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec
from blake3 import blake3

from mlops_tui.blobs.input import detached, open_regular, pieces
from mlops_tui.blobs.seal import CHUNK, Damaged, SealedReader, Sealer
from mlops_tui.core.errors import BadInput, Conflict, MlopsError, NotFound
from mlops_tui.core.paths import private_dir
from mlops_tui.keys import Keys
from mlops_tui.keys.files import NewFile, sync_dir, told

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Blob(msgspec.Struct, frozen=True):
    """A stored artifact: BLAKE3 digest of the plaintext (64 hex digits) and its size in bytes."""

    digest: str
    size: int


class BlobWriter:
    """Takes an artifact's bytes as they come; :meth:`finish` gives it its name. Leaving it unfinished keeps nothing."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs, self._hash, self._size = blobs, blake3(), 0
        with told(f"cannot write below {blobs.root}"):
            self._new = NewFile(blobs.incoming())
        try:
            self._sealer = Sealer(self._new, blobs.keys) if blobs.sealed else None
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def write(self, data: ReadableBuffer) -> None:
        """Take some bytes.

        Raises:
            MlopsError: the disk is full.
        """
        self._hash.update(data)
        self._size += memoryview(data).nbytes
        with told("cannot store the artifact"):
            (self._sealer or self._new).write(data)  # type: ignore[arg-type]

    def finish(self, expected: str = "", *, durable: bool = True) -> Blob:
        """Make the artifact durable under its digest; one that is there and healthy is kept instead.

        Args:
            expected: the digest that the bytes must have; empty: any.
            durable: wait for the disk; False where :meth:`Blobs.settle` is called before anything refers to it.

        Raises:
            Conflict: the bytes have another digest than expected.
            MlopsError: the disk is full.
        """
        digest = self._hash.hexdigest()
        if expected and digest != expected:
            raise Conflict(
                "the artifact changed while it was read", f"{expected[:12]} became {digest[:12]}", "try again"
            )
        if not self._blobs.holds(digest):
            with told("cannot store the artifact"):
                if self._sealer:
                    self._sealer.finish(bytes.fromhex(digest))
                self._new.commit(self._blobs.place(digest), mode=0o400, durable=durable)
        return Blob(digest, self._size)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._new.__exit__(kind, error, at)


class Blobs:
    """The artifacts of one store, as files below one folder: sealed, or plain when encryption is off.

    Safe for several processes at once. A reader gets verified bytes only: sealed ones chunk by chunk, with the digest
    bound into the file's key; plain ones by hashing them.
    """

    def __init__(self, root: Path, keys: Keys) -> None:
        """Take the folder (made when the first blob is written) and the store's keys."""
        self.root, self.keys = root, keys
        self.sealed = keys.mode != "off"

    def put_file(self, path: Path) -> Blob:
        """Store a file's content. It is hashed first, so that one already here is not written again.

        Raises:
            NotFound: there is no such file.
            BadInput: it is a symbolic link or not a regular file.
            Conflict: it changed while it was read.
            MlopsError: the disk is full or the file cannot be read.
        """
        with open_regular(path) as file, told(f"cannot read {path}", ""):
            blob = _hashed(pieces(file))
            if self.holds(blob.digest):
                return blob
            file.seek(0)
            return self.put_stream(pieces(file), blob.digest)

    def put_bytes(self, data: ReadableBuffer) -> Blob:
        """Store bytes that are in memory."""
        blob = _hashed([data])
        return blob if self.holds(blob.digest) else self.put_stream([data], blob.digest)

    def put_stream(self, chunks: Iterable[ReadableBuffer], expected: str = "") -> Blob:
        """Store chunks as they come, of any total size; see :meth:`BlobWriter.finish`."""
        with self.writer() as writer:
            for chunk in chunks:
                writer.write(chunk)
            return writer.finish(expected)

    def writer(self) -> BlobWriter:
        """Return a writer for bytes that somebody else pushes; use it in a ``with`` block."""
        return BlobWriter(self)

    def open(self, digest: str) -> BinaryIO:
        """Return a seekable binary reader of the plaintext; nothing unsealed touches the disk.

        A plain blob is hashed whole before it is given out.

        Raises:
            BadInput: that is not a digest.
            NotFound: no such artifact.
            Damaged: it was changed, cut or swapped (at opening, or while reading a sealed one).
            NotAllowed: another store's key sealed it.
        """
        if self.sealed:
            return cast(BinaryIO, io.BufferedReader(self._raw(digest), CHUNK))
        file = self._file(digest)
        try:
            self._compare(digest, _hashed(pieces(file)).digest)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, file), CHUNK))

    def iter_chunks(self, digest: str) -> Iterator[bytes]:
        """Yield the plaintext up to 1 MiB at a time; raises as :meth:`open`, and at the end if the digest is wrong."""
        check = blake3()
        with self._raw(digest) if self.sealed else self._file(digest) as file:
            for piece in pieces(cast(BinaryIO, file)):
                check.update(piece)
                yield bytes(piece)
        self._compare(digest, check.hexdigest())

    def read_bytes(self, digest: str) -> bytes:
        """Return the whole plaintext, verified against the digest; raises as :meth:`open`."""
        return b"".join(self.iter_chunks(digest))

    def verify(self, digest: str) -> Blob:
        """Read the whole artifact and compare it with its name; raises as :meth:`open`."""
        return Blob(digest, sum(map(len, self.iter_chunks(digest))))

    def exists(self, digest: str) -> bool:
        """Tell whether an artifact of that name is there; says nothing about its health."""
        return self._path(digest).is_file()

    def healthy(self, digest: str) -> bool:
        """Tell whether an artifact is there and opens: sealed, its key and its last chunk; plain, all of it."""
        try:
            self.open(digest).close()
        except MlopsError:
            return False
        return True

    def holds(self, digest: str) -> bool:
        """Tell whether a healthy artifact is there, and make it as young as a new one: somebody is about to need it."""
        if not self.exists(digest):
            return False
        with self._gate(fcntl.LOCK_SH), suppress(FileNotFoundError):
            if self.healthy(digest):
                os.utime(self._path(digest))
                return True
        return False

    def old(self, before: float) -> Iterator[Blob]:
        """Yield every artifact that nobody has stored since a moment (seconds since 1970), with its sealed size."""
        for digest in self.digests():
            with suppress(FileNotFoundError):
                facts = self._path(digest).stat()
                if facts.st_mtime < before:
                    yield Blob(digest, facts.st_size)

    def drop(self, digest: str, before: float) -> bool:
        """Remove an artifact unless somebody has stored it again since a moment; return whether it is gone."""
        with self._gate(fcntl.LOCK_EX), suppress(FileNotFoundError):
            if self._path(digest).stat().st_mtime >= before:
                return False
            self._path(digest).unlink()
        return True

    def settle(self, digest: str) -> None:
        """Wait until an artifact and its name are on the disk.

        Raises:
            BadInput: that is not a digest.
            NotFound: no such artifact.
        """
        with self._file(digest) as file:
            os.fsync(file.fileno())
        sync_dir(self._path(digest).parent)

    def size(self, digest: str) -> int:
        """Return the size of the plaintext in bytes; raises as :meth:`open`."""
        if not self.sealed:
            with self._file(digest) as file:
                return os.fstat(file.fileno()).st_size
        with self._raw(digest) as file:
            return file.size

    def delete(self, digest: str) -> None:
        """Remove an artifact; readers that have it open keep it.

        Raises:
            NotFound: no such artifact.
        """
        path = self._path(digest)
        try:
            path.unlink()
        except FileNotFoundError as error:
            raise NotFound(f"there is no artifact {digest[:12]}") from error
        sync_dir(path.parent)

    def digests(self) -> Iterator[str]:
        """Yield the name of every artifact here."""
        for path in sorted(self.root.glob("??/*")):
            if _DIGEST.fullmatch(name := path.parent.name + path.name):
                yield name

    def sweep(self, older_than_s: float = 86_400) -> int:
        """Remove what killed writers left unfinished; returns how many files."""
        stale = [p for p in self.incoming().glob(".new-*") if time.time() - p.stat().st_mtime > older_than_s]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

    def incoming(self) -> Path:
        """Return the folder of unfinished artifacts, made if need be."""
        return private_dir(private_dir(self.root) / "incoming")

    def place(self, digest: str) -> Path:
        """Return where an artifact goes; its folder is made and durable."""
        path = self._path(digest)
        if not path.parent.is_dir():
            private_dir(path.parent)
            sync_dir(self.root)
        return path

    @contextmanager
    def _gate(self, kind: int) -> Iterator[None]:
        """Hold off those who remove while somebody finds what is there, in whatever process."""
        gate = os.open(private_dir(self.root) / ".gate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(gate, kind)
            yield
        finally:
            os.close(gate)

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise BadInput(f"{digest[:80]!r} is not a digest", "a digest is 64 hexadecimal digits in lower case")
        return self.root / digest[:2] / digest[2:]

    def _file(self, digest: str) -> BinaryIO:
        try:
            return open_regular(self._path(digest))
        except NotFound as error:
            raise NotFound(f"there is no artifact {digest[:12]}") from error
        except BadInput as error:
            if not _DIGEST.fullmatch(digest):
                raise
            raise Damaged(f"artifact {digest[:12]} is damaged", error.what, "restore it from a backup") from error

    def _raw(self, digest: str) -> SealedReader:
        return SealedReader(detached(self._file(digest)), f"artifact {digest[:12]}", self.keys, bytes.fromhex(digest))

    def _compare(self, digest: str, found: str) -> None:
        if found != digest:
            raise Damaged(
                f"artifact {digest[:12]} is damaged", f"its content has digest {found[:12]}", "restore it from a backup"
            )


def _hashed(chunks: Iterable[ReadableBuffer]) -> Blob:
    check, size = blake3(), 0
    for chunk in chunks:
        check.update(chunk)
        size += memoryview(chunk).nbytes
    return Blob(check.hexdigest(), size)
