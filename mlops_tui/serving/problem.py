"""What goes wrong with a request, as HTTP says it: a status and one sentence."""

from __future__ import annotations

import msgspec
import orjson

Headers = tuple[tuple[bytes, bytes], ...]
JSON: Headers = ((b"content-type", b"application/json"),)


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a request gets back, whatever carried it here; ``marks`` are headers that hardly any two answers share.

    A struct is made in 0.04 µs, a named tuple in 0.5.
    """

    status: int
    headers: Headers
    body: bytes
    marks: Headers = ()


def safe(text: str) -> bytes:
    """Return a client's words as the value of a header: what could end it, or is no Latin-1, becomes ``?``."""
    return "".join(c if c.isprintable() else "?" for c in text).encode("latin-1", "replace")


class Problem(Exception):
    """A request that cannot be answered; 4xx is the client's doing.

    Args:
        message: one sentence for the person who wrote the client.
        status: the HTTP status.
        headers: what the answer says besides its content type.
    """

    def __init__(self, message: str, status: int = 400, headers: Headers = ()) -> None:
        super().__init__(message)
        self.message, self.status, self.headers = message, status, headers

    def answer(self) -> Answer:
        """Return ``{"error": message}``; a client's own words may be in it: cut to 500 letters and made UTF-8."""
        text = self.message[:500].encode("utf-8", "replace").decode()
        return Answer(self.status, JSON + self.headers, orjson.dumps({"error": text}))
