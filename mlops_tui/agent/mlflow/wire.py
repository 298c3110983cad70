"""The application that stands before the door's own: what is MLflow's is answered here, the rest passed on."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from mlops_tui.agent.callers import caller_of
from mlops_tui.agent.mlflow import reset
from mlops_tui.agent.mlflow.coding import check_required, encode, from_query
from mlops_tui.agent.mlflow.errors import STATUS, WireError, invalid, translated
from mlops_tui.agent.mlflow.histories import Histories
from mlops_tui.agent.mlflow.journal import Journal
from mlops_tui.agent.mlflow.router import ROUTER, Call, Reply, Route
from mlops_tui.agent.mlflow.skipped import unserved
from mlops_tui.agent.peers import CONNECTION
from mlops_tui.core.errors import MlopsError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mlops_tui.door.house import House

log = logging.getLogger(__name__)
MODULES = (
    "server",
    "page",
    "experiments",
    "runs",
    "appends",
    "metrics",
    "inputs",
    "models",
    "versions",
    "logged",
    "artifacts",
    "multipart",
    "log_model",
    "promptlab",
)
"""Files beside this one that register routes when they are imported."""
ROOTS = ("/api/", "/api/2.0mlflow/", "/ajax-api/", "/graphql", "/v1/traces")

_AS_IT_IS = (b"x-content-type-options", b"nosniff")
"""No browser takes an answer for something else than it says it is."""

for _module in MODULES:
    importlib.import_module(f"mlops_tui.agent.mlflow.{_module}")


class Wire:
    """ASGI: MLflow's routes, and whatever lies behind them."""

    def __init__(self, house: House, behind: ASGIApp, used: Callable[[], None] = lambda: None) -> None:
        """Stand before an application.

        Args:
            house: the agent's house.
            behind: what answers everything that is not MLflow's.
            used: called at each request, so that the agent does not leave as idle.
        """
        self.house, self._behind, self._used = house, behind, used
        self.journal, self._histories = Journal(house), Histories()
        reset.offer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._behind(scope, receive, send)
            return
        if scope["path"].startswith("//"):
            scope = {**scope, "path": "/" + scope["path"].lstrip("/")}
        head = scope["method"] == "HEAD"
        found = ROUTER.find("GET" if head else scope["method"], scope["path"])
        if found is None and not scope["path"].startswith(ROOTS):
            await self._behind(scope, receive, send)
            return
        self._used()
        try:
            if found is None:
                raise unserved(scope["method"], scope["path"])
            reply = await self._answer(*found, {**scope, "method": found[0].method}, receive)
        except WireError as error:
            reply = _failure(error)
        except MlopsError as error:
            reply = _failure(translated(error))
        except Exception as error:
            log.exception("%s %s failed", scope["method"], scope["path"])
            reply = _failure(WireError("INTERNAL_ERROR", f"the agent met an error of its own: {error!r:.500}"))
        await _send(send, reply, head)

    async def _answer(self, route: Route, names: dict[str, str], scope: Scope, receive: Receive) -> Reply:
        house = self.house
        headers = dict(scope["headers"])
        client = scope["client"]
        connection = scope.get("state", {}).get(CONNECTION, {})
        caller = caller_of(house, client, headers)
        call = Call(house, caller, self.journal, self._histories, names, headers, port=client[1], connection=connection)
        body = b"" if route.stream else await _read(receive, route.limit)
        if route.stream:
            # What is small is here whole, and its handler need not come back to the loop.
            call.body = _pieces(await receive(), receive, asyncio.get_running_loop())
        if names or scope["method"] == "GET" or (route.stream and scope["query_string"]):
            ask = from_query(route.kind, scope["query_string"], names) if not body else _merged(route, body, names)
        else:
            ask = route.decode(body)
        check_required(ask)
        if route.hot:
            return _reply(await route.handler(call, ask))
        return await run_in_threadpool(lambda: _reply(route.handler(call, ask)))


def _reply(answer: Any) -> Reply:
    if isinstance(answer, Reply):
        return answer
    return Reply(encode(answer) if answer is not None else b"{}")


def _merged(route: Route, body: bytes, names: dict[str, str]) -> Any:
    """Return a body's request with the names of the path in it."""
    ask = route.decode(body)
    for name, value in names.items():
        if name in ask.__struct_fields__:
            setattr(ask, name, value)
    return ask


async def _read(receive: Receive, limit: int) -> bytes:
    """Return a body whole.

    Raises:
        WireError: it is longer than the route takes.
    """
    message = await receive()
    pieces = [message.get("body", b"")]
    size = len(pieces[0])
    while message.get("more_body") and size <= limit:
        message = await receive()
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
    if size > limit:
        raise invalid(f"a request like this has at most {limit:,} bytes; send several")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _pieces(message: Any, receive: Receive, loop: asyncio.AbstractEventLoop) -> Iterator[bytes]:
    """Yield a body as it comes, on the thread of a handler, from its first message on.

    Raises:
        ConnectionResetError: the client went away before its end.
    """
    while True:
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client went away")
        if piece := message.get("body", b""):
            yield piece
        if not message.get("more_body", False):
            return
        message = asyncio.run_coroutine_threadsafe(receive(), loop).result()  # type: ignore[arg-type]


def _failure(error: WireError) -> Reply:
    body = encode({"error_code": error.code, "message": error.message})
    return Reply(body, STATUS.get(error.code, 500))


async def _send(send: Send, reply: Reply, head: bool = False) -> None:
    """Send an answer; of one to HEAD what stands before its body."""
    headers = [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    if "x-content-type-options" not in reply.headers:
        headers.append(_AS_IT_IS)
    if isinstance(reply.body, bytes):
        headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if isinstance(reply.body, bytes) or head:
        await send({"type": "http.response.body", "body": b"" if head else reply.body})
        return
    async for piece in iterate_in_threadpool(reply.body):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
