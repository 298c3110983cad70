"""The client for screens: calls that do not block, and the change feed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from mlops_tui.client import wire
from mlops_tui.client.start import Hello, reach
from mlops_tui.contracts.operation import Operation, Plan, Request
from mlops_tui.core.config import Config, load
from mlops_tui.core.errors import Unreachable
from mlops_tui.core.paths import Home, home


class AsyncClient:
    """Calls to the agent of one home from one event loop; a few connections are kept open."""

    KEEP = 4

    def __init__(self, where: Home | None = None, *, config: Config | None = None) -> None:
        self.home = where or home()
        self._config = config or load(where=self.home)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.hello: Hello | None = None

    async def reach(self, *, start: bool = True) -> Hello:
        """Connect, starting the agent when it is absent; see :func:`mlops_tui.client.start.reach`."""
        wait = float(self._config.get("agent.start_timeout_s"))
        self.hello = await asyncio.to_thread(reach, self.home, start=start, timeout=wait)
        return self.hello

    async def call(
        self,
        operation: Operation[Any, Any] | str,
        request: Request | dict[str, Any] | None = None,
        *,
        reason: str = "",
        request_id: str = "",
        digest: str = "",
    ) -> Any:
        """Perform an operation and return its answer.

        Raises:
            MlopsError: what the agent refused, or Unreachable when it is gone.
        """
        return await self._send(wire.operation_of(operation), request, False, reason, request_id, digest)

    async def plan(self, operation: Operation[Any, Any] | str, request: Request | dict[str, Any] | None = None) -> Plan:
        """Return what a change would do, without doing it."""
        plan: Plan = await self._send(wire.operation_of(operation), request, True, "", "", "")
        return plan

    async def events(self, since: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """Yield events of the change feed as they come.

        Raises:
            Unreachable: the agent is gone; reach it again and go on from the last ``seq``.
        """
        reader, writer = await self._open()
        path = "/events" + (f"?since={since}" if since is not None else "")
        try:
            tenant = f"{wire.TENANT}: {self._config.get('tenant')}"
            writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n{tenant}\r\n\r\n".encode())
            await writer.drain()
            status, fields = await _head(reader)
            if status >= 400:
                raise wire.failure(status, await reader.readexactly(int(fields.get("content-length", "0"))))
            while size := int(await reader.readuntil(b"\r\n"), 16):
                block = await reader.readexactly(size)
                await reader.readexactly(2)
                for line in block.split(b"\n"):
                    if line.startswith(b"data: "):
                        yield msgspec.json.decode(line[6:])
            raise Unreachable("the agent closed the change feed", "it leaves", "mlops agent status")
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Unreachable("the agent is gone", str(error), "mlops agent start") from error
        finally:
            writer.close()

    async def close(self) -> None:
        """Close the kept connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _send(
        self, operation: Operation[Any, Any], request: Any, dry_run: bool, reason: str, request_id: str, digest: str
    ) -> Any:
        body = wire.encode(operation, request)
        context = wire.headers(
            dry_run=dry_run, digest=digest, reason=reason, request_id=request_id, tenant=str(self._config.get("tenant"))
        )
        lines = [
            f"POST /op/{operation.name} HTTP/1.1",
            *(f"{key}: {value}" for key, value in context.items()),
            f"content-length: {len(body)}",
        ]
        message = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        for attempt in range(1, wire.ATTEMPTS + 1):
            try:
                status, answer = await self._exchange(message)
                return wire.decode(operation, status, answer, dry_run)
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                await self.close()
                if attempt == wire.ATTEMPTS:
                    raise Unreachable(
                        "the agent does not answer", str(error) or type(error).__name__, "mlops agent status"
                    ) from error
                await self.reach()
        raise AssertionError("unreachable")

    async def _exchange(self, message: bytes) -> tuple[int, bytes]:
        reader, writer = self._idle.pop() if self._idle else await self._open()
        try:
            writer.write(message)
            await writer.drain()
            status, fields = await _head(reader)
            body = await reader.readexactly(int(fields.get("content-length", "0")))
        except BaseException:
            writer.close()
            raise
        if len(self._idle) < self.KEEP:
            self._idle.append((reader, writer))
        else:
            writer.close()
        return status, body

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_unix_connection(str(self.home.socket), limit=2**24)
        except OSError:
            await self.reach()
            return await asyncio.open_unix_connection(str(self.home.socket), limit=2**24)


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
    return int(head[0].split(" ", 2)[1]), fields
