"""The HTTP front with a transport in memory: any bytes in any pieces, limits, order, back-pressure."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import httptools
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_tui.serving.deployment import Deployment
from mlops_tui.serving.problem import JSON, Answer, Problem
from mlops_tui.serving.record.counters import SLOT, Gauge, Slot
from mlops_tui.serving.traffic.call import Ticket
from mlops_tui.serving.transport.connection import MAX_OWED, Connection
from mlops_tui.serving.transport.front import MAX_CONNECTIONS, Front


class Loop:
    """Time and turns by hand."""

    def __init__(self) -> None:
        self.clock, self.ready = 100.0, []

    def time(self) -> float:
        return self.clock

    def call_soon(self, act: Any, *args: Any) -> None:
        self.ready.append((act, args))

    def turn(self) -> None:
        while self.ready:
            act, args = self.ready.pop(0)
            act(*args)


class Transport(asyncio.Transport):
    """Keeps what is written; ``full`` makes every write stop the writer."""

    def __init__(self) -> None:
        super().__init__()
        self.data, self.closed, self.aborted, self.ended, self.reading, self.full = (
            b"",
            False,
            False,
            False,
            True,
            False,
        )
        self.connection: Any = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: Any) -> None:
        assert not self.closed
        self.data += bytes(data)
        if self.full:
            self.connection.pause_writing()

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Echo:
    """Answers with method, target and body, and notes the order of log and answers."""

    def __init__(self) -> None:
        self.predictor, self.owes_shadows, self.flushed = self, False, 0
        self.seen: list[tuple[str, str, bytes]] = []
        self.transport: Any = None

    def admit(self, method: str, target: str, headers: Any) -> Any:
        return method, target

    def ask(self, entry: Any, body: bytes) -> Answer:
        method, target = entry
        self.seen.append((method, target, body))
        return Answer(200, JSON, f"{method} {target} {len(body)} ".encode() + body)

    def refuse(self, error: Exception) -> Answer:
        return Problem("refused").answer()

    def settle(self) -> list[Any]:
        self.flushed += 1
        self.written_before_log = self.transport.data
        return []


class Client:
    def __init__(self, app: Echo | None = None, **limits: Any) -> None:
        self.app, self.loop = app or Echo(), Loop()
        self.slot = Slot(memoryview(bytearray(8 * SLOT)).cast("Q"))
        deployment = Deployment(deployment="d", name="m", spool="/", **{"max_body": 1000, **limits})
        self.front = Front(self.app, deployment, self.slot, self.loop)  # type: ignore[arg-type]
        self.connection, self.transport = self.open()
        self.app.transport = self.transport

    def open(self) -> tuple[Connection, Transport]:
        connection, transport = Connection(self.front), Transport()
        transport.connection = connection
        connection.connection_made(transport)
        return connection, transport

    def send(self, data: bytes) -> Client:
        self.connection.data_received(data)
        self.loop.turn()
        return self

    def later(self, seconds: float) -> Client:
        self.loop.clock += seconds
        self.front.sweep()
        self.loop.turn()
        return self

    @property
    def answers(self) -> list[tuple[int, dict[bytes, bytes], bytes]]:
        return parsed(self.transport.data)


def parsed(data: bytes) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """Read a stream of answers with the parser of a real client; what is no HTTP raises."""
    found: list[tuple[int, dict[bytes, bytes], bytes]] = []

    class Reader:
        def on_message_begin(self) -> None:
            self.headers: dict[bytes, bytes] = {}
            self.body = b""

        def on_header(self, name: bytes, value: bytes) -> None:
            self.headers[name.lower()] = value

        def on_body(self, body: bytes) -> None:
            self.body += body

        def on_message_complete(self) -> None:
            found.append((parser.get_status_code(), self.headers, self.body))

    parser = httptools.HttpResponseParser(Reader())
    parser.feed_data(data)
    return found


def get(path: str = "/x", extra: str = "", version: str = "1.1") -> bytes:
    return f"GET {path} HTTP/{version}\r\nHost: localhost\r\n{extra}\r\n".encode()


def post(body: bytes, path: str = "/p", extra: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


def chunked(*parts: bytes) -> bytes:
    head = b"POST /c HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


def test_an_answer_has_length_date_and_type() -> None:
    ((status, headers, body),) = Client().send(get()).answers
    assert (status, body) == (200, b"GET /x 0 ")
    assert headers[b"content-type"] == b"application/json" and headers[b"date"].endswith(b"GMT")


def test_pipelined_requests_are_answered_in_order_with_one_log_write_before_the_answers() -> None:
    client = Client()
    client.connection.data_received(b"".join(get(f"/{i}") for i in range(50)))
    assert client.transport.data == b"" and client.app.flushed == 0
    client.loop.turn()
    assert [a[2].split()[1] for a in client.answers] == [b"/%d" % i for i in range(50)]
    assert client.app.flushed == 1 and client.app.written_before_log == b""


requests_ = st.lists(
    st.one_of(
        st.builds(get, st.sampled_from(["/a", "/b?q=1"]), st.sampled_from(["", "X-A: 1\r\n"])),
        st.builds(post, st.binary(max_size=60)),
        st.builds(chunked, st.binary(min_size=1, max_size=9), st.binary(min_size=1, max_size=40)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=80, deadline=None)
@given(requests=requests_, cuts=st.lists(st.integers(0, 800), max_size=12))
def test_however_the_bytes_are_cut_the_answers_are_the_same(requests: list[bytes], cuts: list[int]) -> None:
    data = b"".join(requests)
    whole = Client().send(data)
    edges = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    pieces = Client()
    for a, b in pairwise(edges):
        pieces.send(data[a:b])
    assert pieces.app.seen == whole.app.seen and len(pieces.app.seen) == len(requests)
    assert undated(pieces) == undated(whole)


def undated(client: Client) -> list[Any]:
    """Answers without the time of day, which goes on between two clients."""
    return [(status, {**headers, b"date": b""}, body) for status, headers, body in client.answers]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.large_base_example])
@given(data=st.data())
def test_no_bytes_bring_the_front_down(data: Any) -> None:
    client = Client()
    good = b"".join(data.draw(requests_))
    raw = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=8))
    at = 0
    while at < len(raw):
        size = data.draw(st.integers(1, 300))
        client.send(bytes(raw[at : at + size]))
        at += size
    for status, _, _ in client.answers:
        assert status < 500
    client.later(100).later(2)
    assert client.transport.closed
    client.connection.connection_lost(None)
    assert client.slot[Gauge.CONNECTIONS] == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", 400),
        (chunked(b"x" * 600, b"y" * 600), 413),
        (get("/" + "a" * 9000), 414),
        (get(extra="".join(f"X-{i}: y\r\n" for i in range(120))), 431),
        (get(extra="X-A: " + "y" * 40_000 + "\r\n"), 431),
        (get(extra="".join(f"X-{i}: {'y' * 1000}\r\n" for i in range(40))), 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"y" * 200_000, 431),
        (chunked(b"x")[:-2] + b"X-A: " + b"y" * 200_000, 431),
        (chunked(b"x")[:-2] + b"X-A: y\r\n" * 120, 431),
        (chunked(b"x")[:-5] + b"1;a=" + b"y" * 200_000, 431),
        (get("http://["), 400),
    ],
)
def test_what_is_too_much_or_no_http_is_answered_and_ends_the_connection(data: bytes, status: int) -> None:
    client = Client().send(data)
    ((found, headers, _),) = client.answers
    assert found == status and headers[b"connection"] == b"close"
    assert client.transport.ended and not client.transport.closed and not client.app.seen
    client.send(get())
    assert len(client.answers) == 1
    client.later(2)
    assert client.transport.aborted


def test_a_mistake_after_good_requests_leaves_their_answers() -> None:
    client = Client().send(get("/1") + get("/2") + b"\x00nonsense\r\n\r\n")
    assert [status for status, _, _ in client.answers] == [200, 200, 400]


def test_connection_close_old_clients_and_head() -> None:
    client = Client().send(get(extra="Connection: close\r\n") + get("/late"))
    assert len(client.answers) == 1 and client.transport.closed and client.answers[0][1][b"connection"] == b"close"
    old = Client().send(b"GET /o HTTP/1.0\r\n\r\n")
    assert old.app.seen[0][1] == "/o" and old.transport.closed
    kept = Client().send(get(extra="Connection: keep-alive\r\n", version="1.0"))
    assert kept.answers[0][1][b"connection"] == b"keep-alive" and not kept.transport.closed
    head = Client().send(b"HEAD /h HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert head.transport.data.endswith(b"content-length: 10\r\n\r\n")
    absolute = Client().send(get("http://localhost/abs"))
    assert absolute.app.seen[0][1] == "/abs"


def test_continue_is_said_before_the_body_comes() -> None:
    client = Client().send(
        post(b"", extra="").replace(b"Content-Length: 0", b"Content-Length: 3\r\nExpect: 100-continue")
    )
    assert client.transport.data == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert client.app.seen == [("POST", "/p", b"abc")]


def test_an_offer_to_upgrade_is_answered_in_http_and_ends() -> None:
    client = Client().send(get(extra="Connection: Upgrade\r\nUpgrade: websocket\r\n") + b"\x81\x00")
    assert [status for status, _, _ in client.answers] == [200] and client.transport.closed


def test_slow_heads_slow_bodies_and_idle_connections_end() -> None:
    limits = {"header_timeout_s": 5.0, "body_timeout_s": 9.0, "idle_timeout_s": 20.0}
    slow = Client(**limits)
    for byte in get()[:8]:
        slow.send(bytes([byte])).later(0.7)
    assert [a[0] for a in slow.answers] == [408] and slow.transport.ended
    body = Client(**limits).send(post(b"x" * 50)[:-5]).later(8)
    assert not body.answers
    assert [a[0] for a in body.later(2).answers] == [408]
    silent = Client(**limits).later(6)
    assert silent.transport.closed and silent.transport.data == b""
    idle = Client(**limits).send(get()).later(19)
    assert not idle.transport.closed and idle.later(2).transport.closed


def test_a_client_that_does_not_read_is_not_read_from_and_ends() -> None:
    client = Client(body_timeout_s=9.0)
    client.transport.full = True
    client.send(get("/1"))
    assert not client.transport.reading
    client.connection.data_received(get("/2"))
    client.loop.turn()
    assert len(client.app.seen) == 1
    client.transport.full = False
    client.connection.resume_writing()
    client.loop.turn()
    assert client.transport.reading and [a[2].split()[1] for a in client.answers] == [b"/1", b"/2"]
    client.transport.full = True
    client.send(get("/3")).later(10)
    assert client.transport.aborted


def test_many_pipelined_requests_stop_when_their_answers_are_not_read() -> None:
    client = Client(max_body=100_000)
    client.transport.full = True
    client.connection.data_received(post(b"x" * 60_000, "/big") * 40)
    client.loop.turn()
    assert len(client.app.seen) < 15
    client.transport.full = False
    client.connection.resume_writing()
    client.loop.turn()
    assert len(client.app.seen) == 40 and len(client.answers) == 40


def test_a_head_is_read_once_and_then_known_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    client.send(post(b"abc") + get("/1"))
    assert list(client.front.heads) == [post(b"abc")[:-3]], "only what a chunk begins with is learnt"
    monkeypatch.setattr(client.app, "admit", None)
    client.send(post(b"xyz") + post(b"uvw")).send(post(b"12")[:5])
    assert [body for _, _, body in client.app.seen] == [b"abc", b"", b"xyz", b"uvw"]
    other, _ = client.open()
    other.data_received(post(b"all"))
    assert client.app.seen[-1] == ("POST", "/p", b"all")


def test_the_body_behind_a_known_head_may_come_in_pieces_and_the_head_be_forgotten_meanwhile() -> None:
    client = Client().send(post(b"learn"))
    client.send(post(b"quick")[:-4]).send(b"ui").send(b"ck" + post(b"after"))
    assert [body for _, _, body in client.app.seen[1:]] == [b"quick", b"after"]
    client.send(post(b"slow!")[:-4])
    client.front.drain()
    client.send(b"low!")
    assert client.app.seen[-1] == ("POST", "/p", b"slow!") and client.answers[-1][1][b"connection"] == b"close"


@pytest.mark.parametrize(
    "data",
    [
        chunked(b"abc"),
        post(b"abc", extra="Expect: 100-continue\r\n"),
        get(extra="Connection: close\r\n"),
        get(version="1.0", extra="Connection: keep-alive\r\n"),
        b"HEAD /h HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\r\n" + get(),
        b"\r\n\r\n" + get(),
    ],
)
def test_a_head_whose_meaning_hangs_on_more_than_its_bytes_is_not_remembered(data: bytes) -> None:
    client = Client().send(data)
    assert len(client.app.seen) == 1 and not client.front.heads


def test_heads_are_forgotten_when_many_are_seen_and_while_draining() -> None:
    client = Client()
    for i in range(600):
        client.send(get(f"/{i}"))
    assert 0 < len(client.front.heads) <= 512
    client.front.drain()
    client.send(get("/599"))
    assert not client.front.heads and client.answers[-1][1][b"connection"] == b"close"


class Slow(Echo):
    """Answers nothing before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Ticket] = []
        self.late: list[Ticket] = []

    def ask(self, entry: Any, body: bytes) -> Any:
        self.seen.append((*entry, body))
        self.asked.append(Ticket(None, None, None, None, entry[1], 0, len(body)))  # type: ignore[arg-type]
        return self.asked[-1]

    def finish(self, *numbers: int) -> None:
        self.late = [self.asked[n] for n in numbers]
        for ticket in self.late:
            ticket.answer = Answer(200, JSON, ticket.ident.encode())

    def settle(self) -> list[Any]:
        self.late, late = [], self.late
        return late


