"""Which function answers which path, and what it is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from mlops_tui.agent.mlflow.coding import Ask, decoder_of
from mlops_tui.agent.peers import here, tcp_peer_pid
from mlops_tui.contracts.operation import Answer, Operation, Request
from mlops_tui.door.perform import perform

if TYPE_CHECKING:
    from mlops_tui.agent.mlflow.histories import Histories
    from mlops_tui.agent.mlflow.journal import Journal
    from mlops_tui.door.context import Caller
    from mlops_tui.door.house import House
    from mlops_tui.store.session import Session

Req = TypeVar("Req", bound=Request)
Ans = TypeVar("Ans", bound=Answer)
HOST = "127.0.0.1"
MAX_BODY = 64 * 1024 * 1024
"""Bytes of the longest body that is read at once; files are streamed."""
PREFIXES = ("/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/")
"""Where routes live: the first is what clients use, the second what browsers and a few clients do."""


@dataclass(frozen=True)
class Reply:
    """An answer that is not JSON, or not 200. A body that is an iterator is sent as it comes."""

    body: bytes | Iterator[bytes] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


@dataclass
class Call:
    """One request: who asks, and through what the answer is found."""

    house: House
    caller: Caller
    journal: Journal
    histories: Histories
    names: dict[str, str]
    headers: dict[bytes, bytes]
    body: Iterator[bytes] = field(default_factory=lambda: iter(()))
    """Pieces of the body of a streaming route; of all others it was read already."""
    performed: int = 0
    """How many operations were."""
    port: int = 0
    """Of the client's end on loopback; 0 when it is not known."""
    connection: dict[str, Any] = field(default_factory=dict)
    """What was found out of the connection, for its next requests."""

    def pid(self) -> int:
        """Return the process on this machine that asks; 0 when it cannot be told. The first time takes milliseconds."""
        if "pid" not in self.connection:
            self.connection["pid"] = self._find_pid()
        return int(self.connection["pid"])

    def _find_pid(self) -> int:
        if peer := self.connection.get("peer"):  # on the Unix socket the kernel says it
            return here(peer)
        listening = urlsplit(self.house.loopback.url).port if self.house.loopback and self.port else None
        return tcp_peer_pid((HOST, self.port), (HOST, listening)) if listening else 0

    def perform(self, operation: Operation[Req, Ans], request: Req) -> Ans:
        """Perform one of our operations as the caller; each of one request has a request id of its own.

        Raises:
            MlopsError: what the door or the room raises.
        """
        caller = (
            replace(self.caller, request_id=f"{self.caller.request_id}.{self.performed}")
            if self.performed
            else self.caller
        )
        self.performed += 1
        answer = perform(self.house, operation.name, request, caller)
        return answer  # type: ignore[return-value]

    @contextmanager
    def reading(self, permission: str, limit_s: float = 30.0) -> Iterator[Session]:
        """Yield a session to read with, once the guard has said that the caller may.

        Raises:
            NotAllowed: they may not.
        """
        with self.house.store.read(limit_s) as session:
            self.house.guard.check(session, self.caller, permission)
            yield session


Handler = Callable[[Call, Any], Any]


@dataclass(frozen=True)
class Route:
    """One path and method."""

    method: str
    kind: type[Ask]
    handler: Handler
    decode: Callable[[bytes], Ask]
    stream: bool = False
    hot: bool = False
    limit: int = MAX_BODY
    pattern: re.Pattern[str] | None = None


class Router:
    """The table of routes: whole paths are looked up, paths with ``{names}`` are tried one after the other."""

    def __init__(self) -> None:
        self._exact: dict[tuple[str, str], Route] = {}
        self._patterns: list[Route] = []

    def add(self, path: str, route: Route) -> None:
        """Enter a route below both prefixes, or at a path that begins with a slash."""
        for whole in [path] if path.startswith("/") else [prefix + path for prefix in PREFIXES]:
            if "{" not in whole:
                if (route.method, whole) in self._exact:
                    raise ValueError(f"{route.method} {whole} is served twice")
                self._exact[route.method, whole] = route
                continue
            names = re.sub(r"\\\{(\w+):path\\\}", r"(?P<\1>.+)", re.escape(whole))
            pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", names))
            self._patterns.append(replace(route, pattern=pattern))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route of a path and what its names stand for, or None."""
        if route := self._exact.get((method, path)):
            return route, {}
        for route in self._patterns:
            if route.method == method and route.pattern and (found := route.pattern.fullmatch(path)):
                return route, found.groupdict()
        return None


ROUTER = Router()


def route(
    method: str, path: str, kind: type[Ask] = Ask, *, stream: bool = False, hot: bool = False, limit: int = MAX_BODY
) -> Callable[[Handler], Handler]:
    """Register who answers a path.

    Args:
        method: GET, POST, PUT, PATCH or DELETE.
        path: below the prefixes, ``things/{name}/tags``; a path that begins with a slash is taken whole, and
            ``{name:path}`` takes slashes too.
        kind: type of the request.
        stream: the body is not read before the handler runs.
        hot: the handler is a coroutine function that runs on the loop and must not wait for the store there.
        limit: bytes of the longest body.
    """

    def register(handler: Handler) -> Handler:
        ROUTER.add(path, Route(method, kind, handler, decoder_of(kind), stream, hot, limit))
        return handler

    return register
