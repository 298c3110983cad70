"""What the HTTP connections of one worker share: the application, limits, a coarse clock, the heads seen before.

The front brings the limits: sizes of head and body, time to send them, idle connections, slow readers, and the number
of connections. The connections themselves are in :mod:`mlops_tui.serving.transport.connection`.
"""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

import msgspec

from mlops_tui.serving.deployment import Deployment
from mlops_tui.serving.problem import Answer, Headers
from mlops_tui.serving.protocol.app import App, Entry
from mlops_tui.serving.record.counters import Gauge, Slot
from mlops_tui.serving.traffic.call import Owner

MAX_CONNECTIONS = 16_384
SWEEP_S = 0.1
_CHECK_S = 0.5
JOIN_BELOW = 32_768
_REMEMBERED = 512


class Known(msgspec.Struct, frozen=True):
    """A head that was read before: what it was let in for, and the size of the body that follows."""

    entry: Entry
    size: int


class Carrier(Owner, Protocol):
    """A connection, as the front sees it."""

    def check_time(self, now: float) -> None:
        """End what takes too long."""


class Front:
    """What the connections of one worker share.

    Clients send the same head with every request, so a head is read once and then known by its bytes (``heads``).
    Answers wait for the end of the loop's turn: requests that came together are run together, and logged with one
    write before any answer leaves.

    Args:
        app: what answers.
        deployment: limits and timeouts.
        slot: where connections are counted.
        loop: the worker's event loop.
    """

    def __init__(self, app: App, deployment: Deployment, slot: Slot, loop: asyncio.AbstractEventLoop) -> None:
        self.app, self.limits, self.loop = app, deployment, loop
        self.connections: set[Carrier] = set()
        self.heads: dict[bytes, Known] = {}
        self.draining_since: float | None = None
        self.now = self._checked = loop.time()
        self._slot, self._date = slot, ""
        self._begins: dict[tuple[int, Headers], bytes] = {}
        self._waiting: list[Carrier] = []
        self._shadow_due = False
        self._gather_s = deployment.gather_ms / 1000
        self.sweep()

    def learn(self, head: bytes, entry: Entry, size: int) -> None:
        """Remember a head; not while draining, when every answer is the last of its connection."""
        if self.draining_since is None:
            if len(self.heads) >= _REMEMBERED:
                self.heads.clear()
            self.heads[head] = Known(entry, size)

    def forget_heads(self) -> None:
        """Read every head anew: who may ask has changed."""
        self.heads.clear()

    def render(self, answer: Answer, connection: bytes = b"", head_only: bool = False) -> list[bytes]:
        """Return an answer as HTTP; large bodies stay a piece of their own.

        Args:
            answer: what to say.
            connection: the connection header with its end of line, when there is one.
            head_only: the request was HEAD.
        """
        key = (answer.status, answer.headers)
        begin = self._begins.get(key) or self._begin(key)
        body = answer.body
        more = connection + _lines(answer.marks) if answer.marks else connection
        if head_only or len(body) >= JOIN_BELOW:
            head = b"%b%d\r\n%b\r\n" % (begin, len(body), more)
            return [head] if head_only else [head, body]
        return [b"%b%d\r\n%b\r\n%b" % (begin, len(body), more, body)]

    def _begin(self, key: tuple[int, Headers]) -> bytes:
        """Return what is the same for a second in all answers of a kind: a few kinds make up the traffic."""
        status, headers = key
        phrase, date = HTTPStatus(status).phrase.encode(), self._date.encode()
        made = b"HTTP/1.1 %d %b\r\n%bdate: %b\r\ncontent-length: " % (status, phrase, _lines(headers), date)
        if len(self._begins) < _REMEMBERED:
            self._begins[key] = made
        return made

    def opened(self, connection: Carrier) -> bool:
        """Take a connection in; False when there are too many. One that is refused is looked after until it is gone."""
        room = len(self.connections) < MAX_CONNECTIONS
        self.connections.add(connection)
        self._slot.add(Gauge.ACCEPTED if room else Gauge.REFUSED)
        self._slot[Gauge.CONNECTIONS] = len(self.connections)
        return room

    def lost(self, connection: Carrier) -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        self._slot[Gauge.CONNECTIONS] = len(self.connections)

    def owes(self, connection: Carrier) -> None:
        """Note that a connection has answers to send when a turn of the loop has been read."""
        if not self._waiting:
            if self._gather_s:
                self.loop.call_later(self._gather_s, self.deliver)
            else:
                # The sockets are asked once more before: who came while these were read runs with them, and need not
                # wait for all of this turn first. It costs one connection 2 µs, and of many takes a tenth of each.
                self.loop.call_soon(self.loop.call_soon, self.deliver)
        self._waiting.append(connection)

    def deliver(self) -> None:
        """Run and log, then write: whatever kills this process, an answer that was seen is in the log."""
        self.app.settle()
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            connection.deliver()
        if self.app.predictor.owes_shadows:
            self._after_answers()

    def late(self) -> None:
        """Deliver what a thread has run; it belongs to requests of former turns."""
        for ticket in self.app.settle():
            if ticket.owner is not None:
                ticket.owner.deliver()
        if self.app.predictor.owes_shadows:
            self._after_answers()

    def _after_answers(self) -> None:
        """Let shadows run once the answers have gone out, one a turn."""
        if not self._shadow_due:
            self._shadow_due = True
            # The loop writes after the callbacks of a turn: one turn later the answers are on their way.
            self.loop.call_soon(self.loop.call_soon, self._run_shadow)

    def _run_shadow(self) -> None:
        self._shadow_due = False
        if self.app.predictor.owes_shadows:
            self.app.predictor.run_shadow()
        if self.app.predictor.owes_shadows:
            self._after_answers()

    def drain(self) -> None:
        """Let every further answer be the last on its connection, and idle connections go soon."""
        self.draining_since = self.loop.time()
        self.heads.clear()

    def sweep(self) -> None:
        """Advance the clock and end connections that take too long; call it every ``SWEEP_S``."""
        self.now = self.loop.time()
        if (date := formatdate(usegmt=True)) != self._date:
            self._date = date
            self._begins.clear()
        if self.draining_since is None and self.now < self._checked + _CHECK_S:
            return  # ten thousand idle connections are many to look at
        self._checked = self.now
        for connection in list(self.connections):
            connection.check_time(self.now)


def _lines(headers: Headers) -> bytes:
    return b"".join(b"%b: %b\r\n" % pair for pair in headers)