def test_late_answers_keep_the_order_and_a_half_closed_client_waits_for_them() -> None:
    app = Slow()
    client = Client(app)
    client.send(get("/0") + get("/1"))
    app.finish(1)
    client.front.late()
    assert client.transport.data == b""
    assert client.connection.eof_received()
    client.later(1000)
    assert not client.transport.closed
    app.finish(0)
    client.front.late()
    assert [a[2] for a in client.answers] == [b"/0", b"/1"] and client.transport.closed
    assert client.answers[-1][1][b"connection"] == b"close"


def test_who_waits_for_many_answers_is_not_read_from() -> None:
    app = Slow()
    client = Client(app)
    client.send(b"".join(get(f"/{i}") for i in range(2000)))
    assert MAX_OWED < len(app.seen) < 600 and not client.transport.reading
    for _ in range(20):
        app.finish(*range(len(app.asked)))
        client.front.late()
        client.loop.turn()
    assert [a[2] for a in client.answers] == [b"/%d" % i for i in range(2000)] and client.transport.reading


def test_who_waits_for_large_requests_is_not_read_from_either() -> None:
    app = Slow()
    client = Client(app, max_body=1 << 20)
    for i in range(20):
        client.send(post(b"x" * 100_000, f"/{i}"))
    assert len(app.asked) == 3 and not client.transport.reading
    for _ in range(20):
        app.finish(*range(len(app.asked)))
        client.front.late()
        client.loop.turn()
    assert [a[2] for a in client.answers] == [b"/%d" % i for i in range(20)] and client.transport.reading


