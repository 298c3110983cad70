"""As many charts as there is room for, of a list of names that may be longer; all of them look through one lens."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message

from mlops_tui.tui.drawing.text import middle
from mlops_tui.tui.widgets.curve import Curve, Shared

if TYPE_CHECKING:
    from mlops_tui.tui.drawing.plot import Level
    from mlops_tui.tui.drawing.raster import Series

_LEAST = (38, 9)
"""Cells below which a chart is too small to read."""
_MOST = 6


class Charts(Container):
    """A page of charts. The screen gives the names, is told which page is seen, and gives that page its series.

    Args:
        hints: ids of keys that do something here.
        empty: what is said where there is no name.
        ident: the widget's id.
    """

    DEFAULT_CSS = "Charts { layout: grid; grid-size: 1; height: 1fr; width: 1fr; }"

    class Turned(Message):
        """Another page is seen, or another part of the x axis; the charts want their series."""

        def __init__(self, charts: Charts) -> None:
            super().__init__()
            self.charts = charts

        @property
        def control(self) -> Charts:
            """Where it came from."""
            return self.charts

    def __init__(self, hints: str = "", *, empty: str = "", ident: str | None = None) -> None:
        super().__init__(id=ident)
        self.names: tuple[str, ...] = ()
        self.first = 0
        self.shared = Shared(self._moved)
        self._hints, self._empty = hints, empty
        self._kind = ""
        self._logs: Collection[str] = ()
        self._offered = False

    def compose(self) -> ComposeResult:
        """Make the charts; those that there is no room for are not seen."""
        for index in range(_MOST):
            chart = Curve("Curves", self._hints if not index else "", empty=self._empty, shared=self.shared)
            chart.display = not index
            yield chart

    @property
    def charts(self) -> list[Curve]:
        """All charts, seen or not."""
        return list(self.query(Curve))

    @property
    def page(self) -> tuple[str, ...]:
        """The names that are seen."""
        return self.names[self.first : self.first + self._room()]

    def offer(self, names: Sequence[str], kind: str = "", logs: Collection[str] = ()) -> None:
        """Take the names, and keep to the page that was seen if it is still there.

        Args:
            names: what could be drawn, in order.
            kind: what they are, if not simply metrics.
            logs: names whose y axis is logarithmic at first.
        """
        self._logs, self._offered = logs, True
        before = self.page
        self.names, self._kind = tuple(names), kind
        if before and before[0] in self.names:
            self.first = self.names.index(before[0])
        self._lay_out()

    def turn(self, by: int) -> None:
        """Turn some pages; after the last comes the first."""
        room = self._room()
        pages = max(1, -(-len(self.names) // room))
        self.first = (self.first // room + by) % pages * room
        self._turned()

    def bring(self, name: str) -> None:
        """Draw this name first."""
        if name in self.names:
            self.first = self.names.index(name)
            self._turned()

    def show(
        self,
        series: Mapping[str, Sequence[Series]],
        axis: str = "step",
        levels: Mapping[str, Sequence[Level]] = MappingProxyType({}),
    ) -> None:
        """Show the series of the names that are seen, and levels behind them; a name without any is an empty chart."""
        for chart, name in zip(self.charts, self.page, strict=False):
            chart.show(series.get(name, ()), levels.get(name, ()), axis)

    @property
    def part(self) -> tuple[int, int] | None:
        """The steps that are looked at, if that is not all of them; None over another axis."""
        from mlops_tui.tui.drawing.plot import window

        charts = [chart for chart in self.charts if chart.display and chart.series]
        if self.shared.lens.part == 1 or not charts or charts[0].axis != "step":
            return None
        ends = [window(chart.series, chart.look) for chart in charts]
        return math.floor(min(low for low, _ in ends)), math.ceil(max(high for _, high in ends))

    def _moved(self) -> None:
        self.post_message(self.Turned(self))

    def on_resize(self) -> None:
        """Find out how many charts there is room for now."""
        before = self.page
        self._lay_out()
        if self.page != before:
            self.post_message(self.Turned(self))

    def _turned(self) -> None:
        self._lay_out()
        self.post_message(self.Turned(self))

    def _shape(self) -> tuple[int, int]:
        wide, high = (max(1, have // least) for have, least in zip(self.size, _LEAST, strict=True))
        return wide, max(1, min(high, _MOST // wide))

    def _room(self) -> int:
        wide, high = self._shape()
        return min(_MOST, wide * high)

    def _lay_out(self) -> None:
        page, charts = self.page, self.charts
        wide = max(1, min(self._shape()[0], len(page)))
        high = max(1, -(-len(page) // wide))
        self.styles.grid_size_columns, self.styles.grid_size_rows = wide, high
        for index, chart in enumerate(charts):
            seen = index < max(1, len(page))
            name = page[index] if index < len(page) else ""
            if name != chart.name_drawn:
                chart.name_drawn, chart.log_y = name, name in self._logs
                chart.show(())
                chart.told = False
            if not name and self._offered and not chart.told:
                chart.show(())  # nothing will come that could be drawn here
            # What all names of a kind begin with says nothing on each of them.
            chart.title = name.removeprefix(f"{self._kind}/") or self._kind or "Curves"
            chart.display = seen
            # The last row is filled: its last chart takes what is left of it.
            chart.styles.column_span = wide - index % wide if index == len(page) - 1 else 1
        if charts and len(page) < len(self.names):
            kind = f" {self._kind}" if self._kind else ""
            upto = f"–{self.first + len(page)}" if len(page) > 1 else ""
            count = f"  ({self.first + 1}{upto} of {len(self.names)}{kind})"
            charts[0].title = middle(charts[0].title, self.size.width // wide * 3 // 5 - len(count) - 3) + count
