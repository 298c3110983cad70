"""The door: who asks, may they, is it valid, do it, write it down, tell everyone. Rooms register here."""

from __future__ import annotations

from mlops_tui.door.context import Caller, Context, Guard, act
from mlops_tui.door.house import House
from mlops_tui.door.registry import (
    absorbs,
    absorbs_points,
    absorbs_segments,
    every,
    implements,
    keeps_awake,
    prepares,
    refers,
)

__all__ = [
    "Caller",
    "Context",
    "Guard",
    "House",
    "absorbs",
    "absorbs_points",
    "absorbs_segments",
    "act",
    "every",
    "implements",
    "keeps_awake",
    "prepares",
    "refers",
]
