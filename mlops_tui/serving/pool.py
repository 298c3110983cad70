"""Threads for models that take long, so that short requests do not wait behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from mlops_tui.serving.tensors import Array

_Outcome = Sequence[Array] | Exception


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
        self._threads = ThreadPoolExecutor(threads, "mlops-run")

    def submit(self, run: Callable[[], Sequence[Array]], done: Callable[[_Outcome], None]) -> bool:
        """Run something in a thread and hand what it gives, or its error, to ``done`` in the loop.

        Returns:
            False when the queue is full: nothing will run.
        """
        if self._room <= 0:
            return False
        self._room -= 1

        def work() -> None:
            try:
                outcome: _Outcome = run()
            except Exception as error:
                outcome = error
            self._loop.call_soon_threadsafe(self._finish, outcome, done)

        self._threads.submit(work)
        return True

    def _finish(self, outcome: _Outcome, done: Callable[[_Outcome], None]) -> None:
        self._room += 1
        done(outcome)
        self._late()

    def close(self) -> None:
        """Let the threads go when their work is done; does not wait."""
        self._threads.shutdown(wait=False, cancel_futures=True)
