"""Request bodies before anything reads them: decompression within limits, and JSON with the client's mistakes named."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from mlops_tui.serving.problem import Answer, Problem

_T = TypeVar("_T")
_ANY_WRAPPER = 47
_BEYOND = 1 << 62
COMPRESS_FROM = 8192
LENGTH = b"inference-header-content-length"


class Envelope:
    """What a request's headers say about its body; made once for all requests of a client that sends the same head.

    Attributes:
        headers: values by name in lower case.
        encoded: the body is compressed.
        length: bytes of JSON at the body's beginning when binary tensors follow; None: all of it. What is no number
            is more than any body has.
        id: the request's id, from ``x-request-id``.
    """

    __slots__ = ("encoded", "headers", "id", "length")

    def __init__(self, headers: Mapping[bytes, bytes]) -> None:
        self.headers = headers
        self.encoded = headers.get(b"content-encoding", b"identity").strip().lower() != b"identity"
        length = headers.get(LENGTH)
        self.length = None if length is None else int(length) if length.isdigit() and len(length) <= 12 else _BEYOND
        ident = headers.get(b"x-request-id")
        self.id = ident.decode("latin-1") if ident else None


def plain(headers: Mapping[bytes, bytes], body: bytes, limit: int) -> bytes:
    """Return the body as it was before ``Content-Encoding``.

    Args:
        headers: the request's, names in lower case.
        body: as it came.
        limit: bytes at most after decompression.

    Raises:
        Problem: 415 for an unknown encoding, 400 for data that do not unpack, 413 beyond the limit.
    """
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding == b"identity":
        return body
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise Problem(f"content-encoding {encoding.decode('latin-1')!r} is not supported; use gzip or deflate", 415)
    parts: list[bytes] = []
    room = limit
    try:
        while body:
            unpacker = zlib.decompressobj(_ANY_WRAPPER)
            part = unpacker.decompress(body, room + 1)
            room -= len(part)
            if room < 0:
                raise Problem(f"the body is larger than {limit} bytes after decompression", 413)
            if not unpacker.eof:
                raise Problem("the compressed body is cut short")
            parts.append(part)
            body = unpacker.unused_data
    except zlib.error as error:
        raise Problem(f"cannot decompress the body ({error})") from error
    return b"".join(parts)


def packed(answer: Answer) -> Answer:
    """Compress a large answer; small ones are not worth the time."""
    if len(answer.body) < COMPRESS_FROM:
        return answer
    body = gzip.compress(answer.body, 1)
    return Answer(answer.status, (*answer.headers, (b"content-encoding", b"gzip")), body)


def decoded(decoder: msgspec.json.Decoder[_T], text: bytes) -> _T:
    """Decode JSON into the decoder's type.

    Raises:
        Problem: it is not JSON, not UTF-8, nested too deep, or not of that type.
    """
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(f"the body is not what is expected: {error}") from error
    except RecursionError as error:
        raise Problem("the body is nested too deep") from error


def checked_id(given: str | None) -> str | None:
    """Return the id that a client gave its request, if it gave one.

    Raises:
        Problem: it is longer than 256 bytes.
    """
    if given is not None and len(given) > 64 and len(given.encode("utf-8", "replace")) > 256:
        raise Problem("the request id is longer than 256 bytes")
    return given
