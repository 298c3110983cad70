"""The seconds in which an agent watched a rollout: deadlines and steps count these, and nothing else.

What an agent that was down or a machine that slept did not see does not count, and no clock that is set can make a
step shorter: monotonic time is added up a turn at a time and kept in the store now and then.
"""

from __future__ import annotations

import time
from typing import Any

from mlops_tui.store.session import Session

LONGEST_S = 5.0
"""Seconds that one turn may count: more than that between two turns means that the machine slept."""
SAVE_S = 5.0


class Watch:
    """What this agent has seen of one rollout since it last told the store."""

    def __init__(self) -> None:
        self.looked = -float("inf")
        self.turned = time.monotonic()
        self.unsaved = 0.0

    def turn(self) -> None:
        """Count the time since the last turn."""
        now = time.monotonic()
        self.unsaved += min(now - self.turned, LONGEST_S)
        self.turned = now


_watches: dict[str, Watch] = {}


def watch(rollout: str) -> Watch:
    """Return the watch of a rollout, begun now if this agent has none."""
    return _watches.setdefault(rollout, Watch())


def forget(but: set[str]) -> None:
    """Forget the rollouts that are over."""
    for gone in _watches.keys() - but:
        del _watches[gone]


def clear() -> None:
    """Forget everything, as an agent that has just come up."""
    _watches.clear()


def watched(row: dict[str, Any]) -> float:
    """Return the seconds in which agents watched a rollout, from its row."""
    seen = _watches.get(row["id"])
    return float(row["watched_s"]) + (seen.unsaved if seen else 0.0)


def here(row: dict[str, Any]) -> float:
    """Return the watched seconds since a rollout came into its state."""
    return watched(row) - float(row["entered_s"])


def save(session: Session, rollout: str) -> float:
    """Write down what is not in the store yet and return the seconds in all."""
    seen = watch(rollout)
    seen.turn()
    added, seen.unsaved = seen.unsaved, 0.0
    session.execute("UPDATE rollout SET watched_s = watched_s + ? WHERE id = ?", [added, rollout])
    return float(session.value("SELECT watched_s FROM rollout WHERE id = ?", [rollout]))
