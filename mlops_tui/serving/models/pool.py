"""Threads for models that take long, so that short requests do not wait behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Lock, Thread

from mlops_tui.serving.tensors import Array

_Outcome = Sequence[Array] | Exception


class TooLate(Exception):
    """A run took longer than it may; whatever it gives later is for nobody."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"it took longer than {limit_s * 1000:g} ms")


class _Errand:
    """A run whose outcome is handed over once."""

    __slots__ = ("_done", "timer")

    def __init__(self, done: Callable[[_Outcome], None]) -> None:
        self._done: Callable[[_Outcome], None] | None = done
        self.timer: asyncio.TimerHandle | None = None

    def give(self, outcome: _Outcome) -> bool:
        """Hand an outcome over; False when one was handed over before."""
        done, self._done = self._done, None
        if self.timer is not None:
            self.timer.cancel()
        if done is None:
            return False
        done(outcome)
        return True


class Pool:
    """A few threads and a bounded queue before them.

    Args:
        loop: where outcomes are handed over.
        threads: how many runs go on at once.
        queue: how many may wait besides; more are turned away.
        late: called in the loop after each outcome was handed over.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int, queue: int, late: Callable[[], None]) -> None:
        self._loop, self._late = loop, late
        self._room = self._whole = threads + queue
        self._half = queue // 2
        self._waiting: SimpleQueue[tuple[Callable[[], Sequence[Array]], _Errand] | None] = SimpleQueue()
        self._missing, self._started, self._lock = threads, 0, Lock()
        self._closed = False

    @property
    def busy(self) -> bool:
        """Tell whether half of the queue is taken: what nobody waits for had better not come."""
        return self._room <= self._half

    @property
    def idle(self) -> bool:
        """Tell whether nothing runs or waits."""
        return self._room == self._whole

    def submit(
        self, run: Callable[[], Sequence[Array]], done: Callable[[_Outcome], None], within_s: float | None = None
    ) -> bool:
        """Run something in a thread and hand what it gives, or its error, to ``done`` in the loop.

        Args:
            run: what to run.
            done: gets the outcome, once.
            within_s: after so long ``done`` gets :class:`TooLate` instead. The thread goes on until the run is over and
                keeps its place in the queue's count: what is stuck must not let more in.

        Returns:
            False when the queue is full: nothing will run.
        """
        if self._room <= 0:
            return False
        self._room -= 1
        errand = _Errand(done)
        if within_s is not None:
            errand.timer = self._loop.call_later(within_s, self._expire, errand, within_s)
        self._waiting.put((run, errand))
        if self._closed:
            # It was read for a revision that has left the routes in the same moment.
            self._begin()
            self._waiting.put(None)
        elif self._missing:
            self._missing -= 1
            self._begin()
        return True

    def _begin(self) -> None:
        with self._lock:
            self._started += 1
        Thread(target=self._work, name="mlops-run", daemon=True).start()

    def _work(self) -> None:
        """Run what comes. A thread waits on the queue itself: an executor's errands cost 30 µs each on both sides."""
        while (job := self._waiting.get()) is not None:
            if not self._carry_out(*job):
                return
            del job  # its tensors may be large, and the next one may be long in coming
        self._leave()

    def _carry_out(self, run: Callable[[], Sequence[Array]], errand: _Errand) -> bool:
        """Run something and say so to the loop; False when there is no loop any more."""
        try:
            outcome: _Outcome = run()
        except Exception as error:
            outcome = error
        try:
            self._loop.call_soon_threadsafe(self._finish, outcome, errand)
        except RuntimeError:
            return False
        return True

    def _finish(self, outcome: _Outcome, errand: _Errand) -> None:
        self._room += 1
        if errand.give(outcome):
            self._late()

    def _expire(self, errand: _Errand, limit_s: float) -> None:
        if errand.give(TooLate(limit_s)):
            self._late()

    def close(self, then: Callable[[], None] = lambda: None) -> None:
        """Let the threads go when everything that waits has run, and the last of them call ``then``; does not wait."""
        with self._lock:
            self._closed, self._then, started = True, then, self._started
        for _ in range(started):
            self._waiting.put(None)
        if not started:
            then()

    def _leave(self) -> None:
        with self._lock:
            self._started -= 1
            last = not self._started
        if last:
            self._then()
