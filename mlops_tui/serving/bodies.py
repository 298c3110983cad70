"""Request bodies before anything reads them: decompression within limits, and JSON with the client's mistakes named."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import msgspec

from mlops_tui.serving.problem import Answer, Problem

_T = TypeVar("_T")
_ANY_WRAPPER = 47
_BEYOND = 1 << 62
MAX_ID = 256
MAX_MEMBERS = 16
"""Parts of a compressed body: after each, what is left is copied, so that very many would take hours."""
COMPRESS_FROM = 1400
JSON_BODY, OCTETS, CSV = "application/json", "application/octet-stream", "text/csv"
_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": partial(gzip.compress, compresslevel=1, mtime=0),
    "deflate": partial(zlib.compress, level=1),
}
LENGTH = b"inference-header-content-length"
FEATURE_AGE = b"x-mlops-feature-age"
"""Sent as ``true``, and answered with the seconds since the oldest looked up row of the request was true."""


class Envelope:
    """What a request's headers say about its body; made once for all requests of a client that sends the same head.

    Attributes:
        headers: values by name in lower case.
        encoded: the body is compressed.
        length: bytes of JSON at the body's beginning when binary tensors follow; None: all of it. What is no number
            is more than any body has.
        id: the request's id, from ``x-request-id``.
        kind: the media type, in lower case; empty when the client does not say. What says that it is JSON in another
            way, or in UTF-8, is ``JSON_BODY``.
        wants: the encoding in which a large answer is to come, or an empty string.
        eager: a small one too, because the client takes nothing else.
        asks_age: the answer shall say how old the features are that were looked up.
    """

    __slots__ = ("asks_age", "eager", "encoded", "headers", "id", "kind", "length", "wants")

    def __init__(self, headers: Mapping[bytes, bytes]) -> None:
        self.headers = headers
        self.encoded = headers.get(b"content-encoding", b"identity").strip().lower() != b"identity"
        length = headers.get(LENGTH)
        self.length = None if length is None else int(length) if length.isdigit() and len(length) <= 12 else _BEYOND
        ident = headers.get(b"x-request-id")
        self.id = ident.decode("latin-1") if ident else None
        self.kind = _kind(headers.get(b"content-type", b"").decode("latin-1"))
        accepted = headers.get(b"accept-encoding", b"").decode("latin-1").lower()
        self.wants = _wanted(accepted)
        self.eager = accepted.strip() in _PACKERS
        self.asks_age = headers.get(FEATURE_AGE, b"false").strip().lower() == b"true"


def _kind(said: str) -> str:
    name, _, more = said.lower().partition(";")
    name = name.strip()
    if name == "application/x-www-form-urlencoded":
        return ""  # curl and urllib say this of whatever they are given
    if name == JSON_BODY or name.endswith("+json"):
        charset = more.replace(" ", "").partition("charset=")[2].strip('"')
        return JSON_BODY if charset in ("", "utf-8", "utf8", "us-ascii") else said
    return name


def _wanted(accepted: str) -> str:
    """Return the first encoding that the client takes and we have; one with q=0 is not taken."""
    for one in accepted.split(",") if accepted else ():
        name, _, weight = one.partition(";")
        if name.strip() in _PACKERS and weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            return name.strip()
    return ""


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
            if len(parts) > MAX_MEMBERS:
                raise Problem(f"the compressed body has more than {MAX_MEMBERS} parts")
            body = unpacker.unused_data
    except zlib.error as error:
        raise Problem(f"cannot decompress the body ({error})") from error
    return b"".join(parts)


def packed(envelope: Envelope, answer: Answer) -> Answer:
    """Compress an answer as its client wishes; small ones only for who takes nothing else."""
    if len(answer.body) < COMPRESS_FROM and not envelope.eager:
        return answer
    encoding = (b"content-encoding", envelope.wants.encode())
    return Answer(answer.status, (*answer.headers, encoding), _PACKERS[envelope.wants](answer.body), answer.marks)


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
        Problem: it is longer than ``MAX_ID`` characters.
    """
    if given is not None and len(given) > MAX_ID:
        raise Problem(f"the request id is longer than {MAX_ID} characters")
    return given
