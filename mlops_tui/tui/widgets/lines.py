"""A panel of prepared lines, some of which lead somewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from textual import events
from textual.message import Message
from textual.strip import Strip

from mlops_tui.tui.drawing.text import BLANK, Line, line, plain, strip
from mlops_tui.tui.widgets.panel import Panel


class Row(NamedTuple):
    """A line, where ``enter`` on it leads (a deep link), if anywhere, and the whole value that it tells of."""

    line: Line
    link: str = ""
    value: str = ""


Rows = Iterable[Row | Line]
"""What a panel of lines shows; a line that leads nowhere need not be made a row."""


class Lines(Panel):
    """A panel whose inside is a tuple of rows. Only rows that differ from what is shown are painted."""

    class Opened(Message):
        """Somebody pressed enter on a row that leads somewhere."""

        def __init__(self, panel: Lines, link: str) -> None:
            super().__init__()
            self.panel, self.link = panel, link

        @property
        def control(self) -> Lines:
            """The panel it came from."""
            return self.panel

    def __init__(self, title: str = "", hints: str = "", *, empty: str = "", ident: str | None = None) -> None:
        super().__init__(title, hints, empty=empty, ident=ident)
        self.rows: tuple[Row, ...] = ()
        self.told = False
        self.cursor = 0
        self.sought = False
        self._write: Callable[[int], Rows] | None = None

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if self.rows else None

    @property
    def unread(self) -> bool:
        """Whether nothing has been shown yet."""
        return not self.told

    @property
    def leads(self) -> bool:
        """Whether any row leads somewhere or has a value to take along, so that there is a cursor at all."""
        return any(row.link or row.value for row in self.rows)

    def show(self, told: Rows | Callable[[int], Rows]) -> None:
        """Show rows; what is already there is not painted again.

        Args:
            told: the rows, or what writes them for a width in cells. Whatever is laid out for a width is given as
                its writer, for it is written anew when the panel gets another one; a panel that is not seen has none.
        """
        self._write = told if callable(told) else None
        if not callable(told):
            self._put(told)
        elif self.room[0]:
            self._put(told(self.room[0]))

    def on_resize(self) -> None:
        """Write the rows for the new width."""
        if self._write is not None and self.room[0]:
            self._put(self._write(self.room[0]))

    def _put(self, rows: Rows) -> None:
        first, self.told = not self.told, True
        new = tuple(row if isinstance(row, Row) else Row(row) for row in rows)
        if new == self.rows and not first and self.problem is None:
            return
        self.rows, self.problem = new, None
        self.cursor = min(self.cursor, max(0, len(new) - 1))
        self.top = max(0, min(self.top, len(new) - self.room[1]))
        self.refresh()

    def body(self, y: int, cells: int) -> Strip:
        """Draw one row; the one under the cursor stands on raised ground while the panel has the focus."""
        index = self.top + y
        if index >= len(self.rows):
            return strip(BLANK, self.ink, cells=cells)
        row = self.rows[index].line
        if self.stale:
            row = line((plain(row), "faint"))
        ground = "cursor" if self.has_focus and self.leads and index == self.cursor else "surface"
        return strip(row, self.ink, ground, cells)

    def pointer(self, y: int) -> Line:
        """Mark the row under the cursor."""
        here = self.has_focus and (self.leads or self.sought) and self.top + y == self.cursor
        return line(("▸", "accent")) if here else super().pointer(y)

    def reach(self, index: int) -> None:
        """Put the cursor on a row and bring it into sight, also where rows lead nowhere."""
        self.sought = True
        self._go(index)
        self.refresh_body(index - self.top)

    def copied(self) -> str:
        """Return what ``y`` copies here: the row's value, whole, or its text."""
        return (self.current.value or plain(self.current.line).strip()) if self.current else ""

    def action_inspect(self) -> None:
        """Show the value of the row whole."""
        if self.current and self.current.value:
            from mlops_tui.tui.widgets.whole import Whole

            self.app.push_screen(Whole(self.title, self.current.value))

    def action_move(self, by: int) -> None:
        """Move the cursor, or what is seen where there is no cursor."""
        if not self.leads:
            self.scroll_rows(by)
            return
        self._go(max(0, min(self.cursor + by, self.count - 1)))

    def action_page(self, by: int) -> None:
        """Move by what fits in the panel."""
        self.action_move(by * max(1, self.room[1] - 1))

    def action_edge(self, by: int) -> None:
        """Go to the first or last row."""
        self.action_move(by * max(1, self.count))

    def action_open(self) -> None:
        """Follow the row's link."""
        if self.current and self.current.link:
            self.post_message(self.Opened(self, self.current.link))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; a second click follows the link."""
        index = self.top + event.y - 1
        if 0 <= index < self.count:
            self._go(index)
            if event.chain == 2:
                self.action_open()

    def _go(self, index: int) -> None:
        before, self.cursor = self.cursor, index
        height = self.room[1]
        top = min(self.top, index) if index < self.top else max(self.top, index - height + 1)
        if top != self.top:
            self.top = top
            self.refresh()
        elif before != index:
            self.refresh_body(before - top)
            self.refresh_body(index - top)


def texts(rows: Sequence[Row]) -> list[str]:
    """Return the rows' texts, for tests and exports."""
    return [plain(row.line) for row in rows]
