"""Time limits of queries: one thread watches over all of them, since a timer each would cost more than most queries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Alarms:
    """Calls what a block has left for the case that it takes too long. The thread begins with the first block."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._armed: dict[object, tuple[float, Callable[[], None]]] = {}
        self._wakes = float("inf")
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def within(self, limit_s: float, too_late: Callable[[], None]) -> Iterator[None]:
        """Call ``too_late`` once, from another thread, when the block runs for longer than ``limit_s`` seconds.

        It is never called after the block was left, and must not block.
        """
        alarm = object()
        self._arm(alarm, time.monotonic() + limit_s, too_late)
        try:
            yield
        finally:
            with self._changed:
                self._armed.pop(alarm, None)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _arm(self, alarm: object, due: float, too_late: Callable[[], None]) -> None:
        with self._changed:
            self._armed[alarm] = due, too_late
            if due < self._wakes:
                self._wakes = due
                self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="store-alarms", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for alarm in [alarm for alarm, (due, _) in self._armed.items() if due <= now]:
                    self._armed.pop(alarm)[1]()
                # It sleeps to the limit that was the earliest, also when that block is left: short ones wake nobody.
                if self._wakes <= now:
                    self._wakes = min((due for due, _ in self._armed.values()), default=float("inf"))
                self._changed.wait(None if self._wakes == float("inf") else self._wakes - now)