def test_half_closing_after_a_request_still_brings_the_answer() -> None:
    client = Client()
    client.connection.data_received(get())
    client.connection.eof_received()
    assert len(client.answers) == 1


def test_draining_answers_what_comes_and_says_that_it_is_the_last() -> None:
    client = Client()
    client.send(get())
    idle, quiet = client.open()
    client.front.drain()
    client.later(0.5).send(get("/last"))
    assert client.answers[-1][1][b"connection"] == b"close" and client.transport.closed
    assert not quiet.closed
    client.later(0.6)
    assert quiet.closed and idle is not None


def test_too_many_connections_are_told() -> None:
    client = Client()
    client.front.connections |= {Connection(client.front) for _ in range(MAX_CONNECTIONS)}
    _, transport = client.open()
    client.loop.turn()
    assert [a[0] for a in parsed(transport.data)] == [503] and client.slot[Gauge.REFUSED] == 1
    client.later(2)
    assert transport.aborted, "who was refused and stays is hung up on"


def test_shadows_wait_until_the_answers_are_written() -> None:
    client = Client()
    order: list[str] = []
    client.app.owes_shadows = True

    def run_shadow() -> None:
        order.append(f"shadow after {len(client.transport.data) > 0}")
        client.app.owes_shadows = False

    client.app.run_shadow = run_shadow  # type: ignore[attr-defined]
    client.send(get())
    assert order == ["shadow after True"]
