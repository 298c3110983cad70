"""The HTTP/1.1 front: one asyncio protocol over httptools that answers in the call that brought the request.

No task or queue stands between the socket and the application; only the answers of one turn of the loop wait for each
other, so that the inference log is written once for all of them before they leave. The front brings the limits: sizes
of head and body, time to send them, idle connections, slow readers, and the number of connections.
"""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

from mlops_tui.serving.app import App
from mlops_tui.serving.counters import Gauge, Slot
from mlops_tui.serving.deployment import Deployment
from mlops_tui.serving.problem import Answer, Headers, Problem

MAX_TARGET = 8192
MAX_HEAD = 32_768
MAX_HEADERS = 100
MAX_CONNECTIONS = 4096
SWEEP_S = 0.1
_SLICE = 16_384
_JOIN_BELOW = 32_768
_WRITE_BUFFER = 262_144
_LINGER_S = 1.0
_REMEMBERED = 512
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2
LINGER: Final = 3


class Front:
    """What the connections of one worker share: the application, limits, a coarse clock.

    Args:
        app: what answers.
        deployment: limits and timeouts.
        slot: where connections are counted.
        loop: the worker's event loop.
    """

    def __init__(self, app: App, deployment: Deployment, slot: Slot, loop: asyncio.AbstractEventLoop) -> None:
        self.app, self.limits, self.loop = app, deployment, loop
        self.connections: set[Connection] = set()
        self.draining_since: float | None = None
        self.now = loop.time()
        self.date = b""
        self._slot = slot
        self._heads: dict[tuple[int, Headers], bytes] = {}
        self._waiting: list[Connection] = []
        self._shadow_due = False
        self.sweep()

    def head(self, status: int, headers: Headers) -> bytes:
        """Return the status line and headers of an answer, remembered because a few kinds make up the traffic."""
        key = (status, headers)
        found = self._heads.get(key)
        if found is None:
            phrase = HTTPStatus(status).phrase.encode()
            found = b"HTTP/1.1 %d %b\r\n" % (status, phrase) + b"".join(b"%b: %b\r\n" % pair for pair in headers)
            if len(self._heads) < _REMEMBERED:
                self._heads[key] = found
        return found

    def opened(self, connection: Connection) -> bool:
        """Take a connection in; False when there are too many."""
        if len(self.connections) >= MAX_CONNECTIONS:
            self._slot.add(Gauge.REFUSED)
            return False
        self.connections.add(connection)
        self._slot.add(Gauge.ACCEPTED)
        self._slot[Gauge.CONNECTIONS] = len(self.connections)
        return True

    def lost(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        self._slot[Gauge.CONNECTIONS] = len(self.connections)

    def answered(self, connection: Connection) -> None:
        """Note that a connection has answers to send at the end of this turn of the loop."""
        if not self._waiting:
            self.loop.call_soon(self.deliver)
        self._waiting.append(connection)

    def deliver(self) -> None:
        """Log, then write: whatever kills this process, an answer that was seen is in the log."""
        waiting, self._waiting = self._waiting, []
        self.app.predictor.flush()
        for connection in waiting:
            connection.deliver()
        self._after_answers()

    def _after_answers(self) -> None:
        """Let shadows run once the answers have gone out, one a turn."""
        if self.app.predictor.owes_shadows and not self._shadow_due:
            self._shadow_due = True
            # The loop writes after the callbacks of a turn: one turn later the answers are on their way.
            self.loop.call_soon(self.loop.call_soon, self._run_shadow)

    def _run_shadow(self) -> None:
        self._shadow_due = False
        if self.app.predictor.owes_shadows:
            self.app.predictor.run_shadow()
        self._after_answers()

    def drain(self) -> None:
        """Let every further answer be the last on its connection, and idle connections go soon."""
        self.draining_since = self.loop.time()

    def sweep(self) -> None:
        """Advance the clock and end connections that take too long; call it every ``SWEEP_S``."""
        self.now = self.loop.time()
        stamp = formatdate(usegmt=True)
        self.date = b"date: %b\r\n" % stamp.encode()
        for connection in list(self.connections):
            connection.check_time(self.now)


class Connection(asyncio.Protocol):
    """One client. Requests on it are answered in the order they came; a client that does not read is not read from."""

    __slots__ = (
        "_backlog",
        "_body",
        "_front",
        "_head_size",
        "_headers",
        "_keep",
        "_out",
        "_parser",
        "_parts",
        "_paused_at",
        "_served",
        "_since",
        "_size",
        "_state",
        "_target",
        "_transport",
        "_trouble",
        "_unread",
    )

    def __init__(self, front: Front) -> None:
        self._front = front
        self._parser = httptools.HttpRequestParser(self)
        self._state, self._since, self._served = IDLE, front.now, False
        self._out: list[bytes] = []
        self._keep = True
        self._paused_at: float | None = None
        self._backlog = b""
        self._trouble: Problem | None = None
        self._transport: asyncio.Transport | None = None
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_size = self._unread = 0
        self._body = b""
        self._parts: list[bytes] | None = None
        self._size = 0

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, or say that there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_WRITE_BUFFER)
        if not self._front.opened(self):
            self._give_up(Problem("too many connections", 503, ((b"retry-after", b"1"),)))

    def data_received(self, data: bytes) -> None:
        """Read what came and answer every request that is whole now."""
        if self._state == LINGER:
            return
        if self._paused_at is not None:
            self._backlog += data
            return
        self._feed(data)

    def eof_received(self) -> None:
        """Close, once everything that came whole has been answered."""
        if self._out:
            self._front.deliver()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._front.lost(self)
        self._transport = None
        # The parser holds this object's methods: a cycle that would keep bodies until the collector comes by.
        self._parser = None

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read."""
        self._paused_at = self._front.now
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on with what the client had sent already."""
        self._paused_at = None
        if self._transport is None or self._transport.is_closing():
            return
        backlog, self._backlog = self._backlog, b""
        self._transport.resume_reading()
        if backlog:
            self._feed(backlog)

    # Called by the parser, in the order of the bytes.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._begin()
        self._state, self._since = HEAD, self._front.now

    def on_url(self, piece: bytes) -> None:
        """Take a piece of the target."""
        self._target += piece
        if len(self._target) > MAX_TARGET:
            self._stop(Problem(f"the target is longer than {MAX_TARGET} bytes", 414))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers after the body are dropped."""
        if self._state != HEAD:
            return
        name = name.lower()
        self._unread = 0
        self._head_size += len(name) + len(value)
        if self._head_size > MAX_HEAD:
            self._stop(_head_too_large())
        if name == b"host" and name in self._headers:
            self._stop(Problem("the request has two Host headers"))
        self._headers[name] = value
        if len(self._headers) > MAX_HEADERS:
            self._stop(Problem(f"more than {MAX_HEADERS} headers", 431))

    def on_headers_complete(self) -> None:
        """Refuse a body that is announced too large before it is sent."""
        self._state = BODY
        length = self._headers.get(b"content-length")
        if length is not None and (len(length) > 18 or int(length) > self._front.limits.max_body):
            self._stop(self._too_large())
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._say(_CONTINUE)

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._size += len(piece)
        if self._size > self._front.limits.max_body:
            self._stop(self._too_large())
        if self._parts is not None:
            self._parts.append(piece)
        elif self._body:
            self._parts = [self._body, piece]
        else:
            self._body = piece

    def on_message_complete(self) -> None:
        """Answer the request."""
        self._state, self._since, self._served = IDLE, self._front.now, True
        if not self._keep:
            return
        method = self._parser.get_method().decode("latin-1")
        body = self._body if self._parts is None else b"".join(self._parts)
        target = self._target.decode("latin-1")
        if target[:1] != "/":
            target = urlsplit(target).path or "/"
        old = self._parser.get_http_version() == "1.0"
        if old:
            self._headers.setdefault(b"host", b"localhost")
        self._keep = self._parser.should_keep_alive() and self._front.draining_since is None
        self._reply(self._front.app.handle(method, target, self._headers, body), method == "HEAD", old)
        self._parts, self._body = None, b""

    # What the above is made of.

    def _feed(self, data: bytes) -> None:
        try:
            for at in range(0, len(data), _SLICE):
                self._parser.feed_data(data[at : at + _SLICE] if len(data) > _SLICE else data)
                if self._state == HEAD:
                    # The parser gathers a header that has no end without saying so.
                    self._unread += min(len(data) - at, _SLICE)
                    if self._unread > MAX_HEAD:
                        raise _head_too_large()
                if self._out and sum(map(len, self._out)) > _WRITE_BUFFER:
                    self._front.deliver()
                if not self._keep:
                    break
                if self._paused_at is not None:
                    self._backlog = data[at + _SLICE :]
                    break
        except Problem as problem:
            self._give_up(problem)
        except httptools.HttpParserUpgrade:
            # Another protocol was offered; the request in this one has been answered, what follows is not ours.
            self._keep = False
        except httptools.HttpParserError as error:
            # After the last request of a connection, whatever comes is no mistake.
            if self._keep:
                self._give_up(self._trouble or Problem(f"this is not HTTP: {error}"))

    def _stop(self, problem: Problem) -> None:
        """Leave the parser from within one of its calls; it wraps whatever is raised here."""
        self._trouble = problem
        raise problem

    def _too_large(self) -> Problem:
        return Problem(f"the body is larger than {self._front.limits.max_body} bytes", 413)

    def _reply(self, answer: Answer, head_only: bool = False, old: bool = False) -> None:
        front = self._front
        begin = front.head(answer.status, answer.headers)
        size = len(answer.body)
        if not self._keep:
            begin += b"connection: close\r\n"
        elif old:
            begin += b"connection: keep-alive\r\n"
        if head_only or size >= _JOIN_BELOW:
            self._say(b"%b%bcontent-length: %d\r\n\r\n" % (begin, front.date, size))
            if not head_only:
                self._say(answer.body)
        else:
            self._say(b"%b%bcontent-length: %d\r\n\r\n%b" % (begin, front.date, size, answer.body))

    def _say(self, data: bytes) -> None:
        if not self._out:
            self._front.answered(self)
        self._out.append(data)

    def deliver(self) -> None:
        """Write the answers that wait."""
        out, self._out = self._out, []
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if len(out) == 1:
            transport.write(out[0])
        elif out:
            transport.writelines(out)
        if self._state == LINGER:
            if transport.can_write_eof():
                transport.write_eof()
        elif not self._keep:
            transport.close()

    def _give_up(self, problem: Problem) -> None:
        """Say what is wrong and close; the client may still be sending, and would lose the answer to a reset."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._state == LINGER:
            return
        self._state, self._since, self._keep = LINGER, self._front.now, False
        self._reply(problem.answer())

    def check_time(self, now: float) -> None:
        """End what takes too long."""
        transport, limits, age = self._transport, self._front.limits, now - self._since
        if transport is None:
            return
        if self._paused_at is not None:
            if now - self._paused_at > limits.body_timeout_s:
                transport.abort()
        elif self._state == LINGER:
            if age > _LINGER_S:
                transport.abort()
        elif self._state == IDLE:
            patience = limits.idle_timeout_s if self._served else limits.header_timeout_s
            if self._front.draining_since is not None:
                # A client that is about to send gets its answer, and with it the word that this was the last.
                age, patience = now - max(self._since, self._front.draining_since), _LINGER_S
            if age > patience:
                transport.close()
        elif age > (limits.header_timeout_s if self._state == HEAD else limits.body_timeout_s):
            self._give_up(Problem("the request takes too long to arrive", 408))


def _head_too_large() -> Problem:
    return Problem(f"the head of the request is larger than {MAX_HEAD} bytes", 431)
