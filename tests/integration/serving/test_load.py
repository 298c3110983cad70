"""Real load while everything changes: ten weights, a worker killed, and no request lost but those in its hands.

The client is open-loop: requests leave by the clock, whether answers have come or not, on connections that are kept.
A short form runs with the suite; ``make soak`` runs half a minute. Nothing is judged by how long it took: a busy
machine makes the test longer, not wrong.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psutil
import pytest
from scipy.special import bdtr, bdtrc

CONNECTIONS = 32
LEAST = 100
"""Answers under each weight, so that its share says something however slow the machine is."""
PATIENCE_S = 60.0
_REVISION = re.compile(rb"x-mlops-revision: (\S+)\r\n")
_LENGTH = re.compile(rb"content-length: (\d+)\r\n")


class Answered(NamedTuple):
    """One request: when it was to leave, when it left, when its answer had come, what the answer said."""

    due: float
    left: float
    came: float
    status: int
    revision: str


class Line(asyncio.Protocol):
    """One connection: one request at a time, and connected again when the server hangs up."""

    def __init__(self, client: OpenLoop) -> None:
        self.client = client
        self.transport: Any = None
        self.port = 0
        self.due: float | None = None
        self.left = 0.0
        self.data = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]
        self.client.idle(self)

    def ask(self, due: float) -> None:
        self.due, self.left, self.data = due, time.monotonic(), b""
        self.transport.write(self.client.request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, _, body = self.data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if length is None or len(body) < int(length[1]):
            return
        revision = _REVISION.search(head + b"\r\n")
        assert self.due is not None
        said = revision[1].decode() if revision else ""
        self.client.answered.append(Answered(self.due, self.left, time.monotonic(), int(head[9:12]), said))
        self.due = None
        if b"connection: close" in head:
            self.transport.close()
        else:
            self.client.idle(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.client.gone(self)


class OpenLoop:
    """Sends ``rate`` requests a second until it is told to stop; ``lost`` has the ports whose answer did not come."""

    def __init__(self, port: int, request: bytes, rate: float) -> None:
        self.port, self.request, self.rate = port, request, rate
        self.answered: list[Answered] = []
        self.lost: list[int] = []
        self._idle: list[Line] = []
        self._late: list[float] = []
        self._sent = 0
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        await asyncio.gather(*(self._connect() for _ in range(CONNECTIONS)))
        began = time.monotonic()
        while not self._stop.is_set():
            while (due := began + self._sent / self.rate) <= time.monotonic():
                self._sent += 1
                self._late.append(due)
            self._send()
            await asyncio.sleep(0.001)
        done, deadline = self.done, time.monotonic() + PATIENCE_S
        while done < self._sent and time.monotonic() < deadline:
            self._send()
            await asyncio.sleep(0.01)
            if self.done > done:
                done, deadline = self.done, time.monotonic() + PATIENCE_S

    def stop(self) -> None:
        self._stop.set()

    def idle(self, line: Line) -> None:
        if not line.transport.is_closing():
            self._idle.append(line)

    def gone(self, line: Line) -> None:
        """A request that was under way is lost; nothing is sent twice."""
        if line in self._idle:
            self._idle.remove(line)
        if line.due is not None:
            self.lost.append(line.port)
        task = asyncio.get_running_loop().create_task(self._connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send(self) -> None:
        while self._late and self._idle:
            line = self._idle.pop(0)
            if not line.transport.is_closing():
                line.ask(self._late.pop(0))

    async def _connect(self) -> None:
        for _ in range(200):
            try:
                await asyncio.get_running_loop().create_connection(lambda: Line(self), "127.0.0.1", self.port)
                return
            except OSError:
                await asyncio.sleep(0.02)

    @property
    def sent(self) -> int:
        return self._sent

    @property
    def done(self) -> int:
        return len(self.answered) + len(self.lost)


async def reached(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def kill(pid: int) -> set[int]:
    """Kill a worker and return the clients' ports that it held; what it had not accepted is not its own."""
    os.kill(pid, signal.SIGSTOP)
    victim = psutil.Process(pid)
    await reached(lambda: victim.status() == psutil.STATUS_STOPPED)
    held = {one.raddr.port for one in victim.net_connections("tcp") if one.raddr}
    os.kill(pid, signal.SIGKILL)
    return held


def likely(found: int, n: int, share: float) -> bool:
    """Tell whether so many of ``n`` may be draws with that share: within 3 points, or no rarer than once in 10⁷."""
    rare = min(bdtr(found, n, share), bdtrc(found - 1, n, share) if found else 1.0)
    return abs(found / n - share) <= 0.03 or rare > 1e-7


@pytest.mark.parametrize(
    ("seconds", "rate"), [(5.0, 400.0), pytest.param(30.0, 1500.0, marks=pytest.mark.soak)], ids=["short", "long"]
)
async def test_no_request_is_lost_while_weights_change_and_a_worker_is_killed(
    make: Callable[..., Any], kit: Any, seconds: float, rate: float
) -> None:
    server = make(workers=2, log_predictions=False)
    models = kit.linear(0.0), kit.linear(100.0)

    def weights(generation: int, second: float) -> None:
        server.routes(
            generation,
            server.revision(1, models[0], 100 - second),
            server.revision(2, models[1], second, "canary"),
        )

    weights(1, 50)
    server.start()
    body = json.dumps(kit.request([[1, 2, 3, 4]])).encode()
    head = f"POST /v2/models/employment/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    client = OpenLoop(server.port, head.encode() + body, rate)
    running = asyncio.create_task(client.run())
    shares = [10, 80, 25, 60, 90, 40, 5, 70, 35, 50]
    spans: list[tuple[float, list[str]]] = []
    held: set[int] = set()

    def restarted(state: dict[str, Any]) -> bool:
        return victim not in server.workers and all(worker["ready"] for worker in state["workers"])

    def under(began: float) -> list[str]:
        """The revisions that answered what was sent and answered under the weights of now."""
        return [one.revision for one in client.answered if one.left >= began]

    for n, share in enumerate(shares):
        weights(n + 2, share)
        await asyncio.to_thread(server.serving, n + 2)
        began = time.monotonic()
        await asyncio.sleep(seconds / len(shares))
        if n == 4:
            victim = server.workers[0]
            held = await kill(victim)
            await asyncio.to_thread(server.until, restarted, PATIENCE_S)
        await reached(lambda: len(under(began)) >= LEAST)  # noqa: B023
        spans.append((share / 100, under(began)))
    client.stop()
    await running

    assert client.sent >= seconds * rate * 0.9 and client.done == client.sent
    assert {one.status for one in client.answered} == {200}, "no answer was a failure"
    assert {one.revision for one in client.answered} == {"v1", "v2"}, "each answer names its revision"
    assert set(client.lost) <= held and len(client.lost) <= len(held), "lost is what the killed worker had in hand"
    for share, revisions in spans:
        assert likely(revisions.count("v2"), len(revisions), share), (share, revisions.count("v2"), len(revisions))
    waits = sorted(one.came - one.due for one in client.answered)
    print(
        f"{client.sent:,} requests, {len(client.lost)} lost in the killed worker's hands; "
        f"p50 {waits[len(waits) // 2] * 1e3:.1f} ms, p99 {waits[int(len(waits) * 0.99)] * 1e3:.1f} ms"
    )
