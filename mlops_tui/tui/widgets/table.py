"""A window on a list of any length: it holds some pages, paints what is seen, and never reorders under a cursor."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from mlops_tui.core.errors import MlopsError, NotFound
from mlops_tui.tui import cells as cellar
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.text import BLANK, Line, Span, line, pad, strip
from mlops_tui.tui.views import PAGE, Pages, Source
from mlops_tui.tui.widgets.panel import Panel
from mlops_tui.tui.work import start

if TYPE_CHECKING:
    from mlops_tui.contracts.listing import Column

_GUTTER = 2
_AGES_S, _DRAWN = 10, 400
"""Seconds after which a row is drawn anew, because it may say how long ago something was; and rows kept drawn."""
_SMALL = 20_000
"""Rows up to which a list that nobody has moved in is ordered anew at each news."""


class Table(Panel):
    """A list read in pages of 200. One line of headings, a cursor, a selection, a filter and a sort.

    While nobody has moved the cursor, new rows are taken in as they come. Afterwards the order stands still:
    values change in place, and the frame says that there is something new for ``r`` to take in.
    """

    BINDINGS = bindings("table")
    HEAD = 1

    marked: reactive[int] = reactive(-1)

    class Opened(Message):
        """Somebody pressed enter on a row."""

        def __init__(self, table: Table, row: list[Any]) -> None:
            super().__init__()
            self.table, self.row = table, row

        @property
        def control(self) -> Table:
            """The table it came from."""
            return self.table

    class Moved(Message):
        """Another row is under the cursor now."""

        def __init__(self, table: Table) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table:
            """The table it came from."""
            return self.table

    class Sorted(Message):
        """Somebody chose another order."""

        def __init__(self, table: Table) -> None:
            super().__init__()
            self.table = table

    class FilterAsked(Message):
        """Somebody wants to type a filter."""

        def __init__(self, table: Table) -> None:
            super().__init__()
            self.table = table

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
        self.source = source
        self.name_of_list = title
        self.filter, self.sort, self._first_sort = "", sort, sort
        self.columns: list[Column] = []
        self.total = 0
        self.cursor = 0
        self.selected: dict[str, list[Any]] = {}
        self._news: set[str] = set()
        self.opened = False
        self.whole = False
        self._view = ""
        self._pages = Pages()
        self._widths: list[int] = []
        self._wanted: list[int] = []
        self._touched = False
        self._strips: dict[int, tuple[tuple[Any, ...], list[Any], Strip]] = {}
        self._from = 0
        self._first_column = 1

    # What is shown

    @property
    def count(self) -> int:
        """How many rows the list has."""
        return self.total

    @property
    def current(self) -> list[Any] | None:
        """The row under the cursor, if it has been read."""
        return self._pages.row(self.cursor) if self.total else None

    @property
    def chosen(self) -> list[list[Any]]:
        """The selected rows, or the one under the cursor if none is selected."""
        return list(self.selected.values()) or ([self.current] if self.current else [])

    @property
    def live(self) -> bool:
        """Whether new rows are taken in by themselves: nobody has moved the cursor or selected anything."""
        return not self._touched and not self.selected

    def value(self, name: str, row: list[Any] | None = None) -> Any:
        """Return the value of a column by its name in a row, by default the one under the cursor."""
        row = row or self.current
        for column, value in zip(self.columns, row or [], strict=False):
            if column.name == name:
                return value
        return None

    def body(self, y: int, cells: int) -> Strip:
        """Draw the heading, or the row that is seen at that line."""
        if y == 0:
            return strip(self._heading(), self.ink, cells=cells)
        index = self.top + y - 1
        if index >= self.total:
            return strip(BLANK, self.ink, cells=cells)
        row = self._pages.row(index)
        if row is None:
            self._want(index // PAGE)
            return strip(line(("  ·", "faint")), self.ink, self._ground(index), cells)
        return self._row(index, row, cells)

    def _row(self, index: int, row: list[Any], cells: int) -> Strip:
        """Return a row's strip; scrolling by one line draws one row and takes the others from here."""
        ground, chosen, age = self._ground(index), row[0] in self.selected, int(time.monotonic() / _AGES_S)
        key = (ground, chosen, age, self.app.theme)
        kept = self._strips.get(index)
        if kept is not None and kept[0] == key and kept[1] is row:
            return kept[2]
        drawn = strip(self._spans(row, chosen), self.ink, ground, cells)
        if len(self._strips) > _DRAWN:
            self._strips.clear()
        self._strips[index] = (key, row, drawn)
        return drawn

    def _spans(self, row: list[Any], chosen: bool) -> Line:
        spans: list[Span] = [("● " if chosen else "  ", "accent")]
        if all(value is None for value in row[1:]):
            return (*spans, (f"{str(row[0])[-8:]} was deleted", "faint"))
        for i in self._shown():
            column = self.columns[i]
            spans += pad(cellar.cell(column, row[i], self.whole), self._widths[i], cellar.align(column))
            spans.append(("  ", "text"))
        return tuple((text, "faint") for text, _ in spans) if self.stale else tuple(spans[:-1])

    def _heading(self) -> Line:
        spans: list[Line] = [line("  ")]
        for i in self._shown():
            column = self.columns[i]
            marked = i == self.marked and self.has_focus
            head = cellar.heading(column, self._widths[i], self.sort, marked)
            spans += [pad(head, self._widths[i], cellar.align(column)), line("  ")]
        return line(*spans[:-1])

    def _shown(self) -> list[int]:
        """Return the columns that fit: the id where there is room, the name always, then the others."""
        cells = self.size.width - 4 - _GUTTER
        shown = [i for i in range(self._from, 2) if i < len(self.columns)]
        left = cells - sum(self._widths[i] + 2 for i in shown)
        for i in range(max(2, self._first_column), len(self.columns)):
            left -= self._widths[i]
            if left < 0:
                break
            shown.append(i)
            left -= 2
        return shown

    def pointer(self, y: int) -> Line:
        """Mark the row under the cursor."""
        here = self.has_focus and self.total > 0 and self.top + y - 1 == self.cursor and y > 0
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
        if not self.opened and not self.problem:
            return strip(line(("reading …", "faint")) if y == 0 else BLANK, self.ink, cells=cells)
        return super()._inside(y, cells)

    def _retitle(self) -> None:
        shown = f"{self.name_of_list} ({self.total:,})" if self.opened else self.name_of_list
        self.title = f"{shown}  /{self.filter}" if self.filter else shown
        parts = [
            f"{len(self.selected)} selected" if self.selected else "",
            f"{len(self._news)} news · r" if self._news else "",
        ]
        self.figure = line((" · ".join(part for part in parts if part), "accent"))

    # Reading

    async def reopen(self, keep: bool = False) -> None:
        """Open the list anew, with the filter and sort in force.

        Args:
            keep: leave the cursor on the line where it is; otherwise it goes to the first row.
        """
        if self.source is None:
            return
        self.figure = line(("↻ reading", "busy"))
        try:
            view = await self.source.open(self.filter, self.sort)
            pages = Pages()
            at = min(self.cursor, max(0, view.total - 1)) if keep else 0
            if view.total:
                pages.put(at // PAGE, await self.source.page(view.view, at // PAGE * PAGE, PAGE))
        except MlopsError as problem:
            self._retitle()
            self.show_problem(problem)
            return
        self.problem = None
        self.opened, self._view, self._pages = True, view.view, pages
        self.columns, self.total = view.columns, view.total
        self._news.clear()
        self.cursor, self._touched = at, keep and self._touched
        self.top = max(0, min(self.top if keep else 0, self.total - self.room[1]))
        self._wanted.clear()
        self._measure()
        self._retitle()
        self.refresh()
        self.post_message(self.Moved(self))

    def _open_anew(self, keep: bool = False) -> None:
        start(self, self.reopen, keep, group=f"open-{id(self)}", replace=True)

    async def news(self, objects: Iterable[str], all: bool = False) -> None:
        """Take in what the change feed says: everything while nobody has moved, else the rows that are seen.

        Args:
            objects: ids that something happened to; one that no page here holds may be a new row.
            all: anything may have happened, new rows too.
        """
        happened = frozenset(objects)
        anew = (happened or all) and self.live and self.total <= _SMALL
        if not self.opened or self.problem or anew:
            await self.reopen(keep=self._touched)
            return
        unknown = {one for one in happened if not self._pages.holds(one)}
        if unknown - self._news:
            self._news |= unknown
            self._retitle()
        await self.reread()

    async def reread(self) -> None:
        """Read the rows that are seen once more; their order stands, their values may have changed."""
        first, number = self.top, min(self.room[1], self.total - self.top)
        if self.source is None or number <= 0:
            return
        view = self._view
        try:
            rows = await self.source.page(view, first, number)
        except NotFound:
            await self.reopen(keep=True)
            return
        except MlopsError as problem:
            self.show_problem(problem)
            return
        if view == self._view:
            self.show_problem(None)
            changed = [index for index, row in enumerate(rows, first) if self._pages.patch(index, row)]
            widths = self._widths
            if changed:
                self._measure()
            if self._widths != widths:
                self.refresh()
            for index in changed:
                self._paint(index)

    def _want(self, number: int) -> None:
        if number not in self._wanted:
            self._wanted.append(number)
            if len(self._wanted) == 1:
                start(self, self._fetch, group=f"pages-{id(self)}")

    async def _fetch(self) -> None:
        while self._wanted:
            # The newest wish first: it is what is on the screen now.
            number = self._wanted[-1]
            await self._read(number)
            if number in self._wanted:
                self._wanted.remove(number)

    async def _read(self, number: int) -> None:
        view = self._view
        try:
            assert self.source is not None
            rows = await self.source.page(view, number * PAGE, PAGE)
        except NotFound:
            await self.reopen(keep=True)
            return
        except MlopsError as problem:
            self._wanted.clear()
            self.show_problem(problem)
            return
        if view == self._view:
            self._pages.put(number, rows)
            for index in range(number * PAGE, number * PAGE + len(rows)):
                self._paint(index)
            if number == self.cursor // PAGE:
                self.post_message(self.Moved(self))

    def watch_stale(self) -> None:
        """Draw every row in its other colour."""
        self._strips.clear()

    def _paint(self, index: int) -> None:
        if 0 <= index - self.top < self.room[1]:
            self.refresh_body(index - self.top + 1)

    def _measure(self) -> None:
        self._strips.clear()
        sample = [row for i in range(self.top, min(self.total, self.top + 60)) if (row := self._pages.row(i))]
        wide = cellar.measure(self.columns, sample, self.whole)
        cells = self.size.width - 4 - _GUTTER
        # An id that is a name or a number says something; the others give way in a narrow list.
        self._from = 1 if cells < 96 and sample and cellar.opaque(sample[0][0]) else 0
        keep = slice(self._from, None)
        self._widths = wide
        self._widths[keep] = cellar.fit(wide[keep], self.columns[keep], cells)
        if self.marked < 0 and self.columns:
            names = [column.name for column in self.columns]
            self.marked = (
                names.index(self.sort.lstrip("-")) if self.sort.lstrip("-") in names else min(1, len(names) - 1)
            )

    def on_resize(self) -> None:
        """Fit columns and window to the new size."""
        if self.opened:
            self._measure()
            self.top = max(0, min(self.top, self.total - self.room[1]))
            self._keep_in_sight()

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
            self._touched = False

    def action_aside(self, by: int) -> None:
        """Mark the column to the side, and bring it into sight."""
        if not self.columns:
            return
        self.marked = max(1, min(self.marked + by, len(self.columns) - 1))
        self._first_column = min(self._first_column, max(2, self.marked))
        while self.marked not in self._shown() and self._first_column < len(self.columns):
            self._first_column += 1
        self._strips.clear()
        self.refresh()

    def action_open(self) -> None:
        """Open the row under the cursor."""
        if self.current:
            self.post_message(self.Opened(self, self.current))

    def action_inspect(self) -> None:
        """Show values whole (ids, times to the second, every digit), or short again."""
        self.whole = not self.whole
        self._measure()
        self.refresh()

    def action_select(self) -> None:
        """Select the row or take it back, and go on to the next."""
        row = self.current
        if row is None:
            return
        if self.selected.pop(row[0], None) is None:
            self.selected[row[0]] = row
        self._touched = True
        self._retitle()
        self._paint(self.cursor)
        self._go(self.cursor + 1)

    def action_sort(self) -> None:
        """Sort by the marked column; again reverses."""
        if self.columns:
            name = self.columns[self.marked].name
            self.sort = name if self.sort == f"-{name}" else f"-{name}"
            self._open_anew()
            self.post_message(self.Sorted(self))

    def reset(self) -> None:
        """Go back to the order that the list began with, without a filter."""
        self.filter, self.sort, self.whole = "", self._first_sort, False
        self._open_anew()

    def action_filter(self) -> None:
        """Ask for a filter."""
        self.post_message(self.FilterAsked(self))

    def set_filter(self, text: str) -> None:
        """Filter the list; an empty text shows all of it."""
        self.filter = text.strip()
        self._retitle()
        self._open_anew()

    def renew(self) -> None:
        """Take in all news; the cursor stays on its line."""
        self._touched = False
        self._open_anew(keep=True)

    async def rows(self, offset: int, limit: int) -> list[list[Any]]:
        """Return rows in the order shown, for an export."""
        return await self.source.page(self._view, offset, limit) if self.source else []

    def copied(self) -> str:
        """Return what ``y`` copies: the marked column's value, whole."""
        row = self.current
        return cellar.exact(self.columns[self.marked], row[self.marked]) if row else ""

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; a second click opens."""
        index = self.top + event.y - 2
        if event.y >= 2 and index < self.total:
            self._go(index)
            if event.chain == 2:
                self.action_open()

    def _go(self, index: int) -> None:
        index = max(0, min(index, self.total - 1))
        before = self.cursor
        if index == before:
            return
        self.cursor, self._touched = index, True
        if not self._keep_in_sight():
            # Nothing scrolled: only the row that was left and the one that was entered are painted.
            self._paint(before)
            self._paint(index)
        self._look_ahead()
        self.post_message(self.Moved(self))

    def _look_ahead(self) -> None:
        """Read the page that two screens more would need, so that scrolling on finds it here."""
        for by in (2, -2):
            index = self.cursor + by * self.room[1]
            if 0 <= index < self.total and not self._pages.has(index):
                self._want(index // PAGE)

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
