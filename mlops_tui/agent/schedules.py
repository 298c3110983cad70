"""Schedules: each on a thread of its own, never twice at once, woken early when something happened."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from mlops_tui.core.errors import MlopsError
from mlops_tui.door.registry import SCHEDULES, Schedule

if TYPE_CHECKING:
    from mlops_tui.door.house import House

log = logging.getLogger(__name__)
AGAIN_S = 60.0


class Schedules:
    """Runs every registered schedule until the house is left."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._threads = [_Ticker(house, schedule) for schedule in SCHEDULES.values()]

    def start(self) -> None:
        """Start every schedule."""
        for thread in self._threads:
            self._house.on_wake(thread.schedule.name, thread.wake)
            thread.start()

    def stop(self) -> None:
        """Let the turn that is on finish, then end; the house must have been told that it is left."""
        for thread in self._threads:
            thread.wake()
        for thread in self._threads:
            thread.join(timeout=10)


class _Ticker(threading.Thread):
    def __init__(self, house: House, schedule: Schedule) -> None:
        super().__init__(name=schedule.name, daemon=True)
        self.schedule = schedule
        self._house = house
        self._woken = threading.Event()
        self._told, self._told_at = "", 0.0

    def wake(self) -> None:
        self._woken.set()

    def run(self) -> None:
        while not self._house.leaving.is_set():
            self._woken.clear()
            try:
                self.schedule.work(self._house)
            except Exception as error:
                self._tell(error)
            self._woken.wait(self.schedule.seconds)

    def _tell(self, error: Exception) -> None:
        """Log a failure, the same one again only after a minute: a full disk must not be filled with its own log."""
        text, now = f"{type(error).__name__}: {error}", time.monotonic()
        if text == self._told and now - self._told_at < AGAIN_S:
            return
        self._told, self._told_at = text, now
        if isinstance(error, MlopsError):
            log.warning("%s: %s", self.schedule.name, error)
        else:
            log.error("%s failed; it will be tried again", self.schedule.name, exc_info=error)
