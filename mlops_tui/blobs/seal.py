"""The seal: AES-256-GCM in chunks of 64 KiB with STREAM framing, a random data key a file, wrapped by the store's keys.

File: fixed header (23 bytes) ‖ wrapped data key (60 bytes) ‖ chunks of ciphertext and tag. The nonce of a chunk is
prefix (7) ‖ counter (4) ‖ last flag (1), so that a missing, repeated, moved or foreign chunk fails to open (Hoang,
Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015). The
fixed header is associated data of every chunk; header and the caller's context (an artifact's digest, say) are
associated data of the wrapped key, which is written last: so the context need not be known before the content was read.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mlops_tui.blobs.input import detached, open_regular, pieces
from mlops_tui.core.errors import MlopsError, NotAllowed
from mlops_tui.keys import Keys
from mlops_tui.keys.files import NewFile, told
from mlops_tui.keys.keys import WRAPPED_BYTES

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

CHUNK = 1 << 16
TAG = 16
MAGIC = b"MLSEAL"
VERSION = 1
_HEADER = struct.Struct(">6sBB8s7s")
_BODY_AT = _HEADER.size + WRAPPED_BYTES
_BATCH = 16


class Damaged(MlopsError):
    """A sealed file or an artifact is not what was written: bits changed, cut, reordered or swapped."""

    code = "MLOPS-E0101"


def nonce(prefix: bytes, index: int, last: bool) -> bytes:
    """Return the STREAM nonce of one chunk: 7 + 4 + 1 bytes."""
    return prefix + index.to_bytes(4, "big") + bytes([last])


class Sealer:
    """Writes one sealed file: :meth:`write` as often as wanted, then :meth:`finish` once. Holds ≤ 1.1 MiB."""

    def __init__(self, new: NewFile, keys: Keys) -> None:
        self._new, self._keys = new, keys
        self._data_key, self._prefix = os.urandom(32), os.urandom(7)
        self._cipher = AESGCM(self._data_key)
        self._header = _HEADER.pack(MAGIC, VERSION, CHUNK.bit_length() - 1, bytes.fromhex(keys.key_id), self._prefix)
        self._held, self._fill, self._index = memoryview(bytearray(CHUNK)), 0, 0
        self._out, self._end = memoryview(bytearray(_BATCH * (CHUNK + TAG))), 0
        self.size = 0
        new.write(self._header + bytes(WRAPPED_BYTES))

    def write(self, data: ReadableBuffer) -> None:
        """Seal some plaintext; nothing of it reaches the disk in the clear."""
        view = memoryview(data).cast("B")
        self.size += len(view)
        while view:
            # A full chunk waits until more comes: only then is it known not to be the last.
            if self._fill == CHUNK:
                self._emit(last=False)
            taken = view[: CHUNK - self._fill]
            self._held[self._fill : self._fill + len(taken)] = taken
            self._fill += len(taken)
            view = view[len(taken) :]

    def finish(self, context: bytes = b"") -> None:
        """Seal the last chunk and write the wrapped data key, bound to ``context``."""
        self._emit(last=True)
        self._flush()
        wrapped = self._keys.wrap(self._data_key, self._header + context)
        os.pwrite(self._new.fd, wrapped, _HEADER.size)

    def _emit(self, *, last: bool) -> None:
        end = self._end + self._fill + TAG
        self._cipher.encrypt_into(
            nonce(self._prefix, self._index, last), self._held[: self._fill], self._header, self._out[self._end : end]
        )
        self._end, self._index, self._fill = end, self._index + 1, 0
        if self._end + CHUNK + TAG > len(self._out):
            self._flush()

    def _flush(self) -> None:
        self._new.write(self._out[: self._end])
        self._end = 0


class SealedReader(io.RawIOBase):
    """Reads one sealed file; seekable, each chunk verified before a byte of it is given out.

    Opening checks the header, the data key and the last chunk, so a cut file is refused at once.
    """

    def __init__(self, fd: int, name: str, keys: Keys, context: bytes = b"") -> None:
        self._fd, self._name, self._at, self._loaded = fd, name, 0, -1
        try:
            self._header = os.pread(fd, _HEADER.size, 0)
            self._prefix = self._parse(keys)
            self._cipher = AESGCM(self._data_key(keys, context))
            body = os.fstat(fd).st_size - _BODY_AT
            self._last = max(0, -(-body // (CHUNK + TAG)) - 1)
            self.size = body - TAG * (self._last + 1)
            self._plain = memoryview(bytearray(CHUNK))
            self._load(self._last)
        except BaseException:
            self.close()
            raise

    def _parse(self, keys: Keys) -> bytes:
        """Check the fixed header and return the nonce prefix in it."""
        if len(self._header) < _HEADER.size or not self._header.startswith(MAGIC):
            raise self._damaged("it is not a sealed file")
        _, version, bits, key_id, prefix = _HEADER.unpack(self._header)
        if (version, bits) != (VERSION, CHUNK.bit_length() - 1):
            raise self._damaged(f"version {version}, chunks of 2^{bits} bytes: a newer program's, or a changed byte")
        if keys.mode == "off" or key_id.hex() != keys.key_id:
            raise NotAllowed(
                f"{self._name} is sealed with another key",
                f"it needs key {key_id.hex()}",
                "open it with the store it belongs to",
            )
        return cast(bytes, prefix)

    def _data_key(self, keys: Keys, context: bytes) -> bytes:
        wrapped = os.pread(self._fd, WRAPPED_BYTES, _HEADER.size)
        try:
            return keys.unwrap(wrapped, self._header + context)
        except NotAllowed as error:
            raise self._damaged("its key does not open: the header was changed, or it is another file's") from error

    def _damaged(self, why: str) -> Damaged:
        return Damaged(
            f"{self._name} is damaged", why, "restore it from a backup; what was made from it may be rebuilt"
        )

    def _load(self, index: int) -> int:
        """Decrypt one chunk into the buffer and return its length in bytes."""
        length = min(CHUNK, self.size - index * CHUNK)
        if index != self._loaded:
            sealed = os.pread(self._fd, CHUNK + TAG, _BODY_AT + index * (CHUNK + TAG))
            self._loaded = -1
            if length < 0 or len(sealed) != length + TAG:
                raise self._damaged(f"chunk {index} is cut")
            try:
                at = nonce(self._prefix, index, index == self._last)
                self._cipher.decrypt_into(at, sealed, self._header, self._plain[:length])
            except InvalidTag as error:
                raise self._damaged(f"chunk {index} of {self._last + 1} does not verify") from error
            self._loaded = index
        return length

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer as far as one chunk goes; 0 at the end.

        Raises:
            Damaged: the chunk was changed, moved or cut.
        """
        if self._at >= self.size:
            return 0
        index, offset = divmod(self._at, CHUNK)
        length = self._load(index)
        view = memoryview(buffer).cast("B")
        count = min(len(view), length - offset)
        view[:count] = self._plain[offset : offset + count]
        self._at += count
        return count

    def readall(self) -> bytes:
        """Return everything from here to the end."""
        rest = memoryview(bytearray(max(0, self.size - self._at)))
        done = 0
        while count := self.readinto(rest[done:]):
            done += count
        return bytes(rest[:done])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte of the plaintext and return its position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the position in the plaintext."""
        return self._at

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Close the file; may be called twice."""
        if not self.closed:
            super().close()
            os.close(self._fd)


