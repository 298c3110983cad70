"""Telling a person once. What goes wrong beside a training is said on stderr a single time, never raised."""

from __future__ import annotations

import sys
import threading


class Notices:
    """Says each kind of trouble once on stderr and counts the rest.

    Attributes:
        counts: how often each kind came up, said or not.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._lock = threading.RLock()  # re-entrant: a signal handler may come between

    def once(self, kind: str, text: str) -> None:
        """Print ``mlops: <text>`` unless this kind was said before; never raises."""
        with self._lock:
            self.counts[kind] = seen = self.counts.get(kind, 0) + 1
        if seen == 1:
            say(text)

    def forked(self) -> None:
        """Make usable again in a forked child, where another thread may have held the lock."""
        self._lock = threading.RLock()


def say(text: str) -> None:
    """Print one line on stderr, whatever stands there: a closed file, a notebook's stream, nothing."""
    try:
        if sys.stderr is not None:
            print(f"mlops: {text}", file=sys.stderr, flush=True)
    except Exception:  # somebody else's stream: there is nobody to tell
        pass
