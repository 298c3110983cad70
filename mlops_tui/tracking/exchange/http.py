"""JSON over plain HTTP with the standard library: one connection a thread that is kept, and errors in our words."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlencode, urlsplit

from mlops_tui.core.errors import BadInput, MlopsError, NotAllowed, NotFound, Unreachable

PATIENCE_S = 120.0
Query = Mapping[str, Any] | Sequence[tuple[str, Any]]


class Site:
    """A server that speaks JSON. Safe for several threads: each has a connection of its own."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._secure, self._prefix = parts.scheme == "https", parts.path.rstrip("/")
        self.name = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._headers = {"Accept": "application/json"}
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        self._local = threading.local()
        self._opened: list[http.client.HTTPConnection] = []

    def get(self, path: str, query: Query = ()) -> Any:
        """Return the answer to a question."""
        return parsed(self.fetch(path, query))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the answer to a question that is asked with a body."""
        return parsed(self._exchange("POST", path, json.dumps(body).encode()))

    def fetch(self, path: str, query: Query = ()) -> bytes:
        """Return the bytes of an answer.

        Raises:
            Unreachable: nothing answers.
            NotAllowed: the server wants to know who asks, or refuses.
            NotFound: it has no such thing.
            MlopsError: it answers with another error.
        """
        return self._exchange("GET", f"{path}?{urlencode(query)}" if query else path, None)

    def stream(self, path: str, query: Query = ()) -> BinaryIO:
        """Return an answer of any size to read from; close it before this thread asks anything else."""
        answer = self._answered("GET", f"{path}?{urlencode(query)}" if query else path, None)
        return cast(BinaryIO, answer)

    def close(self) -> None:
        """Close every connection."""
        for connection in self._opened:
            connection.close()

    def _exchange(self, method: str, path: str, body: bytes | None) -> bytes:
        with self._answered(method, path, body) as answer:
            try:
                return answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise self._silence(error) from error

    def _answered(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        """Ask, once more when the kept connection turns out to be closed or to have an answer nobody read."""
        headers = {**self._headers, **({"Content-Type": "application/json"} if body is not None else {})}
        for attempt in (1, 2):
            connection = self._connection()
            try:
                connection.request(method, self._prefix + path, body, headers)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if attempt == 2 or isinstance(error, TimeoutError):
                    raise self._silence(error) from error
                continue
            if answer.status >= 400:
                raise self._refusal(answer.status, answer.read())
            return answer
        raise AssertionError("unreachable")

    def _silence(self, error: Exception) -> Unreachable:
        why = str(error) or type(error).__name__
        return Unreachable(f"{self.name} does not answer", why, "is the server running?")

    def _connection(self) -> http.client.HTTPConnection:
        if not hasattr(self._local, "connection"):
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._local.connection = kind(self.host, self.port, timeout=PATIENCE_S)
            self._opened.append(self._local.connection)
        found: http.client.HTTPConnection = self._local.connection
        return found

    def _refusal(self, status: int, content: bytes) -> MlopsError:
        text = content.decode(errors="replace").strip()
        try:
            text = str(json.loads(text)["message"])
        except (ValueError, KeyError, TypeError):
            text = "" if text.startswith("<") else text[:200]  # a page for people says nothing in one line
        if status in (401, 403):
            return NotAllowed(f"{self.name} refuses", text, "give user and password: http://USER:PASSWORD@HOST")
        if status in (404, 405):
            return NotFound(f"{self.name} has no such thing", text)
        return MlopsError(f"{self.name} answers with error {status}", text)


def parsed(content: bytes) -> Any:
    """Return JSON as it was meant: what is no number in JSON (NaN, Infinity) is one here.

    Raises:
        BadInput: it is no JSON.
    """
    try:
        return json.loads(content)
    except ValueError as error:
        text = content[:80].decode(errors="replace")
        raise BadInput(
            "the server answers with something else than JSON", text, "is this the right address?"
        ) from error