def seal_stream(chunks: Iterable[ReadableBuffer], target: Path, keys: Keys, context: bytes = b"") -> int:
    """Write chunks to ``target`` sealed, whole or not at all; plain when encryption is off.

    Returns:
        Size of the plaintext in bytes.

    Raises:
        MlopsError: the disk is full or read-only; nothing stays behind.
    """
    with told(f"cannot write {target}"), NewFile(target.parent) as new:
        if keys.mode == "off":
            size = 0
            for chunk in chunks:
                new.write(view := memoryview(chunk).cast("B"))
                size += len(view)
        else:
            sealer = Sealer(new, keys)
            for chunk in chunks:
                sealer.write(chunk)
            sealer.finish(context)
            size = sealer.size
        new.commit(target)
    return size


def seal_file(source: Path, target: Path, keys: Keys, context: bytes = b"") -> int:
    """Seal a file to ``target`` and return its size in bytes; the source is left alone.

    Raises:
        NotFound: there is no such file.
        BadInput: the source is a symbolic link or not a regular file.
        MlopsError: the target cannot be written.
    """
    with open_regular(source) as file:
        return seal_stream(pieces(file), target, keys, context)


def open_sealed(path: Path, keys: Keys, context: bytes = b"") -> BinaryIO:
    """Open a file that :func:`seal_file` wrote; a seekable binary reader of the plaintext, nothing unsealed on disk.

    Raises:
        NotFound: there is no such file.
        BadInput: it is a symbolic link or not a regular file.
        NotAllowed: it was sealed with another store's key.
        Damaged: it was changed or cut (at opening or while reading).
    """
    file = open_regular(path)
    if keys.mode == "off":
        return file
    return cast(BinaryIO, io.BufferedReader(SealedReader(detached(file), str(path), keys, context), CHUNK))


def unseal_file(source: Path, target: Path, keys: Keys, context: bytes = b"") -> int:
    """Write the plaintext of a sealed file to ``target`` (0600), whole or not at all; returns its size in bytes.

    Raises:
        MlopsError: as :func:`open_sealed`; or the target cannot be written.
    """
    size = 0
    with open_sealed(source, keys, context) as file, told(f"cannot write {target}"), NewFile(target.parent) as new:
        for chunk in pieces(file):
            new.write(chunk)
            size += len(chunk)
        new.commit(target)
    return size
