"""The workers of a deployment as the supervisor sees them: started, greeted, adopted, buried, drained."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from mlops_tui import __version__
from mlops_tui.core.errors import MlopsError
from mlops_tui.serving.control import Channel, Message
from mlops_tui.serving.deployment import CONTROL, Deployment
from mlops_tui.serving.process.seats import Seat
from mlops_tui.serving.record.counters import Counters, Gauge
from mlops_tui.serving.transport.sockets import accept_all, listen, refuse_foreign
from mlops_tui.spool.process import is_alive

TURN_S = 0.1
_ORPHANS_S = 3.0
_HELLO_S = 60.0
_HUNG_NS = 60 * 10**9
_GIVE_UP_QUEUE = 3
_AT_ONCE = 32
_log = logging.getLogger("mlops.serving")


class Owner(Protocol):
    """Who the fleet tells what its workers say."""

    def greeted(self, seat: Seat, hello: Message, models: dict[str, int]) -> None:
        """A worker has come up, or was taken over with its models' memory files, which now belong to the owner."""

    def told(self, seat: Seat, message: Message) -> None:
        """A worker says what it serves or refuses."""

    def lost(self, seat: Seat, expected: bool) -> None:
        """A worker is gone."""


class Fleet:
    """The seats of a deployment and who sits on them.

    Args:
        folder: the deployment's; the process must be in it.
        deployment: its fixed facts.
        counters: where a dead worker's gauges are put right.
        spool_bytes: how much the inference log may keep on disk.
        owner: who is told.
    """

    def __init__(
        self, folder: Path, deployment: Deployment, counters: Counters, spool_bytes: int, owner: Owner
    ) -> None:
        self._folder, self._deployment, self._counters, self._owner = folder, deployment, counters, owner
        self._spool_bytes = spool_bytes
        self.seats = [Seat(n) for n in range(deployment.workers)]
        self.port = deployment.port
        self._selector = selectors.DefaultSelector()

    @property
    def serving(self) -> list[Seat]:
        """The seats whose workers answer."""
        return [seat for seat in self.seats if seat.serving]

    def open(self, former: Iterable[dict[str, Any]]) -> None:
        """Open the line, take over the living workers of a supervisor that died, and open the missing sockets.

        Args:
            former: the workers in the last ``state.json``.

        Raises:
            Conflict: the port is another program's.
        """
        self._open_control()
        self._take_orphans([w for w in former if w.get("process") and is_alive(w["process"])])
        if all(seat.listener is None for seat in self.seats):
            refuse_foreign(self._deployment.host, self.port)
        for seat in self.seats:
            self._open_listener(seat)

    def _open_listener(self, seat: Seat) -> None:
        if seat.listener is None:
            seat.listener = listen(self._deployment.host, self.port)
            self.port = seat.listener.getsockname()[1]

    def _open_control(self) -> None:
        """Listen for workers. The path is relative, as one of a Unix socket has room for 108 bytes."""
        Path(CONTROL).unlink(missing_ok=True)
        control = socket.socket(socket.AF_UNIX)
        control.bind(CONTROL)
        os.chmod(CONTROL, 0o600)
        control.listen(64)
        self._selector.register(control, selectors.EVENT_READ, partial(self._accept, control))
        # Signals end a wait at once: the interpreter writes a byte here for each.
        ours, self._wakeup = socket.socketpair()
        ours.setblocking(False)
        self._wakeup.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._selector.register(ours, selectors.EVENT_READ, partial(ours.recv, 4096))

    def _take_orphans(self, living: list[dict[str, Any]]) -> None:
        """Wait a moment for workers that look for a supervisor; what does not answer is killed."""
        deadline = time.monotonic() + _ORPHANS_S
        while living and time.monotonic() < deadline:
            self.listen()
            here = {seat.process["pid"] for seat in self.seats if seat.process is not None and seat.channel is not None}
            living = [w for w in living if w["process"]["pid"] not in here and is_alive(w["process"])]
        for worker in living:
            _log.error("worker %s of the last supervisor does not answer: killing it", worker["process"]["pid"])
            os.kill(worker["process"]["pid"], signal.SIGKILL)

    def listen(self) -> None:
        """Wait up to ``TURN_S`` for workers or signals, and pass on what workers say."""
        for key, _ in self._selector.select(TURN_S):
            key.data()

    def _accept(self, control: socket.socket) -> None:
        channel = Channel(control.accept()[0])
        self._selector.register(channel.sock, selectors.EVENT_READ, partial(self._hear, channel))

    def _hear(self, channel: Channel) -> None:
        try:
            for message, files in channel.receive():
                seat = self._seat_of(channel)
                if message["op"] == "hello":
                    self._greet(channel, message, files)
                elif seat is not None:
                    self._owner.told(seat, message)
        except EOFError:
            seat = self._seat_of(channel)
            if seat is None:
                self._selector.unregister(channel.sock)
                channel.close()
            else:
                self._lose(seat)

    def _seat_of(self, channel: Channel) -> Seat | None:
        return next((seat for seat in self.seats if seat.channel is channel), None)

    def _greet(self, channel: Channel, hello: Message, files: list[int]) -> None:
        """Seat a worker: a child that has come up, or one whose supervisor died."""
        listener = socket.socket(fileno=files[0])
        port = listener.getsockname()[1]
        seat = self.seats[hello["slot"]] if hello["slot"] < len(self.seats) else None
        if seat is None or not self._may_sit(seat, hello, port):
            for fd in files[1:]:
                os.close(fd)
            listener.close()
            channel.send({"op": "drain"})
            return
        if seat.listener is None:
            seat.listener, self.port = listener, port
        else:
            listener.close()
        if seat.child is None:
            seat.started = time.monotonic()
            _log.info("took over worker %d (pid %d)", seat.number, hello["process"]["pid"])
        seat.channel, seat.process = channel, hello["process"]
        if hello["version"] != __version__ or hello["facts"] != self._deployment.digest():
            _log.info("worker %d is of another version or of other facts: replacing it", seat.number)
            self._ask_to_leave(seat)
        self._owner.greeted(seat, hello, dict(zip(hello["models"], files[1:], strict=True)))

    def _may_sit(self, seat: Seat, hello: Message, port: int) -> bool:
        stranger = seat.child is not None and seat.child.pid != hello["process"]["pid"]
        return seat.channel is None and not stranger and self.port in (0, port)

    def _ask_to_leave(self, seat: Seat) -> None:
        seat.leaving = True
        try:
            if seat.channel is not None:
                seat.channel.send({"op": "drain"})
            elif seat.child is not None:
                seat.child.terminate()
        except OSError:
            _log.warning("worker %d does not listen", seat.number)

    def _lose(self, seat: Seat) -> None:
        if seat.channel is not None:
            self._selector.unregister(seat.channel.sock)
        expected = seat.leaving
        if not expected:
            _log.warning("worker %d is gone", seat.number)
        slot = self._counters.slot(seat.number)
        slot[Gauge.READY] = slot[Gauge.CONNECTIONS] = 0
        seat.vacate(expected)
        if seat.failures >= _GIVE_UP_QUEUE and self.serving and seat.listener is not None:
            self._hand_over(seat.listener)
            seat.listener = None
        self._owner.lost(seat, expected)

    def _hand_over(self, listener: socket.socket) -> None:
        """Close a socket whose worker does not come up, and let another worker answer those who wait there."""
        waiting = accept_all(listener)
        listener.close()
        for at in range(0, len(waiting), _AT_ONCE):
            some = waiting[at : at + _AT_ONCE]
            channel = self.serving[0].channel
            assert channel is not None
            try:
                channel.send({"op": "accept"}, [sock.fileno() for sock in some])
            except OSError:
                _log.warning("%d waiting connections were lost", len(some))
        for sock in waiting:
            sock.close()

    def bury(self) -> None:
        """Find workers that died, hang or do not come up."""
        now = time.monotonic()
        for seat in self.seats:
            if seat.child is not None and seat.child.poll() is not None:
                self._lose(seat)
            elif seat.taken and seat.channel is None and now - seat.started > _HELLO_S:
                _log.error("worker %d does not come up", seat.number)
                self._lose(seat)
            elif seat.serving and now * 1e9 - self._beat(seat) > _HUNG_NS:
                _log.error("worker %d hangs", seat.number)
                self._lose(seat)

    def _beat(self, seat: Seat) -> float:
        return max(self._counters.slot(seat.number)[Gauge.HEARTBEAT_NS], seat.started * 1e9)

    def fill(self) -> None:
        """Start workers on empty seats whose time has come."""
        for seat in self.seats:
            if seat.taken or time.monotonic() < seat.start_at:
                continue
            try:
                self._open_listener(seat)
                seat.start(self._folder, self._spool_bytes)
            except (OSError, MlopsError) as error:
                _log.error("cannot start worker %d: %s", seat.number, error)
                seat.vacate(False)
            if seat.starts > 1:
                self._counters.slot(seat.number).add(Gauge.RESTARTS)

    def drain(self) -> None:
        """Take no more connections, have every request answered, and leave nobody behind."""
        for seat in self.seats:
            if seat.listener is not None:
                seat.listener.close()
                seat.listener = None
            if seat.taken:
                self._ask_to_leave(seat)
        deadline = time.monotonic() + self._deployment.grace_s + 2.0
        while any(seat.taken for seat in self.seats) and time.monotonic() < deadline:
            self.listen()
            self.bury()
        for seat in self.seats:
            seat.end()
        Path(CONTROL).unlink(missing_ok=True)
