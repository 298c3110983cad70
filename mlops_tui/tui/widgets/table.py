"""A window on a list of any length: it paints what is seen, and never reorders under a cursor."""

from __future__ import annotations

import time
from typing import Any

from textual import events
from textual.strip import Strip

from mlops_tui.tui.drawing import cells as cellar
from mlops_tui.tui.drawing.columns import Columns
from mlops_tui.tui.drawing.text import BLANK, Line, line, strip
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.views import Source
from mlops_tui.tui.widgets.listed import Listed, Said

_AGES_S, _DRAWN = 10, 400
"""Seconds after which a row is drawn anew, because it may say how long ago something was; and rows kept drawn."""
_SAMPLE = 60
"""Rows from the first one seen on by which the columns are measured."""


class Table(Listed):
    """A list under one line of headings, with a cursor: it draws what is seen and answers the keys."""

    BINDINGS = bindings("table")

    class Opened(Said):
        """Somebody pressed enter on a row."""

        table: Table

        def __init__(self, table: Table, row: list[Any]) -> None:
            super().__init__(table)
            self.row = row

    class Sorted(Said):
        """Somebody chose another order."""

    class FilterAsked(Said):
        """Somebody wants to type a filter."""

    class ColumnsAsked(Said):
        """Somebody wants to choose the columns."""

    class ViewsAsked(Said):
        """Somebody wants one of the kept views, or to keep this one."""

    def __init__(
        self,
        title: str = "",
        hints: str = "",
        *,
        empty: str = "",
        sort: str = "",
        source: Source | None = None,
        ident: str | None = None,
    ) -> None:
        super().__init__(title, hints, empty=empty, ident=ident)
        self.source, self.sort, self._first_sort = source, sort, sort
        self.shape = Columns()
        self._lines: dict[int, tuple[tuple[Any, ...], list[Any], Line]] = {}

    # What is shown

    @property
    def marked(self) -> int:
        """The column that is sorted by and copied."""
        return self.shape.marked

    @property
    def wanted_columns(self) -> tuple[str, ...]:
        """The columns that a person has chosen."""
        return self.shape.chosen

    @property
    def head(self) -> int:
        """The line of headings, and the pinned row if there is one."""
        return 1 if self.pinned_row is None else 2

    def arrange_columns(self, chosen: tuple[str, ...]) -> None:
        """Show these columns, or for none the list's own, and read the list anew."""
        self.shape.chosen, self.shape.marked = chosen, -1
        self.open_anew(keep=True)

    def body(self, y: int, cells: int) -> Strip:
        """Draw the heading, or the row that is seen at that line."""
        if y == 0:
            return strip(self.shape.heading(self.sort, self.has_focus), self.ink, cells=cells)
        if y == 1 and self.pinned_row is not None:
            return strip(self.shape.row(self.pinned_row, "★ "), self.ink, cells=cells)
        index = self.top + y - self.head
        if index >= self.total:
            return strip(BLANK, self.ink, cells=cells)
        row = self.row(index)
        if row is None:
            self.want(index)
            return strip(line(("  ·", "faint")), self.ink, self._ground(index), cells)
        return strip(self._line(index, row), self.ink, self._ground(index), cells)

    def _line(self, index: int, row: list[Any]) -> Line:
        """Return a row's line; it is kept while what it says stays the same, wherever the cursor is."""
        mark = "● " if row[0] in self.selected else "★ " if row[0] == self.pinned else "  "
        key = (mark, bool(self.stale), int(time.monotonic() / _AGES_S))
        kept = self._lines.get(index)
        if kept is not None and kept[0] == key and kept[1] is row:
            return kept[2]
        spans = self.shape.row(row, mark)
        drawn = tuple((text, "faint") for text, _ in spans) if self.stale else spans
        if len(self._lines) > _DRAWN:
            self._lines.clear()
        self._lines[index] = (key, row, drawn)
        return drawn

    def pointer(self, y: int) -> Line:
        """Mark the row under the cursor."""
        here = self.has_focus and self.total > 0 and self.top + y - self.head == self.cursor and y >= self.head
        return line(("▸", "accent")) if here else super().pointer(y)

    def _ground(self, index: int) -> str:
        return "cursor" if index == self.cursor and self.has_focus else "surface"

    def _inside(self, y: int, cells: int) -> Strip:
        if self.opened and self.total == 0 and not self.problem and self.filter:
            told = [
                line(("nothing matches ", "dim"), self.filter),
                line(("/", "accent"), (" change the filter", "dim")),
            ]
            return strip(told[y] if y < len(told) else BLANK, self.ink, cells=cells)
        return super()._inside(y, cells)

    def paint(self, index: int) -> None:
        """Paint one row again, if it is seen."""
        if 0 <= index - self.top < self.room[1]:
            self.refresh_body(index - self.top + self.head)

    def measure(self) -> None:
        """Lay the columns out for the rows that are seen now."""
        self._lines.clear()
        before = self.shape.widths
        sample = [row for i in range(self.top, self.top + _SAMPLE) if (row := self.row(i))]
        sample += [self.pinned_row] if self.pinned_row else []
        self.shape.fit(self.columns, sample, self.room[0], self.sort)
        if self.shape.widths != before:
            self.refresh()

    def on_resize(self) -> None:
        """Fit columns and window to the new size."""
        if self.opened:
            self.measure()
            self.top = max(0, min(self.top, self.total - self.room[1]))
            self._keep_in_sight()
            # It was painted in its new size already, before it could be told of it.
            self.refresh()

    # Moving

    def action_move(self, by: int) -> None:
        """Move the cursor by rows."""
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Move by what is seen."""
        self._go(self.cursor + by * max(1, self.room[1] - 1))

    def action_edge(self, by: int) -> None:
        """Go to the first or last row. At the first row the list is live again."""
        self._go(0 if by < 0 else self.total - 1)
        if by < 0 and not self.selected:
            self.touched = False

    def action_aside(self, by: int) -> None:
        """Mark the column to the side, and bring it into sight."""
        self.shape.mark(by)
        self._lines.clear()
        self.refresh()

    def action_open(self) -> None:
        """Open the row under the cursor."""
        if self.current:
            self.post_message(self.Opened(self, self.current))

    def action_inspect(self) -> None:
        """Show values whole (ids, times to the second, every digit), or short again."""
        self.shape.whole = not self.shape.whole
        self.measure()
        self.refresh()

    def action_select(self) -> None:
        """Select the row or take it back, and go on to the next."""
        row = self.current
        if row is None:
            return
        if self.selected.pop(row[0], None) is None:
            self.selected[row[0]] = row
        self.touched = True
        self.retitle()
        self.paint(self.cursor)
        self._go(self.cursor + 1)

    def action_sort(self) -> None:
        """Sort by the marked column; again reverses."""
        if self.columns:
            name = self.columns[self.marked].name
            self.sort = name if self.sort == f"-{name}" else f"-{name}"
            self.open_anew()
            self.post_message(self.Sorted(self))

    def reset(self) -> None:
        """Go back to the order and columns that the list began with, without a filter."""
        self.shape.chosen, self.shape.marked = (), -1
        self.filter, self.sort, self.shape.whole = "", self._first_sort, False
        self.open_anew()

    def pin(self, identifier: str) -> None:
        """Keep an object's row on top, whatever the order; none for an empty id."""
        self.pinned, self.pinned_row = identifier, None
        self.open_anew(keep=True)

    def action_filter(self) -> None:
        """Ask for a filter."""
        self.post_message(self.FilterAsked(self))

    def action_columns(self) -> None:
        """Ask which columns to show."""
        self.post_message(self.ColumnsAsked(self))

    def action_views(self) -> None:
        """Ask for a kept view."""
        self.post_message(self.ViewsAsked(self))

    def copied(self) -> str:
        """Return what ``y`` copies: the marked column's value, whole."""
        row = self.current
        return cellar.exact(self.columns[self.marked], row[self.marked]) if row else ""

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; a second click opens."""
        index = self.top + event.y - 1 - self.head
        if event.y > self.head and index < self.total:
            self._go(index)
            if event.chain == 2:
                self.action_open()

    def _go(self, index: int) -> None:
        index = max(0, min(index, self.total - 1))
        before = self.cursor
        if index == before:
            return
        self.cursor, self.touched = index, True
        if not self._keep_in_sight():
            # Nothing scrolled: only the row that was left and the one that was entered are painted.
            self.paint(before)
            self.paint(index)
        self._look_ahead()
        self.post_message(self.Moved(self))

    def _look_ahead(self) -> None:
        """Read the page that two screens more would need, so that scrolling on finds it here."""
        for by in (2, -2):
            index = self.cursor + by * self.room[1]
            if 0 <= index < self.total:
                self.want(index)

    def _keep_in_sight(self) -> bool:
        """Scroll if the cursor has left the window, by a third of it: most keys then paint two rows, not all."""
        height = max(1, self.room[1])
        ahead = height // 3
        if self.cursor < self.top:
            top = self.cursor - ahead
        elif self.cursor >= self.top + height:
            top = self.cursor - height + 1 + ahead
        else:
            return False
        self.top = max(0, min(top, self.total - height))
        self.refresh()
        return True
