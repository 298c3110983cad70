"""One HTTP/1.1 connection: bytes in, requests to the application, answers out in their order.

Requests are handled synchronously, in the very call in which their last byte arrives.
"""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn, cast
from urllib.parse import urlsplit

import httptools

from mlops_tui.serving.problem import Answer, Problem
from mlops_tui.serving.protocol.app import Entry
from mlops_tui.serving.traffic.call import Ticket
from mlops_tui.serving.transport.front import Front

MAX_TARGET = 8192
MAX_HEAD = 32_768
MAX_HEADERS = 100
MAX_OWED = 128
"""Answers that a connection may wait for; beyond them, or 256 KB of requests, it is not read from."""
_SLICE = 16_384
_WRITE_BUFFER = 262_144
_LINGER_S = 1.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_END = b"\r\n\r\n"
_LEARN_FROM = 4096
_FRAMING = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"trailer"})
IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2
LINGER: Final = 3


class Connection(asyncio.Protocol):
    """One client. Requests on it are answered in the order they came; a client that does not read is not read from."""

    __slots__ = (
        "_backlog",
        "_body",
        "_due",
        "_first",
        "_front",
        "_head_size",
        "_headers",
        "_held",
        "_keep",
        "_lines",
        "_noted",
        "_old",
        "_owed",
        "_owed_size",
        "_parser",
        "_parts",
        "_paused_at",
        "_pieces",
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
        self._owed: list[bytes | Ticket] = []
        self._owed_size = 0
        self._noted = False
        self._keep, self._old, self._held = True, False, False
        self._paused_at: float | None = None
        self._backlog = b""
        self._first: bytes | None = None
        self._pieces: list[bytes | memoryview] = []
        self._due = 0
        self._trouble: Problem | None = None
        self._transport: asyncio.Transport | None = None
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_size = self._lines = self._unread = 0
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
        """Read what came and ask every request that is whole now."""
        if not self._keep:
            return
        if self._held or self._paused_at is not None:
            self._backlog += data
            return
        if self._due:
            data = self._gather(data)
        if self._state == IDLE and self._front.heads:
            data = self._recognise(data)
        if data:
            self._feed(data)

    def eof_received(self) -> bool:
        """Close, once everything that came whole has been answered."""
        if self._owed:
            self._front.deliver()
        self._keep = False
        # TLS has no half of a connection; to want one is a line in the log for each client that hangs up.
        return bool(self._owed) and self._transport is not None and self._transport.can_write_eof()

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
        self._go_on()

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
        self._unread = 0
        self._lines += 1
        if self._lines > MAX_HEADERS:
            self._stop(Problem(f"more than {MAX_HEADERS} headers", 431))
        if self._state != HEAD:
            return
        name = name.lower()
        self._head_size += len(name) + len(value)
        if self._head_size > MAX_HEAD:
            self._stop(_head_too_large())
        if name == b"host" and name in self._headers:
            self._stop(Problem("the request has two Host headers"))
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        """Refuse a body that is announced too large before it is sent."""
        self._state = BODY
        length = self._headers.get(b"content-length")
        if length is not None and (len(length) > 18 or int(length) > self._front.limits.max_body):
            self._stop(self._too_large())
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._owe(_CONTINUE)

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._unread = 0
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
        """Ask the request."""
        self._state, self._since, self._served = IDLE, self._front.now, True
        first, self._first = self._first, None
        if not self._keep:
            return
        parser, app = self._parser, self._front.app
        method = parser.get_method().decode("latin-1")
        body = self._body if self._parts is None else b"".join(self._parts)
        target = self._target.decode("latin-1")
        if target[:1] != "/":
            target = self._path(target)
        self._old = parser.get_http_version() == "1.0"
        if self._old:
            self._headers.setdefault(b"host", b"localhost")
        self._keep = parser.should_keep_alive() and self._front.draining_since is None
        try:
            entry = app.admit(method, target, self._headers)
        except Exception as error:
            self._reply(app.refuse(error), method == "HEAD")
        else:
            self._ask(entry, body, method == "HEAD")
            if first is not None and self._keep and method in ("POST", "GET"):
                self._learn(first, entry)
        self._parts, self._body = None, b""

    # What the above is made of.

    def _path(self, target: str) -> str:
        """Return the path of a target that is a whole URL."""
        try:
            return urlsplit(target).path or "/"
        except ValueError:
            self._stop(Problem("the target is neither a path nor a URL"))

    def _recognise(self, data: bytes) -> bytes:
        """Ask the requests whose heads are known, as long as they are whole; returns what is left of the data."""
        heads, at, end = self._front.heads, 0, len(data)
        while at < end:
            begin = data.find(_END, at) + 4
            head = data[at:begin]
            if (known := heads.get(head)) is None:
                break
            if (after := begin + known.size) > end:
                self._pieces, self._due = [head, memoryview(data)[begin:]], after - end
                self._state, self._since = BODY, self._front.now
                return b""
            at = after
            self._ask(known.entry, data[begin:at])
            if (len(self._owed) > MAX_OWED or self._owed_size > _WRITE_BUFFER) and not self._may_read():
                self._backlog, data, at = data[at:] + self._backlog, b"", 0
                break
        if at:
            self._since, self._served = self._front.now, True
        return data[at:] if at else data

    def _gather(self, data: bytes) -> bytes:
        """Take in more of a body whose head is known; returns what follows it. The parser would copy it twice."""
        piece = data[: self._due]
        self._pieces.append(piece)
        self._due -= len(piece)
        if self._due:
            return b""
        (head, *body), self._pieces = self._pieces, []
        self._state, self._since, self._served = IDLE, self._front.now, True
        if (known := self._front.heads.get(bytes(head))) is None:
            # Forgotten meanwhile, because other clients may ask now, or this worker leaves: it is read anew.
            return b"".join((head, *body, data[len(piece) :]))
        self._ask(known.entry, b"".join(body))
        return data[len(piece) :]

    def _learn(self, first: bytes, entry: Entry) -> None:
        """Let the front remember the head that ``first`` begins with, when its meaning hangs on its bytes alone."""
        end = first.find(_END) + 4
        lines = first.count(b"\n", 0, end)
        plain = end > 3 and first[:1].isalpha() and lines == first.count(b"\r\n", 0, end) == self._lines + 2
        length = self._headers.get(b"content-length", b"0")
        if plain and not self._old and _FRAMING.isdisjoint(self._headers) and int(length) == self._size:
            self._front.learn(first[:end], entry, self._size)

    def _feed(self, data: bytes) -> None:
        self._first = data[:_LEARN_FROM] if self._state == IDLE else None
        try:
            # What continues a body is fed as it came: cutting it up would copy it.
            step = len(data) if self._state == BODY else _SLICE
            for at in range(0, len(data), step):
                # The parser gathers a header, or a trailer, that has no end without saying so.
                self._unread += min(len(data) - at, step)
                self._parser.feed_data(data[at : at + step] if len(data) > step else data)
                if self._unread > MAX_HEAD and self._state != IDLE:
                    raise _head_too_large()
                if not self._may_read():
                    self._backlog = data[at + step :] + self._backlog
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

    def _may_read(self) -> bool:
        """Tell whether to read on; answers that have piled up go out before that."""
        if len(self._owed) > MAX_OWED or self._owed_size > _WRITE_BUFFER:
            self._front.deliver()
            much = len(self._owed) > MAX_OWED or self._owed_size > _WRITE_BUFFER
            if much and self._transport is not None:
                self._held = True
                self._transport.pause_reading()
        return self._keep and not self._held and self._paused_at is None

    def _go_on(self) -> None:
        """Read on after a pause, first what had come already."""
        if self._held or self._paused_at is not None or self._transport is None or self._transport.is_closing():
            return
        backlog, self._backlog = self._backlog, b""
        self._transport.resume_reading()
        if backlog:
            self.data_received(backlog)

    def _stop(self, problem: Problem) -> NoReturn:
        """Leave the parser from within one of its calls; it wraps whatever is raised here."""
        self._trouble = problem
        raise problem

    def _too_large(self) -> Problem:
        return Problem(f"the body is larger than {self._front.limits.max_body} bytes", 413)

    def _ask(self, entry: Entry, body: bytes, head_only: bool = False) -> None:
        asked = self._front.app.ask(entry, body)
        if type(asked) is Ticket:
            asked.owner = self
            if not (self._noted or asked.away):
                self._noted = True
                self._front.owes(self)
            self._owed.append(asked)
            self._owed_size += asked.size
        elif isinstance(asked, Answer):
            self._reply(asked, head_only)

    def _reply(self, answer: Answer, head_only: bool = False) -> None:
        for piece in self._front.render(answer, self._manners(last=True), head_only):
            self._owe(piece)

    def _manners(self, last: bool) -> bytes:
        """Return what an answer says about the connection's future."""
        if last and not self._keep:
            return b"connection: close\r\n"
        return b"connection: keep-alive\r\n" if self._old else b""

    def _owe(self, data: bytes) -> None:
        if not self._noted:
            self._noted = True
            self._front.owes(self)
        self._owed.append(data)
        self._owed_size += len(data)

    def deliver(self) -> None:
        """Write the answers that are there, up to the first that is not."""
        owed, transport = self._owed, self._transport
        self._noted = False
        if transport is None or transport.is_closing():
            owed.clear()
            return
        out: list[bytes] = []
        done, usual, render = 0, self._keep and not self._old, self._front.render
        for item in owed:
            if type(item) is bytes:
                out.append(item)
            elif (answer := item.answer) is None:  # type: ignore[union-attr]
                break
            else:
                out += render(answer) if usual else render(answer, self._manners(last=done + 1 == len(owed)))
            done += 1
        if done == len(owed):
            owed.clear()
            self._owed_size = 0
        else:
            del owed[:done]
            self._owed_size = sum(item.size for item in owed if isinstance(item, Ticket))
        if len(out) == 1:
            transport.write(out[0])
        elif out:
            transport.writelines(out)
        if not owed and (self._held or not self._keep):
            self._all_delivered(transport)

    def _all_delivered(self, transport: asyncio.Transport) -> None:
        if self._state == LINGER:
            if transport.can_write_eof():
                transport.write_eof()
        elif not self._keep:
            transport.close()
        elif self._held:
            self._held = False
            self._go_on()

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
        elif self._owed:
            return  # we are the ones who take long
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
