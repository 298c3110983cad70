"""Time as the product counts it: whole microseconds since the epoch, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def now_us() -> int:
    """Return the time now in microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def iso(ts_us: int) -> str:
    """Return ISO 8601 with microseconds and a trailing Z, for records that people and programs read."""
    return datetime.fromtimestamp(ts_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def ago(ts_us: int, now: int | None = None) -> str:
    """Return a distance in time as people say it: ``12s``, ``4m``, ``3h``, ``Nov 21``."""
    distance = (now_us() if now is None else now) - ts_us
    if distance < MINUTE:
        return f"{max(0, distance) // SECOND}s"
    if distance < HOUR:
        return f"{distance // MINUTE}m"
    if distance < DAY:
        return f"{distance // HOUR}h"
    return datetime.fromtimestamp(ts_us / 1e6, UTC).strftime("%b %d")
