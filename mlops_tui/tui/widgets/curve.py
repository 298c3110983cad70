"""Curves in braille: several series told apart by colour and mark, log scale, zoom and a crosshair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from textual.strip import Strip

from mlops_tui.core.clock import MINUTE, SECOND
from mlops_tui.tui import format as fmt
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.text import BLANK, Line, Span, join, line, pad, strip
from mlops_tui.tui.theme import MARKS
from mlops_tui.tui.widgets.panel import Panel

if TYPE_CHECKING:
    from mlops_tui.tui.raster import Series

_SMOOTHING = (0.0, 0.6, 0.9)
_FRACTION = {2: 0.5, 4: 0.25}


class Level(NamedTuple):
    """A horizontal line with a meaning: a limit, or no difference."""

    value: float
    name: str
    token: str = "warn"


class _Drawn(NamedTuple):
    """A chart drawn for one size: rows of cells, the ends of both axes, and where its parts begin."""

    rows: list[Line]
    x0: float
    x1: float
    left: int
    cells: int
    room: tuple[int, int]


class Curve(Panel):
    """A chart of some series over steps or time."""

    BINDINGS = bindings("curve")

    def __init__(self, title: str = "", hints: str = "", *, empty: str = "", ident: str | None = None) -> None:
        super().__init__(title, hints, empty=empty, ident=ident)
        self.series: tuple[Series, ...] = ()
        self.levels: tuple[Level, ...] = ()
        self.log_y, self.smoothing, self.time = False, 0.0, False
        self.part = 1.0
        self.inspected: float | None = None
        self._drawn: _Drawn | None = None
        self._seconds = False

    @property
    def count(self) -> int:
        """Nothing to scroll: what is drawn always fits."""
        return self.room[1] if self.series else 0

    def show(self, series: Sequence[Series], levels: Sequence[Level] = (), time: bool = False) -> None:
        """Show series; the same ones again paint nothing.

        Args:
            series: what to draw, the most important first.
            levels: horizontal lines behind them.
            time: x is microseconds since the epoch, not a step.
        """
        if (tuple(series), tuple(levels), time) == (self.series, self.levels, self.time) and self.problem is None:
            return
        self.series, self.levels, self.time = tuple(series), tuple(levels), time
        self.problem = None
        self._again()

    def body(self, y: int, cells: int) -> Strip:
        """Draw one row of the chart."""
        if self._drawn is None or self._drawn.room != self.room:
            self._drawn = self._draw(*self.room)
        rows = self._drawn.rows
        row = rows[y] if y < len(rows) else BLANK
        if self.stale:
            row = tuple((text, "faint") for text, _ in row)
        return strip(row, self.ink, cells=cells)

    # Drawing

    def _draw(self, width: int, height: int) -> _Drawn:
        import numpy as np

        from mlops_tui.tui import raster

        shown = [self._scaled(raster.smooth(one, self.smoothing)) for one in self.series]
        x0, x1 = raster.span(shown)
        x0 = x1 - (x1 - x0) * self.part
        rows = max(1, height - 2)
        self._seconds = self.time and x1 - x0 < 10 * MINUTE
        values = [values for one in shown for values in raster.seen(one, x0, x1)]
        y0, y1 = raster.bounds([*values, np.array([self._scale(level.value) for level in self.levels])])
        marks = (raster.decades if self.log_y else raster.ticks)(y0, y1, max(3, rows // 3))
        names = {self._row(value, y0, y1, rows): self._tick(value) for value in marks}
        left = max((len(name) for name in names.values()), default=0) + 1
        right = 11 if width >= 50 else 2
        cells = max(4, width - left - right)
        canvas = self._canvas(shown, x0, x1, y0, y1, rows, cells, set(names))
        ends_at = self._ends(shown, y0, y1, rows, right)
        lines = []
        for y in range(rows):
            axis = line((names.get(y, "").rjust(left - 1), "dim"), ("┤" if y in names else "│", "line"))
            lines.append(line(axis, canvas[y], ends_at.get(y, BLANK)))
        lines += self._below(x0, x1, left, cells)
        return _Drawn(lines, x0, x1, left, cells, (width, height))

    def _canvas(
        self, shown: list[Series], x0: float, x1: float, y0: float, y1: float, rows: int, cells: int, grid: set[int]
    ) -> list[Line]:
        from mlops_tui.tui import raster

        glyphs = [[" "] * cells for _ in range(rows)]
        tokens = [["faint"] * cells for _ in range(rows)]
        for y in grid:
            glyphs[y] = ["┈" if c % 2 else " " for c in range(cells)]
            tokens[y] = ["line"] * cells
        for level in self.levels:
            y = self._row(self._scale(level.value), y0, y1, rows)
            if 0 <= y < rows:
                glyphs[y] = [("- " * cells)[c] for c in range(cells)]
                tokens[y] = [level.token] * cells
        bits: list[list[int]] = [[0] * cells for _ in range(rows)]
        for index in reversed(range(len(shown))):
            one = shown[index]
            low, high = raster.columns(one, x0, x1, cells)
            drawn = raster.dots(low, high, y0, y1, rows).tolist()
            token = one.token or f"series-{index % len(MARKS)}"
            for y, row in enumerate(drawn):
                for c, dot in enumerate(row):
                    if dot and one.band:
                        glyphs[y][c], tokens[y][c] = "░", token
                    elif dot:
                        bits[y][c] |= dot
                        glyphs[y][c], tokens[y][c] = chr(0x2800 + bits[y][c]), token
        self._crosshair(glyphs, tokens, x0, x1, cells)
        return [_runs(glyphs[y], tokens[y]) for y in range(rows)]

    def _crosshair(self, glyphs: list[list[str]], tokens: list[list[str]], x0: float, x1: float, cells: int) -> None:
        if self.inspected is None:
            return
        at = round(self.inspected * (cells - 1))
        for y, row in enumerate(glyphs):
            if row[at] in " ┈-░":
                row[at], tokens[y][at] = "│", "accent"
        self.figure = self._reading(x0 + (x1 - x0) * self.inspected)

    def _reading(self, x: float) -> Line:
        import numpy as np

        parts: list[Line] = [line((self._x_name(x), "dim"))]
        for index, one in enumerate(self.series):
            if one.band or not len(one.x):
                continue
            near = int(np.abs(one.x - x).argmin())
            parts.append(line(_mark(index, one), " ", fmt.number(float(one.mid[near]), 4)))
        return join(parts)

    def _ends(self, shown: list[Series], y0: float, y1: float, rows: int, right: int) -> dict[int, Line]:
        """Return the mark and last value at the right end of each line; neighbours move apart."""
        ends: dict[int, Line] = {}
        for index, (one, original) in enumerate(zip(shown, self.series, strict=True)):
            if one.band or one.last != one.last:
                continue
            wish = max(0, min(rows - 1, self._row(one.last, y0, y1, rows)))
            free = sorted((y for y in range(rows) if y not in ends), key=lambda y: abs(y - wish))
            if free:
                value = fmt.number(original.last) if right > 2 else ""
                ends[free[0]] = line(_mark(index, original), (f" {value}" if value else "", "text"))
        return ends

    def _below(self, x0: float, x1: float, left: int, cells: int) -> list[Line]:
        from mlops_tui.tui import raster

        marks = raster.ticks(x0, x1, max(2, cells // 12)) if not self.time else [x0, (x0 + x1) / 2, x1]
        rule, names = ["─"] * cells, [" "] * (cells + left)
        free = 0
        for value in marks:
            at = round((value - x0) / ((x1 - x0) or 1) * (cells - 1))
            name = self._x_name(value)
            start = max(0, min(left + at - len(name) // 2, cells + left - len(name)))
            if start < free or not 0 <= at < cells:
                continue
            rule[at] = "┬"
            names[start : start + len(name)] = name
            free = start + len(name) + 2
        return [line((" " * (left - 1) + "┼" + "".join(rule), "line")), line(("".join(names), "dim"))]

    # Scales

    def _scaled(self, one: Series) -> Series:
        if not self.log_y:
            return one
        import numpy as np

        from mlops_tui.tui.raster import Series

        with np.errstate(divide="ignore", invalid="ignore"):
            low, high, mid = (np.where(v > 0, np.log10(v), np.nan) for v in (one.low, one.high, one.mid))
        return Series(one.name, one.x, low, high, mid, one.key, one.token, one.band)

    def _scale(self, value: float) -> float:
        import math

        return value if not self.log_y else math.log10(value) if value > 0 else math.nan

    def _tick(self, value: float) -> str:
        return fmt.number(10**value) if self.log_y else fmt.round_number(value)

    @staticmethod
    def _row(value: float, y0: float, y1: float, rows: int) -> int:
        if value != value:
            return -1
        return round((y1 - value) / ((y1 - y0) or 1.0) * (4 * rows - 1)) // 4

    def _x_name(self, value: float) -> str:
        if self.time:
            return fmt.hour(int(value), self._seconds)
        return f"{value:,.0f}" if abs(value) < 1e6 else f"{value / 1e6:.3g}M"

    # Keys

    def action_log_scale(self) -> None:
        """Turn the y axis to its logarithm and back."""
        self.log_y = not self.log_y
        self._again()

    def action_smooth(self) -> None:
        """Smooth by 0.6, by 0.9, not at all."""
        self.smoothing = _SMOOTHING[(_SMOOTHING.index(self.smoothing) + 1) % len(_SMOOTHING)]
        self._again()

    def action_zoom(self, by: float) -> None:
        """Show a smaller or larger part, always up to the newest point."""
        self.part = max(1 / 256, min(1.0, self.part * by))
        self._again()

    def action_inspect(self) -> None:
        """Put a crosshair on the chart, or take it away."""
        self.inspected = None if self.inspected is not None else 1.0
        self.figure = BLANK
        self._again()

    def action_aside(self, by: int) -> None:
        """Move the crosshair."""
        if self.inspected is not None and self._drawn:
            self.inspected = max(0.0, min(1.0, self.inspected + by / max(1, self._drawn.cells - 1)))
            self._again()

    def copied(self) -> str:
        """Return what ``y`` copies: the last value of each series."""
        return "  ".join(f"{one.name} {one.last}" for one in self.series)

    def note(self) -> str:
        """Return the ways in which the drawing differs from the plain one, for the title."""
        parts = ["log y" if self.log_y else "", f"smooth {self.smoothing}" if self.smoothing else ""]
        parts.append(f"last {self.part:.0%}" if self.part < 1 else "")
        return " · ".join(part for part in parts if part)

    def _again(self) -> None:
        self._drawn = None
        if self.inspected is None:
            self.figure = line((self.note(), "dim"))
        self.refresh()


def duration_axis(start: int, ts: Sequence[int]) -> list[float]:
    """Return times as seconds since ``start``."""
    return [(t - start) / SECOND for t in ts]


def _mark(index: int, one: Series) -> Span:
    return MARKS[index % len(MARKS)], one.token or f"series-{index % len(MARKS)}"


def _runs(glyphs: list[str], tokens: list[str]) -> Line:
    """Put cells of one colour together, so that the terminal is told each colour once."""
    spans: list[Span] = []
    start = 0
    for c in range(1, len(glyphs) + 1):
        if c == len(glyphs) or tokens[c] != tokens[start]:
            spans.append(("".join(glyphs[start:c]), tokens[start]))
            start = c
    return pad(tuple(spans), len(glyphs))
