"""The door over HTTP: ``/hello``, ``/op/<name>``, ``/events``, ``/spec``, ``/health`` and ``/metrics``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from mlops_tui import __version__
from mlops_tui.agent.callers import caller_of
from mlops_tui.agent.openapi import spec
from mlops_tui.client import wire
from mlops_tui.client.start import Hello
from mlops_tui.contracts.operation import PROTOCOL, find
from mlops_tui.core.errors import BadInput, ExitCode, MlopsError
from mlops_tui.door.context import Caller
from mlops_tui.door.perform import Wish, decode, perform
from mlops_tui.store.feed import Event
from mlops_tui.store.session import Session

if TYPE_CHECKING:
    from mlops_tui.agent.process import Agent

log = logging.getLogger(__name__)

KEPT, WAITING = 1000, 10_000
"""Events that one who comes back is told of at most; events that may wait for one who is slow."""
_STATUS = {
    ExitCode.USAGE: HTTPStatus.BAD_REQUEST,
    ExitCode.REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    ExitCode.AUTH: HTTPStatus.FORBIDDEN,
    ExitCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ExitCode.CONFLICT: HTTPStatus.CONFLICT,
    ExitCode.UNREACHABLE: HTTPStatus.BAD_GATEWAY,
}


def application(agent: Agent) -> Starlette:
    """Return the ASGI application of one agent."""

    async def hello(_: Request) -> Response:
        agent.used()
        return _json(Hello(protocol=PROTOCOL, version=__version__, store=agent.store_id, pid=agent.pid))

    async def call(request: Request) -> Response:
        agent.used()
        try:
            body = await request.body()
            return await run_in_threadpool(_perform, agent, request, body)
        finally:
            agent.used()

    async def events(request: Request) -> Response:
        agent.used()
        try:
            given = request.query_params.get("since")
            since = int(given) if given else None
        except ValueError as error:
            raise BadInput(
                "since is not a number", str(error), "give the seq of the last event that you have"
            ) from error
        caller = _caller(agent, request)
        await run_in_threadpool(agent.house.read, lambda s: agent.house.guard.check(s, caller, "event:read"))
        agent.used()  # whoever waited for a busy machine is not left standing
        return StreamingResponse(_events(agent, caller, since), media_type="text/event-stream")

    async def described(_: Request) -> Response:
        return _json(spec())

    async def health(_: Request) -> Response:
        return PlainTextResponse("OK")

    async def metrics(_: Request) -> Response:
        lines = [f"mlops_agent_{name} {value:g}" for name, value in sorted(agent.house.facts.items())]
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")

    return Starlette(
        routes=[
            Route("/hello", hello),
            Route("/op/{name}", call, methods=["POST"]),
            Route("/events", events),
            Route("/spec", described),
            Route("/health", health),
            Route("/metrics", metrics),
        ],
        exception_handlers={MlopsError: lambda _, error: _failure(error)},
    )


def _perform(agent: Agent, request: Request, body: bytes) -> Response:
    try:
        operation = find(request.path_params["name"])
        if agent.house.journal is not None:
            agent.house.journal.drain_uploads()
        wish = Wish(dry_run=request.headers.get(wire.DRY_RUN) == "1", digest=request.headers.get(wire.DIGEST, ""))
        answer = perform(agent.house, operation.name, decode(operation, body), _caller(agent, request), wish)
        if hasattr(answer, "data") and wish.dry_run:
            answer.data = {}
        return _json(answer)
    except MlopsError as error:
        return _failure(error)
    except Exception as error:
        log.exception("the call %s failed", request.url.path)
        return _failure(
            MlopsError(
                "the agent met an error of its own", f"{type(error).__name__}: {error}", "mlops agent log shows where"
            )
        )


def _caller(agent: Agent, request: Request) -> Caller:
    return caller_of(agent.house, request.scope["client"], dict(request.scope["headers"]))


async def _events(agent: Agent, caller: Caller, since: int | None) -> AsyncIterator[bytes]:
    """Yield the caller's events: first those after ``since`` that the store has, then each new one."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[Event] = asyncio.Queue(WAITING)

    def hand_over(event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(take, event)

    def take(event: Event) -> None:
        if not waiting.full():
            waiting.put_nowait(event)

    leave = agent.house.feed.listen(hand_over)
    try:
        yield b": welcome\n\n"
        told = 0
        if since is not None:
            for event in await run_in_threadpool(agent.house.read, lambda session: _after(session, caller, since)):
                told = event.seq
                yield _line(event)
        # Whoever is too slow is let go: it comes back and asks from the last event that it has.
        while not agent.house.leaving.is_set() and not waiting.full():
            try:
                event = await asyncio.wait_for(waiting.get(), timeout=1.0)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if event.tenant == caller.tenant and (not event.seq or event.seq > told):
                yield _line(event)
    finally:
        leave()
        agent.used()


def _after(session: Session, caller: Caller, since: int) -> list[Event]:
    rows = session.dicts(
        """
        SELECT seq, epoch_us(ts) AS ts, actor, topic, object, action, text, link, tenant FROM event
        WHERE seq > ? AND tenant = ? ORDER BY seq DESC LIMIT ?
        """,
        [since, caller.tenant, KEPT],
    )
    return [Event(**row) for row in reversed(rows)]


def _line(event: Event) -> bytes:
    return b"data: " + msgspec.json.encode(event) + b"\n\n"


def _json(answer: Any) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _failure(error: Exception) -> Response:
    assert isinstance(error, MlopsError)
    status = _STATUS.get(error.exit_code, HTTPStatus.INTERNAL_SERVER_ERROR)
    return Response(msgspec.json.encode({"error": error.record()}), status_code=status, media_type="application/json")
