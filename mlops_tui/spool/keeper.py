"""The one background thread of a producer: every few seconds it syncs what was written and says "alive".

A ``fdatasync`` takes milliseconds; here it never runs in the caller of a metric.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Protocol

INTERVAL_S = 5.0


class Kept(Protocol):
    """What the thread looks after."""

    def tick(self) -> None:
        """Do what is due every ``INTERVAL_S`` seconds; must not raise."""

    def forked(self) -> None:
        """Let go of everything that belongs to the parent: called in the child right after ``fork``."""


_kept: dict[int, weakref.ref[Kept]] = {}
_thread: threading.Thread | None = None
_lock = threading.Lock()


def look_after(one: Kept) -> None:
    """Have an object ticked and told of forks for as long as it lives."""
    key = id(one)
    _kept[key] = weakref.ref(one, lambda _: _kept.pop(key, None))


def wake() -> None:
    """Start the thread of this process unless it runs; a process about to exit goes without."""
    global _thread
    with _lock:
        if _thread is not None and _thread.is_alive():
            return
        _thread = threading.Thread(target=_run, name="mlops-spool", daemon=True)
        try:
            _thread.start()
        except RuntimeError:  # the interpreter is going down, or the limit of threads is reached
            _thread = None


def let_go(one: Kept) -> None:
    """Stop looking after an object."""
    _kept.pop(id(one), None)


def _run() -> None:
    while True:
        time.sleep(INTERVAL_S)
        for one in _living():
            one.tick()


def _living() -> list[Kept]:
    return [one for ref in list(_kept.values()) if (one := ref()) is not None]


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it; the thread itself is marked dead
    for one in _living():
        one.forked()


os.register_at_fork(after_in_child=_after_fork)
