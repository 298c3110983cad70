"""Right sides by kind: numbers with units, flags, and times as spans."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from mlops_tui.core.clock import DAY, HOUR, MINUTE, SECOND, now_us

TIMES = frozenset(("time", "ms"))
NUMBERS = frozenset(("int", "float", "percent", "bytes", "duration", "rate", "hours"))
_UNIT_US = {"us": 1, "ms": 1000, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_UNIT_BYTES = {"b": 1}
for _power, _prefix in enumerate("kmgt", 1):
    _UNIT_BYTES |= {f"{_prefix}b": 1000**_power, f"{_prefix}ib": 1024**_power}
_MEASURE = re.compile(r"^(-?\d+(?:\.\d+)?)\s*([a-z]+)$", re.IGNORECASE)
_DAYS = {"today": 0, "yesterday": 1}
_MONTH = re.compile(r"^\d{4}-\d{2}$")


class Span(NamedTuple):
    """A moment as it was said: the first microsecond of it and the first after it."""

    begin: int
    end: int


def number(text: str, kind: str) -> float | None:
    """Return a number in the unit of its kind (µs of a duration, bytes), or None when it is none.

    ``90s`` and ``2h`` fit a duration, ``10MB`` and ``4GiB`` bytes, ``5%`` a percentage.
    """
    if kind == "percent":
        text = text.removesuffix("%").rstrip()
    try:
        return float(text)
    except ValueError:
        units = {"duration": _UNIT_US, "bytes": _UNIT_BYTES}.get(kind)
        found = _MEASURE.match(text)
        unit = (units or {}).get(found[2].lower()) if found else None
        return float(found[1]) * unit if found and unit else None


def span(text: str) -> Span | None:
    """Return the span that a text names, UTC, or None when it names none.

    ``-7d`` (an age), ``now``, ``today``, ``yesterday``, ``2026-11``, ``2026-11-26``, ``2026-11-26T08``,
    ``2026-11-26T08:10``, with seconds and an offset if wanted, or whole microseconds since the epoch.
    """
    word = text.strip().lower()
    if word in _DAYS:
        begin = now_us() // DAY * DAY - _DAYS[word] * DAY
        return Span(begin, begin + DAY)
    if (age := _MEASURE.match(word)) and word.startswith("-") and age[2] in _UNIT_US:
        return _moment(now_us() + int(float(age[1]) * _UNIT_US[age[2]]))
    if word == "now":
        return _moment(now_us())
    try:
        return _moment(int(float(word)))
    except (ValueError, OverflowError):
        return _date(text.strip())


def _moment(at: int) -> Span:
    return Span(at, at + 1)


def _date(text: str) -> Span | None:
    if _MONTH.match(text):
        begin = datetime.fromisoformat(f"{text}-01")
        return _between(begin, (begin + timedelta(days=32)).replace(day=1))
    try:
        begin = datetime.fromisoformat(text)
    except ValueError:
        return None
    clock = text[11:].partition("+")[0].partition("-")[0].rstrip("Zz")
    if not clock:
        return _between(begin, begin + timedelta(days=1))
    width = {0: timedelta(hours=1), 1: timedelta(minutes=1), 2: timedelta(seconds=1)}[min(clock.count(":"), 2)]
    return _between(begin, begin + (timedelta(microseconds=1) if "." in clock else width))


def _between(begin: datetime, end: datetime) -> Span:
    return Span(_us(begin), _us(end))


def _us(when: datetime) -> int:
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return round((aware - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def flag(text: str) -> bool | None:
    """Return yes or no, or None when it is neither."""
    word = text.lower()
    return True if word in ("1", "true", "yes", "on") else False if word in ("0", "false", "no", "off") else None
