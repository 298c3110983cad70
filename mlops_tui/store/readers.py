"""Who reads just now: what writes much lets them pass, piece by piece."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Readers:
    """The transactions that read. Safe to use from any thread."""

    def __init__(self) -> None:
        self.crowded = False
        """Whether so much is written that no core is free for half a question."""
        self._count = 0
        self._guard = threading.Lock()
        self._none = threading.Event()
        self._none.set()
        self._last = float("-inf")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Be one of them while the block runs."""
        with self._guard:
            self._count += 1
            self._none.clear()
        try:
            yield
        finally:
            with self._guard:
                self._count -= 1
                self._last = time.monotonic()
                if not self._count:
                    self._none.set()

    def pass_by(self, limit_s: float) -> None:
        """Wait until nobody reads, for at most ``limit_s`` seconds: who reads without end stops nothing."""
        self._none.wait(limit_s)

    def lately(self, within_s: float) -> bool:
        """Tell whether somebody reads, or has read within so many seconds."""
        return not self._none.is_set() or time.monotonic() - self._last < within_s
