"""Figures as people read them. Every function returns text; colours are the caller's business."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from mlops_tui.core import clock

NONE = "–"
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
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size >= 1e9:
        return f"{value:.{digits - 1}e}"
    if size >= 10 ** (digits - 1) or value == 0 or (size > 1 and value == int(value)):
        return f"{value:,.0f}"
    if size < 1e-4:
        return f"{value:.{max(0, digits - 2)}e}"
    return f"{value:.{digits - 1 - math.floor(math.log10(size))}f}"


def round_number(value: float) -> str:
    """Return a number that is known to be round without trailing zeros, for axes."""
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.6g}"


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


def memory(used: int | None, total: int | None) -> str:
    """Return how much of how much, in GiB as memory is sold: ``61/80G``."""
    if used is None or total is None:
        return NONE
    return f"{used / 2**30:.{0 if used >= 10 * 2**30 else 1}f}/{total / 2**30:.0f}G"


def fixed(value: float | None, decimals: int = 2) -> str:
    """Return a figure with fixed decimals, for columns that are compared by eye."""
    return NONE if value is None else f"{value:.{decimals}f}"


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


def hour(ts_us: int, seconds: bool = False) -> str:
    """Return the local time of day, ``06:44``, with its seconds if asked for."""
    return datetime.fromtimestamp(ts_us / 1e6).strftime("%H:%M:%S" if seconds else "%H:%M")


def exact(ts_us: int | None) -> str:
    """Return the local date and time to the second."""
    return NONE if not ts_us else datetime.fromtimestamp(ts_us / 1e6).strftime("%Y-%m-%d %H:%M:%S")


def p_value(value: float | None) -> str:
    """Return a p-value: two significant digits, and ``<1e-9`` for the vanishing ones."""
    if value is None:
        return NONE
    if value < 1e-9:
        return "<1e-9"
    return f"{value:.2g}" if value < 0.001 else f"{value:.3f}"


def gauge(share: float | None, cells: int = 10) -> str:
    """Return a bar of ``cells`` for a share between 0 and 1."""
    if share is None or math.isnan(share):
        return "·" * cells
    full = round(min(1.0, max(0.0, share)) * cells)
    return "▇" * full + "▁" * (cells - full)


def bar(share: float, cells: int, ink: str = "█") -> str:
    """Return a bar without its empty part; a block ink is drawn to an eighth of a cell."""
    exactly = min(1.0, max(0.0, share)) * cells
    full = int(exactly)
    if ink != "█":
        return ink * round(exactly)
    rest = int((exactly - full) * 8)
    return ink * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")


def spark(values: Sequence[float | None], cells: int = 12) -> str:
    """Return the newest values as one row of blocks, scaled to their own range; gaps are blanks."""
    shown = list(values)[-cells:]
    known = [v for v in shown if v is not None and math.isfinite(v)]
    if not known:
        return ""
    low, high = min(known), max(known)
    step = (high - low) / 7.999 or 1.0
    return "".join(_BLOCKS[int((v - low) / step)] if v is not None and math.isfinite(v) else " " for v in shown)


def interval(low: float, mid: float, high: float, lower: float, upper: float, cells: int) -> str:
    """Return a confidence interval as ``├──●──┤`` on an axis from ``lower`` to ``upper``."""
    span = (upper - lower) or 1.0

    def at(value: float) -> int:
        return round(min(1.0, max(0.0, (value - lower) / span)) * (cells - 1))

    row = [" "] * cells
    for cell in range(at(low), at(high) + 1):
        row[cell] = "─"
    row[at(low)], row[at(high)] = "├", "┤"
    row[at(mid)] = "●"
    return "".join(row)
