"""From series to braille: every spike survives, whatever the number of points. numpy only; knows no widget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bits = NDArray[np.uint16]
"""Braille dots, a number a cell."""

_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint16)
_BRAILLE = 0x2800


@dataclass(frozen=True)
class Series:
    """One line of a chart. ``x`` rises; ``low`` and ``high`` bound each point (its bucket), NaN is a gap.

    Compares by identity of its arrays' contents through ``key``, which whoever makes it chooses. ``place`` is its
    place among several, which decides on mark and colour; without it, the place in the chart. ``newest`` is its last
    value.
    """

    name: str
    x: Floats = field(compare=False)
    low: Floats = field(compare=False)
    high: Floats = field(compare=False)
    mid: Floats = field(compare=False)
    key: object = None
    token: str = ""
    band: bool = False
    place: int | None = None
    newest: float | None = None

    @property
    def told(self) -> float:
        """The value that stands at its right end: the newest one, where that is known, for ``last`` is a mean."""
        return self.last if self.newest is None else self.newest

    @property
    def last(self) -> float:
        """The newest finite value, or NaN; of many points, the mean of the last bucket of them."""
        finite = self.mid[np.isfinite(self.mid)]
        return float(finite[-1]) if len(finite) else math.nan


def series(
    name: str,
    x: Sequence[float],
    mid: Sequence[float | None],
    low: Sequence[float | None] = (),
    high: Sequence[float | None] = (),
    token: str = "",
    band: bool = False,
    place: int | None = None,
) -> Series:
    """Make a series from plain lists, where None is a gap."""
    middle = floats(mid)
    lows, highs = floats(low) if len(low) else middle, floats(high) if len(high) else middle
    key = (tuple(x[:1]), tuple(x[-1:]), tuple(mid))
    return Series(name, floats(x), lows, highs, middle, key, token, band, place)


def floats(values: Sequence[float | None]) -> Floats:
    """Return values as floats, None as NaN."""
    return np.array([math.nan if v is None else v for v in values], np.float64)


def smooth(one: Series, weight: float) -> Series:
    """Return a series as its exponential moving average, corrected for its start (Kingma and Ba 2015, §3).

    What bounds its points stays: behind the smooth line one still sees how much it hides.
    """
    if weight <= 0 or len(one.mid) < 3:
        return one
    out = np.empty_like(one.mid)
    mean, seen = 0.0, 0.0
    for i, value in enumerate(one.mid.tolist()):
        if math.isfinite(value):
            mean, seen = weight * mean + (1 - weight) * value, weight * seen + (1 - weight)
        out[i] = mean / seen if seen and math.isfinite(value) else math.nan
    return replace(one, mid=out, key=(one.key, weight))


def trend(one: Series, x0: float, x1: float, cells: int) -> Series:
    """Return the line through a series: a point for each of ``2 * cells`` dot columns, the mean of what lies there."""
    cols = 2 * cells
    cuts = np.searchsorted(one.x, _edges(x0, x1, cols))
    filled = np.flatnonzero(np.diff(cuts))
    if not len(filled) or int(np.diff(cuts).max()) < 2:
        return replace(one, low=one.mid, high=one.mid)
    first, after = cuts[filled], cuts[filled + 1]
    values, starts = one.mid[int(first[0]) : int(after[-1])], first - first[0]
    if _whole(values):
        mean = np.add.reduceat(values, starts) / (after - first)
    else:
        finite = np.isfinite(values)
        number = np.add.reduceat(finite.astype(np.int64), starts)
        sums = np.add.reduceat(np.where(finite, values, 0.0), starts)
        mean = np.where(number > 0, sums / np.maximum(number, 1), math.nan)
    x = x0 + filled / max(1, cols - 1) * (x1 - x0)
    return replace(one, x=x, low=mean, high=mean, mid=mean)


def _edges(x0: float, x1: float, cols: int) -> Floats:
    return x0 + (np.arange(cols + 1) - 0.5) / max(1, cols - 1) * (x1 - x0)


def columns(one: Series, x0: float, x1: float, cells: int) -> tuple[Floats, Floats]:
    """Return lowest and highest value of a series in each of ``2 * cells`` dot columns; NaN where it has no ink.

    A column joins the last value of the column before it, so that the line is whole; columns between two
    points lie on the straight line between them.
    """
    cols = 2 * cells
    if one.band:
        at = x0 + np.arange(cols) / max(1, cols - 1) * (x1 - x0)
        return np.interp(at, one.x, one.low, np.nan, np.nan), np.interp(at, one.x, one.high, np.nan, np.nan)
    low, high = np.full(cols, np.nan), np.full(cols, np.nan)
    cuts = np.searchsorted(one.x, _edges(x0, x1, cols))
    filled = np.flatnonzero(np.diff(cuts))
    if not len(filled):
        return low, high
    first, after = cuts[filled], cuts[filled + 1]
    span = slice(int(first[0]), int(after[-1]))
    starts = first - first[0]
    whole = _whole(one.low[span]) and (one.low is one.high or _whole(one.high[span]))
    lowest, highest = (np.minimum, np.maximum) if whole else (np.fmin, np.fmax)
    low[filled] = lowest.reduceat(one.low[span], starts)
    high[filled] = highest.reduceat(one.high[span], starts)
    _join(low, high, filled, one.mid[first], one.mid[after - 1])
    return low, high


def _whole(values: Floats) -> bool:
    """Tell whether there is no NaN: then the quicker functions do, five times as quick over a million points."""
    return not math.isnan(float(values.sum()))


def _join(low: Floats, high: Floats, filled: NDArray[np.intp], first: Floats, last: Floats) -> None:
    at = np.repeat(filled.astype(np.float64), 2)
    at[1::2] += 1e-6
    values = np.empty_like(at)
    values[0::2], values[1::2] = first, last
    between = np.arange(filled[0], filled[-1] + 1)
    line = np.interp(between, at, values)
    line[filled - filled[0]] = first
    before = np.empty_like(line)
    before[0] = line[0]
    before[1:] = np.interp(between[1:] - 1 + 1e-6, at, values)
    low[between] = np.fmin(low[between], np.fmin(line, before))
    high[between] = np.fmax(high[between], np.fmax(line, before))
    # A gap in the data is a gap in the line: np.interp carries NaN only to its neighbours.
    low[between[~np.isfinite(line)]] = np.nan


def dots(low: Floats, high: Floats, y0: float, y1: float, rows: int) -> Bits:
    """Return braille bits, ``rows`` by half the columns, of a line between ``low`` and ``high`` in each column."""
    deep = 4 * rows
    scale = (deep - 1) / ((y1 - y0) or 1.0)
    inked = np.isfinite(low) & np.isfinite(high) & (high >= y0) & (low <= y1)
    top = np.clip(np.rint((y1 - np.where(inked, high, y1)) * scale), 0, deep - 1)
    bottom = np.clip(np.rint((y1 - np.where(inked, low, y1)) * scale), 0, deep - 1)
    level = np.arange(deep)[:, None]
    on = inked & (level >= top) & (level <= bottom)
    return packed(on)


def packed(plane: NDArray[np.bool_]) -> Bits:
    """Return a plane of dots, four lines and two columns of them a cell, as braille bits."""
    cell = plane.reshape(plane.shape[0] // 4, 4, -1, 2)
    bits: Bits = (cell * _DOTS[None, :, None, :]).sum((1, 3)).astype(np.uint16)
    return bits


def text(bits: Bits) -> list[str]:
    """Return rows of braille characters for bits."""
    codes = (bits.astype("<u4") + _BRAILLE).astype("<u4")
    return [row.tobytes().decode("utf-32-le") for row in codes]


def bounds(values: Sequence[Floats]) -> tuple[float, float]:
    """Return the lowest and highest finite value with a little air, or (0, 1) when there is none."""
    ends = [end for each in values if (end := _ends(each)) is not None]
    if not ends:
        return 0.0, 1.0
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if low == high == 0:
        return 0.0, 1.0
    if low == high:
        return low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
    air = (high - low) * 0.02
    return low - air, high + air


def _ends(values: Floats) -> tuple[float, float] | None:
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else None


def span(several: Sequence[Series]) -> tuple[float, float]:
    """Return the first and last x of all series; a single point gets some room."""
    some = [one for one in several if len(one.x)]
    first, last = min((one.x[0] for one in some), default=0.0), max((one.x[-1] for one in some), default=1.0)
    return (float(first), float(last)) if last > first else (float(first) - 1.0, float(first) + 1.0)


def seen(one: Series, x0: float, x1: float) -> list[Floats]:
    """Return the lower and upper values of a series between two ends of the x axis; once, where they are the same."""
    part = slice(int(np.searchsorted(one.x, x0)), int(np.searchsorted(one.x, x1, "right")))
    return [one.low[part]] if one.low is one.high else [one.low[part], one.high[part]]


def decades(low: float, high: float, about: int) -> list[float]:
    """Return round numbers as their logarithms: 1, 2 and 5 of each decade where there is room, else the decades."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    factors = (1, 2, 5) if 3 * (high - low) <= about else (1,)
    marks = [power + math.log10(factor) for power in powers for factor in factors]
    return [mark for mark in marks if low <= mark <= high]


def ticks(low: float, high: float, about: int) -> list[float]:
    """Return round numbers between two ends, about so many (Heckbert, Graphics Gems I, 1990)."""
    if about < 1 or not high > low:
        return []
    raw = (high - low) / about
    size = 10 ** math.floor(math.log10(raw))
    step = size * min((m for m in (1, 2, 5, 10) if m * size >= raw), default=10)
    first = math.ceil(low / step) * step
    count = int((high - first) / step + 1e-9) + 1
    return [0.0 if abs(first + i * step) < step / 1e6 else first + i * step for i in range(count)]
