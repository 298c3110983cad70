"""Parallel coordinates as lines of cells: an axis a parameter, a line a run, narrowed by ranges. Knows no widget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import raster
from mlops_tui.tui.drawing.raster import Bits, Floats
from mlops_tui.tui.drawing.text import Line, cut, line, pad, runs, width
from mlops_tui.tui.drawing.theme import MARKS

FEW = 6
"""So many numbers stand at even steps, as words do; more are placed by their size."""
_DECADES = 50
"""From this ratio of the largest to the smallest on, an axis is logarithmic."""
_ENDS = 9
"""Cells right of the last axis, for its numbers."""
_LEAST = 13
"""Cells between two axes at least."""
_LABEL = 7
_DIGITS = 3
BEST, MIDDLE, WORST = range(3)
"""The quarter with the best figures, the half between, the quarter with the worst: places in marks and colours."""
CLASSES = ("best", "middle", "worst")

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Limits:
    """What of an axis is let through: numbers from ``low`` to ``high``, or some words; None among them is no value."""

    low: float = -math.inf
    high: float = math.inf
    words: tuple[str | None, ...] | None = None

    def __str__(self) -> str:
        if self.words is None:
            return f"{self.low:g}..{self.high:g}"
        return ", ".join("(none)" if word is None else word for word in self.words)

    def holds(self, values: Sequence[str | None]) -> Flags:
        """Tell which of these values are let through."""
        if self.words is not None:
            return np.array([value in self.words for value in values], bool)
        return np.array([value is not None and self.low <= float(value) <= self.high for value in values], bool)

    def filter(self, key: str) -> str:
        """Return the same as a filter on a key, which is given as it is typed."""
        if self.words is None:
            return f"{key}:{self.low:g}..{self.high:g}"
        words = [word for word in self.words if word is not None]
        quoted = ", ".join("'" + word.replace("'", "''") + "'" for word in words)
        some = f"{key} in ({quoted})" if words else ""
        if None not in self.words:
            return some
        return f"({some} or {key} is null)" if some else f"{key} is null"


class Stop(NamedTuple):
    """A place on an axis where the cursor can stand: its row, what is there, and the numbers that it stands for."""

    row: int
    name: str
    low: float = -math.inf
    high: float = math.inf
    word: str | None = None


class Axis:
    """One axis: numbers by their size, on a logarithm when they span orders; words and few numbers in even steps.

    Args:
        name: what it is called on the screen.
        key: as a filter has it.
        values: of each run, None where it has none.
    """

    def __init__(self, name: str, key: str, values: Sequence[str | None]) -> None:
        self.name, self.key, self.values = name, key, values
        known = [value for value in values if value is not None]
        self.missing = len(known) < len(values)
        figures = _figures(known)
        self.scaled = figures is not None and len(set(figures)) > FEW
        self.words = [] if self.scaled else sorted(set(known), key=float if figures is not None else str)
        self.log = self.scaled and figures is not None and min(figures) > 0 and max(figures) / min(figures) > _DECADES
        ends = [self._warp(end) for end in (min(figures), max(figures))] if self.scaled and figures else [0.0, 1.0]
        self.low, self.high = ends
        self.places = np.array([self._place(value) for value in values])

    def _warp(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def _unwarp(self, value: float) -> float:
        return 10.0**value if self.log else value

    def _place(self, value: str | None) -> float:
        """Return where a value lies, from 0 at the foot to 1 at the head; NaN where there is none."""
        if value is None:
            return math.nan
        if self.scaled:
            return (self._warp(float(value)) - self.low) / (self.high - self.low)
        return self.words.index(value) / (len(self.words) - 1) if len(self.words) > 1 else 0.5

    def _rows(self, rows: int) -> int:
        """Return how many rows have values; the last one is kept for runs without any."""
        return max(1, rows - 2 * self.missing)

    def dots(self, rows: int) -> Floats:
        """Return the dot, counted from the head, that each run's line goes through."""
        deep = 4 * self._rows(rows) - 1
        found: Floats = np.where(np.isnan(self.places), 4 * rows - 2, (1 - np.nan_to_num(self.places)) * deep)
        return found

    def stops(self, rows: int) -> list[Stop]:
        """Return where the cursor can stand, from the head down."""
        used = self._rows(rows)
        none = [Stop(rows - 1, "(none)")] if self.missing else []
        if not self.scaled:
            last = max(1, len(self.words) - 1)
            place = {word: i / last if len(self.words) > 1 else 0.5 for i, word in enumerate(self.words)}
            return [
                *(Stop(round((1 - place[word]) * (4 * used - 1)) // 4, word, word=word) for word in self.words[::-1]),
                *none,
            ]
        made = []
        for row in range(used):
            high, low = (self._at((4 * row + edge) / max(1, 4 * used - 1)) for edge in (-0.5, 3.5))
            made.append(Stop(row, fmt.number((low + high) / 2), _down(low), _up(high)))
        return [*made, *none]

    def _at(self, down: float) -> float:
        return self._unwarp(self.high - down * (self.high - self.low))

    def limits(self, stops: Sequence[Stop], one: int, other: int) -> Limits:
        """Return what lies between two stops, both taken in."""
        taken = stops[min(one, other) : max(one, other) + 1]
        if self.scaled and all(stop.high < math.inf for stop in taken):
            return Limits(taken[-1].low, taken[0].high)
        if self.scaled:
            # A range that reaches down to the runs without a value: each value that is in it is named.
            low = min((stop.low for stop in taken if stop.high < math.inf), default=math.inf)
            high = taken[0].high if taken[0].high < math.inf else -math.inf
            kept = {value for value in self.values if value is not None and low <= float(value) <= high}
            return Limits(words=(*sorted(kept, key=float), None))
        return Limits(words=tuple(stop.word for stop in taken))

    def labels(self, rows: int) -> dict[int, str]:
        """Return what is written beside the axis, by row."""
        used = self._rows(rows)
        found: dict[int, str] = {}
        if self.scaled:
            about = max(2, used // 4)
            marks = (raster.decades if self.log else raster.ticks)(self.low, self.high, about)
            for mark in [self.low, self.high, *marks]:
                row = round((self.high - mark) / (self.high - self.low) * (4 * used - 1)) // 4
                value = self._unwarp(mark)
                near = float(f"{value:.{_DIGITS}g}")
                is_round = math.isclose(value, near, rel_tol=1e-9)
                found.setdefault(row, fmt.round_number(near) if is_round else fmt.number(value))
        else:
            for stop in self.stops(rows):
                found.setdefault(stop.row, stop.name)
        if self.missing:
            found[rows - 1] = "(none)"
        return found


@dataclass(frozen=True)
class Pose:
    """Where one stands: the axis and stop under the cursor, the stop where a range was begun, and the ranges."""

    axis: int = 0
    stop: int = 0
    begun: int | None = None
    limits: Mapping[str, Limits] = field(default_factory=dict)


def fits(cells: int) -> int:
    """Return how many axes there is room for, the metric's among them."""
    return max(2, (cells - _ENDS - 1) // _LEAST + 1)


def inside(axes: Sequence[Axis], limits: Mapping[str, Limits], runs: int) -> Flags:
    """Tell which runs are within all ranges."""
    kept = np.ones(runs, bool)
    for axis in axes:
        if axis.key in limits:
            kept &= limits[axis.key].holds(axis.values)
    return kept


def classes(runs: int) -> NDArray[np.int64]:
    """Return the class of each run, of which the best comes first."""
    quarter = max(1, runs // 4)
    found = np.full(runs, MIDDLE)
    found[:quarter] = BEST
    if runs > quarter:
        found[-quarter:] = WORST
    return found


class Ink(NamedTuple):
    """The lines of all runs: the dots of each class, and of the runs outside of the ranges, last."""

    columns: list[int]
    bits: list[Bits]
    rows: int


def ink(axes: Sequence[Axis], kept: Flags, cells: int, rows: int) -> Ink:
    """Draw the runs' lines into ``cells`` × ``rows``: what a cursor that moves leaves as it is."""
    last = max(1, len(axes) - 1)
    columns = [round(i * (cells - 1 - _ENDS) / last) for i in range(len(axes))]
    dots = [axis.dots(rows) for axis in axes]
    of = np.where(kept, classes(len(kept)), len(CLASSES))
    bits = []
    for each in range(len(CLASSES) + 1):
        some = of == each
        plane = np.zeros((4 * rows, 2 * cells), bool)
        if some.any():
            for i in range(len(axes) - 1):
                _segments(plane, 2 * columns[i] + 1, 2 * columns[i + 1], dots[i][some], dots[i + 1][some])
        bits.append(raster.packed(plane))
    return Ink(columns, bits, rows)


def _segments(plane: Flags, x0: int, x1: int, y0: Floats, y1: Floats) -> None:
    """Draw straight lines between two axes; the same line of several runs is drawn once."""
    pairs = np.unique(np.rint(np.stack([y0, y1])), axis=1)
    share = np.linspace(0.0, 1.0, max(x1 - x0, plane.shape[0]) + 1)
    y = pairs[0][:, None] + (pairs[1] - pairs[0])[:, None] * share
    x = np.rint(x0 + (x1 - x0) * share).astype(np.intp)
    plane[np.rint(y).astype(np.intp), np.broadcast_to(x, y.shape)] = True


def draw(axes: Sequence[Axis], drawn: Ink, pose: Pose, focused: bool, plain: bool = False) -> list[Line]:
    """Return the names of the axes, then the rows with the lines, the axes over them, and the cursor."""
    rows, cells = drawn.rows, drawn.bits[0].shape[1]
    glyphs, tokens = _canvas(drawn, plain)
    for i, (axis, at) in enumerate(zip(axes, drawn.columns, strict=True)):
        here = i == pose.axis and focused
        for row in range(rows):
            glyphs[row][at], tokens[row][at] = "│", "accent" if here else "dim"
        room = _LABEL if i < len(axes) - 1 else cells - at - 3
        for row, label in axis.labels(rows).items():
            _write(glyphs[row], tokens[row], at + (1 if i < len(axes) - 1 else 3), label[:room])
        for row in _taken(axis, pose, i, rows):
            glyphs[row][at], tokens[row][at] = "┃", "accent"
        if here and (stops := axis.stops(rows)):
            glyphs[stops[pose.stop].row][at] = "◆"
            tokens[stops[pose.stop].row][at] = "accent"
    _ends(axes[-1], drawn, glyphs, tokens)
    body = [runs(glyphs[row], tokens[row]) for row in range(rows)]
    return [_names(axes, drawn.columns, pose.axis if focused else -1, cells), *body]


def _canvas(drawn: Ink, plain: bool) -> tuple[list[list[str]], list[list[str]]]:
    rows, cells = drawn.bits[0].shape
    glyphs = [[" "] * cells for _ in range(rows)]
    tokens = [["faint"] * cells for _ in range(rows)]
    within = drawn.bits[BEST] | drawn.bits[MIDDLE] | drawn.bits[WORST]
    for each, bits, token in ((len(CLASSES), drawn.bits[-1], "line"), *_painted(drawn)):
        shown = bits if each == len(CLASSES) else np.where(bits > 0, within, 0)
        for y, x in np.argwhere(shown).tolist():
            glyphs[y][x] = MARKS[each] if plain and each < len(CLASSES) else chr(0x2800 + int(shown[y, x]))
            tokens[y][x] = token
    return glyphs, tokens


def _painted(drawn: Ink) -> list[tuple[int, Bits, str]]:
    return [(each, drawn.bits[each], f"series-{each}") for each in (WORST, MIDDLE, BEST)]


def _taken(axis: Axis, pose: Pose, index: int, rows: int) -> list[int]:
    """Return the rows of an axis that are in its range, or in the one that is being marked."""
    stops = axis.stops(rows)
    if index == pose.axis and pose.begun is not None:
        ends = sorted((pose.begun, pose.stop))
        return list(range(stops[ends[0]].row, stops[ends[1]].row + 1))
    limits = pose.limits.get(axis.key)
    if limits is None:
        return []
    if limits.words is not None and not axis.scaled:
        held = [stop.row for stop in stops if stop.word in limits.words]
    elif limits.words is not None:
        numbers = [float(word) for word in limits.words if word is not None]
        held = [s.row for s in stops if s.high == math.inf or any(s.low <= one <= s.high for one in numbers)]
    else:
        held = [s.row for s in stops if s.high < math.inf and s.low >= limits.low and s.high <= limits.high]
    return list(range(min(held), max(held) + 1)) if held else []


def _ends(axis: Axis, drawn: Ink, glyphs: list[list[str]], tokens: list[list[str]]) -> None:
    """Put the mark of its class beside the last axis where lines of it end; the best lies above."""
    at = drawn.columns[-1]
    for each, bits, token in _painted(drawn):
        for row in np.flatnonzero(bits[:, at - 1] if at else ()).tolist():
            glyphs[row][at + 1], tokens[row][at + 1] = MARKS[each], token


def _names(axes: Sequence[Axis], columns: Sequence[int], here: int, cells: int) -> Line:
    """Return the names over the axes; the last one may begin before its axis, for it has the most to say."""
    spans: list[Line] = []
    free = 0
    for i, (axis, at) in enumerate(zip(axes, columns, strict=True)):
        last = i == len(axes) - 1
        begin = max(free + 1, min(at, cells - len(axis.name))) if last else at
        room = (cells if last else columns[i + 1]) - begin - 1 + last
        name = cut(line((axis.name, "accent" if i == here else "*text" if last else "dim")), room)
        spans += [line(" " * (begin - free)), name]
        free = begin + width(name)
    return pad(line(*spans), cells)


def _write(glyphs: list[str], tokens: list[str], at: int, text: str) -> None:
    for i, char in enumerate(text[: len(glyphs) - at]):
        glyphs[at + i], tokens[at + i] = char, "dim"


def _figures(values: Sequence[str]) -> list[float] | None:
    try:
        found = [float(value) for value in values]
    except ValueError:
        return None
    return found if found and all(map(math.isfinite, found)) else None


def _down(value: float) -> float:
    return _rounded(value, math.floor)


def _up(value: float) -> float:
    return _rounded(value, math.ceil)


def _rounded(value: float, way: Callable[[float], int]) -> float:
    """Round to few digits, away from what is to be taken in, so that a filter of it can be read."""
    if value == 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - _DIGITS)
    return float(f"{way(value / unit) * unit:.{_DIGITS + 2}g}")
