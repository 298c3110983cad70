"""The figures of the house, and those that only a screen draws. All are text; colours are the caller's business."""

from __future__ import annotations

import math
from datetime import datetime

from mlops_tui.core.figures import NONE, duration, number, percent, share, signed, size, spark, when

__all__ = [
    "NONE",
    "bar",
    "duration",
    "exact",
    "fixed",
    "gauge",
    "hour",
    "interval",
    "memory",
    "number",
    "p_value",
    "percent",
    "round_number",
    "share",
    "signed",
    "size",
    "spark",
    "when",
]


def round_number(value: float) -> str:
    """Return a number that is known to be round without trailing zeros, for axes."""
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.6g}"


def memory(used: int | None, total: int | None) -> str:
    """Return how much of how much, in GiB as memory is sold: ``61/80G``."""
    if used is None or total is None:
        return NONE
    return f"{used / 2**30:.{0 if used >= 10 * 2**30 else 1}f}/{total / 2**30:.0f}G"


def fixed(value: float | None, decimals: int = 2) -> str:
    """Return a figure with fixed decimals, for columns that are compared by eye."""
    return NONE if value is None else f"{value:.{decimals}f}"


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
