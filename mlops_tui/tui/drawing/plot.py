"""A chart as lines of cells: axes, grid, curves in braille, their ends, and the crosshair. Knows no widget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from mlops_tui.core.clock import MINUTE
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import raster
from mlops_tui.tui.drawing.raster import Series
from mlops_tui.tui.drawing.text import BLANK, Line, Span, join, line, runs
from mlops_tui.tui.drawing.theme import MARKS

ROOMY = 50
"""Cells from which on there is room for the last values at the right of a chart."""
_ENDS = 11
"""Cells that they take."""


class Level(NamedTuple):
    """A horizontal line with a meaning: a limit, or no difference."""

    value: float
    name: str
    token: str = "warn"


@dataclass(frozen=True)
class Look:
    """How a chart is looked at.

    Args:
        axis: what x is: ``step``, ``elapsed`` (µs), ``clock`` (µs since the epoch) or ``epoch`` (of the training).
        log_y: a logarithmic y axis.
        smoothing: weight of the moving average, from 0 (none) to 1.
        part: the share of the x axis that is seen.
        right: where the right end of that part stands; 1 is the newest point.
        at: where the crosshair stands, on the x axis.
        plain: drawn for ASCII: of several lines each is a row of its marks, for nothing else tells them apart there.
    """

    axis: str = "step"
    log_y: bool = False
    smoothing: float = 0.0
    part: float = 1.0
    right: float = 1.0
    at: float | None = None
    plain: bool = False


class Drawn(NamedTuple):
    """A chart drawn for one size.

    ``rows`` of cells, the ends of its x axis, its width without the names beside it, the values under the crosshair,
    and the room that it was drawn for.
    """

    rows: list[Line]
    x0: float
    x1: float
    cells: int
    reading: Line
    room: tuple[int, int]


class _Frame(NamedTuple):
    """The piece of the plane that is drawn, and how many cells it takes."""

    x0: float
    x1: float
    y0: float
    y1: float
    cells: int
    rows: int

    def row(self, value: float) -> int:
        """Return the row of a value; -1 for what is no number."""
        if value != value:
            return -1
        return round((self.y1 - value) / ((self.y1 - self.y0) or 1.0) * (4 * self.rows - 1)) // 4

    def column(self, x: float) -> int:
        """Return the column of cells of a place on the x axis."""
        return round((x - self.x0) / ((self.x1 - self.x0) or 1.0) * (self.cells - 1))


def window(series: Sequence[Series], look: Look) -> tuple[float, float]:
    """Return the ends of the part of the x axis that is seen."""
    x0, x1 = raster.span(series)
    right = x1 - (1 - look.right) * (x1 - x0)
    return right - (x1 - x0) * look.part, right


def draw(series: Sequence[Series], levels: Sequence[Level], look: Look, width: int, height: int) -> Drawn:
    """Draw series into ``width`` × ``height`` cells, the most important first: it lies above the others."""
    rows = max(1, height - 2)
    shown = [_scaled(raster.smooth(one, look.smoothing), look.log_y) for one in series]
    x0, x1 = window(shown, look)
    values = [values for one in shown for values in raster.seen(one, x0, x1)]
    y0, y1 = raster.bounds([*values, np.array([_scale(level.value, look.log_y) for level in levels])])
    marks = (raster.decades if look.log_y else raster.ticks)(y0, y1, max(3, rows // 3))
    right = _ENDS if width >= ROOMY else 2
    tick: Callable[[float], str] = (lambda value: fmt.number(10**value)) if look.log_y else fmt.round_number
    left = max((len(tick(value)) for value in marks), default=0) + 1
    frame = _Frame(x0, x1, y0, y1, max(4, width - left - right), rows)
    names = {frame.row(value): tick(value) for value in marks}
    canvas = _canvas(shown, levels, look, frame, set(names))
    ends_at = _ends(shown, series, frame, right)
    lines = []
    for y in range(rows):
        axis = line((names.get(y, "").rjust(left - 1), "dim"), ("┤" if y in names else "│", "line"))
        lines.append(line(axis, canvas[y], ends_at.get(y, BLANK)))
    lines += _below(series, look, frame, left)
    reading = BLANK if look.at is None else _reading(series, look.at, look.axis, frame)
    return Drawn(lines, x0, x1, frame.cells, reading, (width, height))


def lasts(series: Sequence[Series], cells: int) -> Line:
    """Return the newest value of each series behind its mark, with as many digits as there is room for."""
    known = [(i, one) for i, one in enumerate(series) if not one.band and one.last == one.last]
    for digits, gap, between in ((3, " ", "  "), (2, " ", "  "), (2, "", " ")):
        told = join((line(mark(i, one), f"{gap}{fmt.number(one.told, digits)}") for i, one in known), between)
        if sum(len(text) for text, _ in told) <= cells:
            break
    return told


def x_name(value: float, axis: str, span: float) -> str:
    """Return a place on the x axis as people say it; ``span`` is the length of what is seen."""
    match axis:
        case "clock":
            return fmt.hour(int(value), span < 10 * MINUTE)
        case "elapsed":
            return fmt.duration(value)
        case "epoch":
            return fmt.round_number(round(value, 2))
    return f"{value:,.0f}" if abs(value) < 1e6 else f"{value / 1e6:.3g}M"


def mark(index: int, one: Series) -> Span:
    """Return the shape of a series in its colour."""
    place = (index if one.place is None else one.place) % len(MARKS)
    return MARKS[place], one.token or f"series-{place}"


def _canvas(shown: list[Series], levels: Sequence[Level], look: Look, frame: _Frame, grid: set[int]) -> list[Line]:
    cells, rows = frame.cells, frame.rows
    glyphs = [[" "] * cells for _ in range(rows)]
    tokens = [["faint"] * cells for _ in range(rows)]
    for y in grid:
        glyphs[y] = ["┈" if c % 2 else " " for c in range(cells)]
        tokens[y] = ["line"] * cells
    for level in levels:
        y = frame.row(_scale(level.value, look.log_y))
        if 0 <= y < rows:
            glyphs[y] = [("- " * cells)[c] for c in range(cells)]
            tokens[y] = [level.token] * cells
    lines = np.zeros((rows, cells), np.uint16)
    behind = np.zeros((rows, cells), np.uint16)
    for index in reversed(range(len(shown))):
        one = shown[index]
        token = mark(index, one)[1]
        low, high = raster.columns(one, frame.x0, frame.x1, cells)
        spread = raster.dots(low, high, frame.y0, frame.y1, rows)
        if one.band:
            _fill(glyphs, tokens, spread, lambda _: "░", token)
            continue
        behind |= spread
        mean = raster.trend(one, frame.x0, frame.x1, cells)
        drawn = raster.dots(*raster.columns(mean, frame.x0, frame.x1, cells), frame.y0, frame.y1, rows)
        lines |= drawn
        glyph = partial(_marked, mark(index, one)[0]) if look.plain and len(shown) > 1 else _braille
        _fill(glyphs, tokens, np.where(drawn > 0, lines, 0), glyph, token)
    # Behind the lines, in one faint colour: how far single points lie from them, so that no spike is lost.
    _fill(glyphs, tokens, np.where(lines > 0, 0, behind), _braille, "faint")
    if look.at is not None and 0 <= (at := frame.column(look.at)) < cells:
        for y, row in enumerate(glyphs):
            if row[at] in " ┈-░":
                row[at], tokens[y][at] = "│", "accent"
    return [runs(glyphs[y], tokens[y]) for y in range(rows)]


def _braille(bits: int) -> str:
    return chr(0x2800 + bits)


def _marked(shape: str, _: int) -> str:
    return shape


def _fill(
    glyphs: list[list[str]], tokens: list[list[str]], bits: raster.Bits, glyph: Callable[[int], str], token: str
) -> None:
    for y, c in np.argwhere(bits).tolist():
        glyphs[y][c], tokens[y][c] = glyph(int(bits[y, c])), token


def _ends(shown: list[Series], series: Sequence[Series], frame: _Frame, right: int) -> dict[int, Line]:
    """Return the mark and last value at the right end of each line; neighbours move apart."""
    ends: dict[int, Line] = {}
    for index, (one, original) in enumerate(zip(shown, series, strict=True)):
        if one.band or one.last != one.last:
            continue
        wish = max(0, min(frame.rows - 1, frame.row(one.last)))
        free = sorted((y for y in range(frame.rows) if y not in ends), key=lambda y: abs(y - wish))
        if free:
            value = fmt.number(original.told) if right > 2 else ""
            ends[free[0]] = line(mark(index, original), (f" {value}" if value else "", "text"))
    return ends


def _below(series: Sequence[Series], look: Look, frame: _Frame, left: int) -> list[Line]:
    """Return the x axis and its names; a value that is no number is a cross on it."""
    x0, x1, cells = frame.x0, frame.x1, frame.cells
    round_marks = raster.ticks(x0, x1, max(2, cells // 12))
    if look.axis == "step":  # there is no half a step: of a short run each is named once
        round_marks = [one for one in round_marks if float(one).is_integer()]
    between = round_marks if look.axis in ("step", "epoch") else [(x0 + x1) / 2]
    rule, names = ["─"] * cells, " " * (cells + left)
    for value in (x1, x0, *between):  # the ends first: they say how much is seen
        at = frame.column(value)
        name = x_name(value, look.axis, x1 - x0)
        start = max(0, min(left + at - len(name) // 2, cells + left - len(name)))
        beside = names[max(0, start - 2) : start + len(name) + 2]
        if beside.strip() or name in names.split() or not 0 <= at < cells:
            continue
        rule[at] = "┬"
        names = names[:start] + name + names[start + len(name) :]
    tokens = ["line"] * cells
    for one in series:
        for x in one.x[np.isnan(one.mid)].tolist() if not one.band else ():
            if 0 <= (at := frame.column(x)) < cells:
                rule[at], tokens[at] = "✖", "fail"
    return [line((" " * (left - 1) + "┼", "line"), runs(rule, tokens)), line((names, "dim"))]


def _reading(series: Sequence[Series], at: float, axis: str, frame: _Frame) -> Line:
    """Return the value of each series at a place; one that had not begun or was over there has none."""
    span = frame.x1 - frame.x0
    parts: list[Line] = [line((x_name(at, axis, span), "dim"))]
    near_enough = span / frame.cells
    for index, one in enumerate(series):
        if one.band or not len(one.x):
            continue
        there = one.x[0] - near_enough <= at <= one.x[-1] + near_enough
        value = float(one.mid[int(np.abs(one.x - at).argmin())]) if there else None
        parts.append(line(mark(index, one), " ", fmt.number(value, 4)))
    return join(parts)


def _scaled(one: Series, log_y: bool) -> Series:
    if not log_y:
        return one
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high, mid = (np.where(v > 0, np.log10(v), np.nan) for v in (one.low, one.high, one.mid))
    return replace(one, low=low, high=high, mid=mid)


def _scale(value: float, log_y: bool) -> float:
    return value if not log_y else math.log10(value) if value > 0 else math.nan
