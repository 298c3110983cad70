"""An artifact that comes in parts, in any order and side by side: each part is sealed whole, joined at the end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from blake3 import blake3

from mlops_tui.blobs.input import pieces
from mlops_tui.blobs.seal import open_sealed, seal_stream
from mlops_tui.core.errors import BadInput, Conflict, NotFound

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from mlops_tui.blobs.store import Blob, Blobs

_NAME = re.compile(r"[0-9a-f-]{36}", re.ASCII)


class Parts:
    """The parts of one upload. They lie among the unfinished artifacts, where ``Blobs.sweep`` finds what is left."""

    def __init__(self, blobs: Blobs, name: str) -> None:
        """Take the artifacts and the upload's name, a UUID.

        Raises:
            BadInput: that is no name of an upload.
        """
        if not _NAME.fullmatch(name):
            raise BadInput(f"{name!r:.80} names no upload")
        self._blobs, self._name = blobs, name

    def put(self, number: int, chunks: Iterable[ReadableBuffer]) -> str:
        """Keep a part whole or not at all, instead of an earlier one of its number; returns its digest.

        Raises:
            MlopsError: the disk is full.
        """
        check = blake3()

        def hashed() -> Iterator[ReadableBuffer]:
            for chunk in chunks:
                check.update(chunk)
                yield chunk

        seal_stream(hashed(), self._path(number), self._blobs.keys, self._name.encode())
        return str(check.hexdigest())

    def join(self, digests: list[tuple[int, str]]) -> Blob:
        """Store the parts as one artifact, in order of their numbers; they themselves stay until :meth:`drop`.

        Args:
            digests: the number of each part, with the digest that :meth:`put` gave it; an empty one is not compared.

        Raises:
            NotFound: a part is not there.
            Conflict: a part is another one.
        """
        return self._blobs.put_stream(self._joined(sorted(digests)))

    def drop(self) -> None:
        """Remove what is there of the upload."""
        for path in self._blobs.incoming().glob(f".new-{self._name}-*"):
            path.unlink(missing_ok=True)

    def _joined(self, digests: list[tuple[int, str]]) -> Iterator[memoryview]:
        for number, expected in digests:
            check = blake3()
            with self._open(number) as file:
                for piece in pieces(file):
                    check.update(piece)
                    yield piece
            if expected and check.hexdigest() != expected:
                raise Conflict(f"part {number} is not the one that was sent", "", "send the file again")

    def _open(self, number: int) -> BinaryIO:
        try:
            return open_sealed(self._path(number), self._blobs.keys, self._name.encode())
        except NotFound as error:
            raise NotFound(f"part {number} of the upload is not there", "", "send the file again") from error

    def _path(self, number: int) -> Path:
        return self._blobs.incoming() / f".new-{self._name}-{number}"
