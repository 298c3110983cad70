"""A model in a process of its own, as a worker sees it: engines that it shares with the other workers.

The supervisor starts them (:mod:`mlops_tui.serving.process.engines`); a worker knocks at their doors and asks one at a
time, its own first (:mod:`mlops_tui.serving.models.sharing`); when its own is gone, another answers.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mlops_tui.serving.models.engine import wire
from mlops_tui.serving.models.engine.frame import Message
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.tensors import Array

_QUEUE = 64
_KNOCK_S = 0.2
_LATER = ((b"retry-after", b"1"),)


class _Link:
    """A worker's connection to one engine; made when it is needed, and again when it was lost."""

    def __init__(self, door: Path) -> None:
        self._door = door
        self._sock: socket.socket | None = None
        self._greeted = False
        self.busy = threading.Lock()

    def up(self) -> bool:
        """Tell whether the engine can be asked; knocks at its door if need be."""
        if self._sock is not None and _hung_up(self._sock):
            self.drop()  # it died while nobody asked: the next one may be there
        if self._sock is None:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.settimeout(_KNOCK_S)
                sock.connect(str(self._door))
            except OSError:
                sock.close()
                return False
            self._sock, self._greeted = sock, False
        return True

    def ask(self, feed: Mapping[str, Array], within_s: float) -> tuple[Message, dict[str, Array]]:
        """Send tensors and return what the engine says.

        Raises:
            EOFError, OSError: it died, perhaps a while ago.
            TimeoutError: it took too long, or others came first.
        """
        assert self._sock is not None
        deadline = time.monotonic() + within_s
        self._sock.settimeout(within_s)
        wire.send(self._sock, {"op": "run"}, feed)
        if not self._greeted:
            wire.receive(self._sock)
            self._greeted = True
            self._sock.settimeout(max(0.001, deadline - time.monotonic()))
        return wire.receive(self._sock)

    def drop(self) -> None:
        """Hang up: whoever answers late answers nobody."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _hung_up(sock: socket.socket) -> bool:
    waiter = select.poll()
    waiter.register(sock, 0)  # that the other end is closed is told whatever is asked
    return bool(waiter.poll(0))


class Remote:
    """A model's engines. Any thread may ask; at each engine they take turns.

    Args:
        doors: where the engines are found, in the order in which they are asked.
        at_once: how many are asked at a time.
        timeout_s: seconds until a request must be answered.
        opens: until when the model is left alone (monotonic), asked when no engine answers.
    """

    def __init__(self, doors: Sequence[Path], at_once: int, timeout_s: float, opens: Callable[[], float]) -> None:
        self._links = [_Link(door) for door in doors]
        self._turns = threading.BoundedSemaphore(at_once)
        self._timeout_s, self._opens = timeout_s, opens
        self._waiting = 0
        for link in self._links[:at_once]:
            link.up()

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Return the model's outputs by name.

        Raises:
            Problem: 429 when too many wait, 503 when the process is gone or left alone, 504 when it took too long.
            RuntimeError: the model failed on these tensors.
        """
        if self._waiting >= _QUEUE:
            raise Problem(f"{self._waiting} requests wait for this model already", 429, _LATER)
        self._waiting += 1
        try:
            with self._turns:
                return self._ask(feed)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Hang up when whoever is being answered has the answer."""
        links, self._links = self._links, []
        for link in links:
            with link.busy:
                link.drop()

    def _ask(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        since = time.monotonic()
        with self._free() as link:
            try:
                message, results = link.ask(feed, self._timeout_s)
            except (EOFError, OSError) as error:
                link.drop()
                # An engine that takes too long ends itself: which of the two was quicker says nothing.
                if isinstance(error, TimeoutError) or time.monotonic() - since >= self._timeout_s:
                    raise Problem(f"the model did not answer within {self._timeout_s:g} s", 504) from None
                raise Problem("the process of the model died; it is started again", 503, _LATER) from None
        if message["op"] == "error":
            raise RuntimeError(message["why"])
        return results

    @contextlib.contextmanager
    def _free(self) -> Iterator[_Link]:
        """Take an engine that answers and that no other thread asks."""
        for link in self._links:
            if link.busy.acquire(blocking=False):
                try:
                    if link.up():
                        yield link
                        return
                finally:
                    link.busy.release()
        raise self._absent()

    def _absent(self) -> Problem:
        left = self._opens() - time.monotonic()
        if left > 0:
            words = f"the model crashed again and again and is left alone for {left:.0f} s"
            return Problem(words, 503, ((b"retry-after", str(int(left) + 1).encode()),))
        return Problem("the model is being started again", 503, _LATER)
