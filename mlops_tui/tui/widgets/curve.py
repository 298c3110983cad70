"""A chart that is looked at with keys. Charts that share a lens zoom, move and point together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from textual.strip import Strip

from mlops_tui.tui.drawing.text import BLANK, join, line, strip
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.widgets.panel import Panel

if TYPE_CHECKING:
    from mlops_tui.tui.drawing.plot import Drawn, Level, Look
    from mlops_tui.tui.drawing.raster import Series

_SMOOTHING = (0.0, 0.6, 0.9)
_SMALLEST = 1 / 256
"""The smallest share of the x axis that one can zoom to, unless that is still many steps."""
_FEW = 10
"""Steps that are seen at least."""
_AXES = {"step": "", "elapsed": "time", "clock": "", "epoch": "epochs"}
"""What the frame says of an axis."""


class Lens(NamedTuple):
    """The part of the x axis that is seen, where the crosshair stands, and the smoothing. See ``plot.Look``."""

    part: float = 1.0
    right: float = 1.0
    at: float | None = None
    smoothing: float = 0.0


class Shared:
    """A lens and the charts that look through it.

    Args:
        moved: called when another part of the x axis is looked at.
    """

    def __init__(self, moved: Callable[[], None] = lambda: None) -> None:
        self.lens = Lens()
        self.charts: list[Curve] = []
        self._moved = moved

    def turn(self, lens: Lens) -> None:
        """Look through it otherwise; all its charts are drawn anew, and another part is told of."""
        before, self.lens = self.lens, lens
        for chart in self.charts:
            chart.again()
        if (before.part, before.right) != (lens.part, lens.right):
            self._moved()


class Curve(Panel):
    """A chart of some series over steps, time or epochs."""

    BINDINGS = bindings("curve")

    def __init__(
        self,
        title: str = "",
        hints: str = "",
        *,
        empty: str = "",
        ident: str | None = None,
        shared: Shared | None = None,
    ) -> None:
        super().__init__(title, hints, empty=empty, ident=ident)
        self.series: tuple[Series, ...] = ()
        self.levels: tuple[Level, ...] = ()
        self.axis, self.log_y = "step", False
        self.name_drawn, self.told = title, False
        self.shared = shared or Shared()
        self.shared.charts.append(self)
        self._drawn: Drawn | None = None

    @property
    def count(self) -> int:
        """Nothing to scroll: what is drawn always fits."""
        return self.room[1] if self.series else 0

    @property
    def unread(self) -> bool:
        """Whether nothing has been shown yet."""
        return not self.told

    @property
    def look(self) -> Look:
        """How the chart is looked at now."""
        from mlops_tui.tui.drawing.plot import Look

        lens = self.shared.lens
        plain = bool(getattr(self.app, "ascii", False))
        return Look(self.axis, self.log_y, lens.smoothing, lens.part, lens.right, lens.at, plain)

    def show(self, series: Sequence[Series], levels: Sequence[Level] = (), axis: str = "step") -> None:
        """Show series; the same ones again paint nothing.

        Args:
            series: what to draw, the most important first.
            levels: horizontal lines behind them.
            axis: what x is, see ``plot.Look``.
        """
        first, self.told = not self.told, True
        if (
            not first
            and (tuple(series), tuple(levels), axis) == (self.series, self.levels, self.axis)
            and self.problem is None
        ):
            return
        self.series, self.levels, self.axis = tuple(series), tuple(levels), axis
        self.problem = None
        self.again()

    def body(self, y: int, cells: int) -> Strip:
        """Draw one row of the chart."""
        rows = self.drawn().rows
        row = rows[y] if y < len(rows) else BLANK
        if self.stale:
            row = tuple((text, "faint") for text, _ in row)
        return strip(row, self.ink, cells=cells)

    def drawn(self) -> Drawn:
        """Return the chart, drawn for the room that it has."""
        from mlops_tui.tui.drawing import plot

        if self._drawn is None or self._drawn.room != self.room:
            self._drawn = plot.draw(self.series, self.levels, self.look, *self.room)
        return self._drawn

    def again(self) -> None:
        """Draw anew, and say in the frame how it is looked at, or what stands under the crosshair."""
        self._drawn = None
        from mlops_tui.tui.drawing import plot

        drawable = bool(self.series) and min(self.room) > 0
        self.figure = line((self.note(), "dim"))
        if drawable and self.shared.lens.at is not None:
            self.figure = self.drawn().reading
        elif drawable and self.room[0] < plot.ROOMY:
            self.figure = join([plot.lasts(self.series, self._beside_title()), self.figure])
        self.refresh()

    def _beside_title(self) -> int:
        """Return the cells of the upper edge that the title leaves to figures, see :meth:`Panel._edge`."""
        cells = self.size.width - 4
        return cells - min(len(self.title), cells * 3 // 5) - 7

    def on_resize(self) -> None:
        """Say the last values in the frame where there is no room for them in the chart."""
        self.again()

    def on_unmount(self) -> None:
        """Look through the lens no more."""
        self.shared.charts.remove(self)

    # Keys

    def action_log_scale(self) -> None:
        """Turn the y axis to its logarithm and back."""
        self.log_y = not self.log_y
        self.again()

    def action_smooth(self) -> None:
        """Smooth by 0.6, by 0.9, not at all."""
        lens = self.shared.lens
        weight = _SMOOTHING[(_SMOOTHING.index(lens.smoothing) + 1) % len(_SMOOTHING)]
        self.shared.turn(lens._replace(smoothing=weight))

    def action_scale(self, by: float) -> None:
        """Show a smaller or larger part: around the crosshair, or else with its right end where it is."""
        lens = self.shared.lens
        part = max(self._smallest(), min(1.0, lens.part * by))
        if lens.at is None or not self.series:
            right = lens.right
        else:
            drawn = self.drawn()
            place = (lens.at - drawn.x0) / ((drawn.x1 - drawn.x0) or 1.0)
            right = lens.right + (1 - place) * (part - lens.part)
        self.shared.turn(lens._replace(part=part, right=max(part, min(1.0, right))))

    def _smallest(self) -> float:
        """Return the smallest share of the x axis that one can zoom to: down to single steps."""
        from mlops_tui.tui.drawing.raster import span

        if self.axis != "step" or not self.series:
            return _SMALLEST
        first, last = span(self.series)
        return min(_SMALLEST, _FEW / (last - first))

    def action_inspect(self) -> None:
        """Put a crosshair on the charts, or take it away."""
        lens = self.shared.lens
        at = None if lens.at is not None or not self.series else self.drawn().x1
        self.shared.turn(lens._replace(at=at))

    def action_aside(self, by: int) -> None:
        """Move the crosshair by a cell; without one, move what is seen by a quarter of it."""
        if not self.series:
            return
        lens, drawn = self.shared.lens, self.drawn()
        if lens.at is None:
            self.shared.turn(lens._replace(right=max(lens.part, min(1.0, lens.right + by * lens.part / 4))))
            return
        at = lens.at + by * (drawn.x1 - drawn.x0) / max(1, drawn.cells - 1)
        self.shared.turn(lens._replace(at=max(drawn.x0, min(drawn.x1, at))))

    def copied(self) -> str:
        """Return what ``y`` copies: the last value of each series."""
        return "  ".join(f"{one.name} {one.told}" for one in self.series)

    def note(self) -> str:
        """Return the ways in which the drawing differs from the plain one, for the title."""
        lens = self.shared.lens
        log_y = f"log y{self._left_out()}" if self.log_y else ""
        parts = [_AXES[self.axis], log_y, f"smooth {lens.smoothing}" if lens.smoothing else ""]
        if lens.part < 1:
            share = f"{lens.part * 100:.2g} %"
            parts.append(f"last {share}" if lens.right == 1 else f"{share} of it")
        return " · ".join(part for part in parts if part)

    def _left_out(self) -> str:
        """Say what a logarithm cannot show."""
        flat = [bool((one.mid <= 0).any()) for one in self.series if not one.band]
        above = any(bool((one.mid > 0).any()) for one in self.series)
        return "" if not any(flat) else ", ≤ 0 left out" if above else ": nothing above 0"
