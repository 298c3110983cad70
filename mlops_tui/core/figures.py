"""Figures as people read them, on a screen and on a command line alike. Every function returns text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlops_tui.core import clock

NONE = "–"
"""What stands where there is nothing."""
RIGHT = frozenset(("int", "float", "percent", "share", "bytes", "duration", "rate", "hours"))
"""Kinds of value that are compared by their digits: they stand at the right of their column."""
_BLOCKS = "▁▂▃▄▅▆▇█"


def number(value: float | int | None, digits: int = 3) -> str:
    """Return a figure with ``digits`` significant digits, whole thousands with commas."""
    if value is None:
        return NONE
    if isinstance(value, int):
        return f"{value:,}"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(value)
    if not size:
        return "0"
    if size >= 1e9:
        return f"{value:.{digits - 1}e}"
    if size >= 10 ** (digits - 1) or (size > 1 and value == int(value)):
        return f"{value:,.0f}"
    if size < 1e-4:
        return f"{value:.{max(0, digits - 2)}e}"
    return f"{value:.{digits - 1 - math.floor(math.log10(size))}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """Return a difference with its sign; nothing changed is ``=``."""
    if value is None:
        return ""
    if value == 0:
        return "="
    return ("+" if value > 0 else "-") + number(abs(value), digits)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share of 100 with its sign of per cent."""
    return NONE if value is None else f"{value:.{digits}f} %"


def share(value: float | None, digits: int = 0) -> str:
    """Return a share of 1 as a share of 100, with its sign of per cent."""
    return percent(None if value is None else 100 * value, digits)


def odds(log_e: float) -> str:
    """Return an e-value, given as its natural log, as the odds against chance that it is; beyond a million is that."""
    return ">1e6" if log_e > math.log(1e6) else number(math.exp(log_e))


def size(value: float | int | None) -> str:
    """Return bytes in the unit that keeps them short."""
    if value is None:
        return NONE
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(amount) < 1000 or unit == "TB":
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")


def duration(us: int | float | None) -> str:
    """Return a length of time: ``0.4s``, ``41s``, ``2m41s``, ``1h12m``, ``3d4h``."""
    if us is None:
        return NONE
    seconds = us / clock.SECOND
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600}h"


def when(ts_us: int | None, now: int | None = None) -> str:
    """Return how long ago something was, or its date when that is over a day."""
    if not ts_us:
        return NONE
    told = clock.ago(ts_us, now)
    return f"{told} ago" if told[-1] in "smh" and told[0].isdigit() else told


def spark(values: Sequence[float | None], cells: int = 12) -> str:
    """Return the newest values as one row of blocks, scaled to their own range; gaps are blanks."""
    shown = list(values)[-cells:]
    known = [v for v in shown if v is not None and math.isfinite(v)]
    if not known:
        return ""
    low, high = min(known), max(known)
    step = (high - low) / 7.999 or 1.0
    return "".join(_BLOCKS[int((v - low) / step)] if v is not None and math.isfinite(v) else " " for v in shown)
