"""The same application behind any ASGI server, for who has one already: no workers, routes file or supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mlops_tui.serving.problem import Answer, Problem
from mlops_tui.serving.protocol.app import App

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class Asgi:
    """An ASGI 3 application for HTTP.

    Args:
        app: the application, with its routes set.
        max_body: bytes of a body at most; the server below has to bring every other limit.
    """

    def __init__(self, app: App, max_body: int) -> None:
        self._app, self._max_body = app, max_body

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            answer = await self._answer(scope, receive)
            headers = [*answer.headers, *answer.marks, (b"content-length", b"%d" % len(answer.body))]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            body = b"" if scope["method"] == "HEAD" else answer.body
            await send({"type": "http.response.body", "body": body})
            if self._app.predictor.owes_shadows:
                asyncio.get_running_loop().call_soon(self._app.predictor.run_shadow)

    async def _answer(self, scope: _Message, receive: _Receive) -> Answer:
        parts: list[bytes] = []
        more, size = True, 0
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more, size = message.get("more_body", False), size + len(parts[-1])
            if size > self._max_body:
                return Problem(f"the body is larger than {self._max_body} bytes", 413).answer()
        target = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        return self._app.handle(scope["method"], target, dict(scope["headers"]), b"".join(parts))


async def _lifespan(receive: _Receive, send: _Send) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
