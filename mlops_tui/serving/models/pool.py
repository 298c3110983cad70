"""Threads for models that take long, so that short requests do not wait behind them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

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
        self._room = threads + queue
        self._half = queue // 2
        self._waiting: deque[tuple[Callable[[], Sequence[Array]], _Errand]] = deque()
        self._idle, self._lock = threads, Lock()
        self._threads = ThreadPoolExecutor(threads, "mlops-run")

    @property
    def busy(self) -> bool:
        """Tell whether half of the queue is taken: what nobody waits for had better not come."""
        return self._room <= self._half

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

        with self._lock:
            self._waiting.append((run, errand))
            wake = self._idle > 0
            self._idle -= wake
        if wake:
            self._threads.submit(self._work)
        return True

    def _work(self) -> None:
        """Run what waits until nothing does: waking a thread for each run costs 30 µs more."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._idle += 1
                    return
                run, errand = self._waiting.popleft()
            try:
                outcome: _Outcome = run()
            except Exception as error:
                outcome = error
            self._loop.call_soon_threadsafe(self._finish, outcome, errand)

    def _finish(self, outcome: _Outcome, errand: _Errand) -> None:
        self._room += 1
        if errand.give(outcome):
            self._late()

    def _expire(self, errand: _Errand, limit_s: float) -> None:
        if errand.give(TooLate(limit_s)):
            self._late()

    def close(self) -> None:
        """Let the threads go when they have done what they are at; does not wait."""
        with self._lock:
            self._waiting.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)
