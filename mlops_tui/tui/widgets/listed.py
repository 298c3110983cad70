"""A list as it is read: its pages, its filter and order, and how news comes in. Drawing it is the table's business."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from textual.message import Message

from mlops_tui.core.errors import BadInput, MlopsError, NotFound
from mlops_tui.tui.drawing.text import line
from mlops_tui.tui.news.views import PAGE, Source, Window
from mlops_tui.tui.widgets.panel import Panel
from mlops_tui.tui.work import start

if TYPE_CHECKING:
    from mlops_tui.contracts.listing import Column

_SMALL = 20_000
"""Rows up to which a list that nobody has moved in is ordered anew at each news."""


class Said(Message):
    """Something that a list says; handlers are chosen by its id."""

    def __init__(self, table: Listed) -> None:
        super().__init__()
        self.table = table

    @property
    def control(self) -> Listed:
        """The list that it came from."""
        return self.table


class Listed(Panel):
    """A list read in pages of 200, with a cursor and a selection.

    While nobody has moved the cursor, new rows are taken in as they come. Afterwards the order stands still:
    values change in place, and the frame says that there is something new for ``r`` to take in.
    """

    class Moved(Said, namespace="table"):
        """Another row is under the cursor now; where it came there by itself and not by a key, it rests."""

        def __init__(self, table: Listed, rests: bool = False) -> None:
            super().__init__(table)
            self.rests = rests

    def __init__(self, title: str = "", hints: str = "", *, empty: str = "", ident: str | None = None) -> None:
        super().__init__(title, hints, empty=empty, ident=ident)
        self.name_of_list = title
        self.source: Source | None = None
        self.filter = self.sort = ""
        self.window: Window | None = None
        self.cursor = 0
        self.selected: dict[str, list[Any]] = {}
        self._suggested = (hints, hints)
        self.pinned = ""
        self.pinned_row: list[Any] | None = None
        self.touched = False
        self._news: set[str] = set()
        self._openings = 0

    @property
    def unread(self) -> bool:
        """Whether the list has not been read."""
        return not self.opened

    @property
    def opened(self) -> bool:
        """Whether the list has been read."""
        return self.window is not None

    @property
    def total(self) -> int:
        """How many rows the list has."""
        return self.window.total if self.window else 0

    @property
    def count(self) -> int:
        """How many rows the list has."""
        return self.total

    @property
    def columns(self) -> Sequence[Column]:
        """The list's columns; none before it has been read."""
        return self.window.columns if self.window else ()

    @property
    def current(self) -> list[Any] | None:
        """The row under the cursor, if it has been read."""
        return self.row(self.cursor)

    @property
    def chosen(self) -> list[list[Any]]:
        """The selected rows, or the one under the cursor if none is selected."""
        return list(self.selected.values()) or ([self.current] if self.current else [])

    @property
    def live(self) -> bool:
        """Whether new rows are taken in by themselves: nobody has moved the cursor or selected anything."""
        return not self.touched and not self.selected

    def row(self, index: int) -> list[Any] | None:
        """Return a row if its page is here."""
        return self.window.pages.row(index) if self.window and 0 <= index < self.total else None

    def value(self, name: str, row: list[Any] | None = None) -> Any:
        """Return the value of a column by its name in a row, by default the one under the cursor."""
        row = row or self.current
        for column, value in zip(self.columns, row or [], strict=False):
            if column.name == name:
                return value
        return None

    @property
    def wanted_columns(self) -> Sequence[str]:
        """The names of the columns that are wanted, some of which the list may not have by itself."""
        return ()

    def measure(self) -> None:
        """Lay the list out anew: other rows are seen, or the room is another."""

    def paint(self, index: int) -> None:
        """Paint one row again, if it is seen."""

    def suggest(self, hints: str, many: str = "") -> None:
        """Say which keys do something here, and which while rows are selected (by default the same)."""
        self._suggested = (hints, many or hints)
        self.retitle()

    def retitle(self) -> None:
        """Write length, filter, selection and news into the frame."""
        self.hints = self._suggested[bool(self.selected)]
        shown = f"{self.name_of_list} ({self.total:,})" if self.opened else self.name_of_list
        self.title = f"{shown}  /{self.filter}" if self.filter else shown
        parts = [
            f"{len(self.selected)} selected" if self.selected else "",
            f"{len(self._news)} news · r" if self._news else "",
        ]
        self.figure = line((" · ".join(part for part in parts if part), "accent"))

    # Reading

    async def reopen(self, keep: bool = False) -> None:
        """Open the list anew, with the filter and sort in force. Of several openings the one begun last counts.

        Args:
            keep: leave the cursor on the line where it is; otherwise it goes to the first row.
        """
        if self.source is None:
            return
        self.figure = line(("↻ reading", "busy"))
        self._openings = mine = self._openings + 1
        try:
            window = await Window.open(
                self.source, self.filter, self.sort, self.cursor if keep else 0, self.wanted_columns
            )
        except MlopsError as problem:
            if mine == self._openings:
                self.retitle()
                self.show_problem(problem)
            return
        if mine != self._openings:  # its filter may be another by now
            return
        self.problem, self.window = None, window
        await self._read_pinned()
        self._news.clear()
        self.cursor = max(0, min(self.cursor, self.total - 1)) if keep else 0
        self.touched = keep and self.touched
        self.top = max(0, min(self.top if keep else 0, self.total - self.room[1]))
        self.measure()
        self.retitle()
        self.refresh()
        self.post_message(self.Moved(self, rests=True))

    def open_anew(self, keep: bool = False) -> None:
        """Open the list anew beside the screen; an opening that is under way is given up."""
        start(self, self.reopen, keep, group=f"open-{id(self)}", replace=True)

    async def news(self, objects: Iterable[str], all: bool = False) -> None:
        """Take in what the change feed says: everything while nobody has moved, else the rows that are seen.

        Args:
            objects: ids that something happened to; one that no page here holds may be a new row.
            all: anything may have happened, new rows too.
        """
        happened = frozenset(objects)
        anew = (happened or all) and self.live and self.total <= _SMALL
        if self.window is None or self.problem or anew:
            await self.reopen(keep=True)
            return
        unknown = {one for one in happened if not self.window.pages.holds(one)}
        if unknown - self._news:
            self._news |= unknown
            self.retitle()
        await self.reread()

    async def reread(self) -> None:
        """Read the rows that are seen once more; their order stands, their values may have changed."""
        window, number = self.window, min(self.room[1], self.total - self.top)
        if window is None or number <= 0:
            return
        try:
            changed = await window.reread(self.top, number)
        except MlopsError as problem:
            await self._failed(window, problem)
            return
        if window is not self.window:
            return
        self.show_problem(None)
        await self._read_pinned()
        if changed:
            self.measure()
        for index in changed:
            self.paint(index)

    async def _read_pinned(self) -> None:
        """Read the pinned row; one that is not in this list, or that cannot be read, has no place on top."""
        before = self.pinned_row
        if self.pinned and self.source is not None:
            try:
                self.pinned_row = await self.source.one(self.pinned, self.wanted_columns)
            except MlopsError:
                self.pinned_row = None
        if self.pinned_row != before:
            self.refresh()

    def want(self, index: int) -> None:
        """Wish for the page that a row lies on."""
        if self.window and self.window.want(index):
            start(self, self._fetch, self.window, group=f"pages-{id(self)}")

    async def _fetch(self, window: Window) -> None:
        def arrived(number: int) -> None:
            if window is self.window:
                for index in range(number * PAGE, (number + 1) * PAGE):
                    self.paint(index)
                if number == self.cursor // PAGE:
                    self.post_message(self.Moved(self))

        try:
            await window.fetch(arrived)
        except MlopsError as problem:
            await self._failed(window, problem)

    async def _failed(self, window: Window, problem: MlopsError) -> None:
        """Open the list anew where the agent has let go of it; else say what is wrong. An older window says nothing."""
        if window is not self.window:
            return
        if isinstance(problem, NotFound):
            await self.reopen(keep=True)
        else:
            self.show_problem(problem)

    def set_filter(self, text: str) -> None:
        """Filter the list; an empty text shows all of it."""
        self.filter = text.strip()
        self.retitle()
        self.open_anew()

    async def try_filter(self, text: str) -> BadInput | None:
        """Filter the list; where the text cannot be read, the list stays as it was and the reason is returned."""
        before, self.filter = self.filter, text.strip()
        await self.reopen()
        problem = self.problem
        if not isinstance(problem, BadInput):
            return None
        self.filter = before
        self.show_problem(None)
        self.retitle()
        return problem

    def renew(self) -> None:
        """Take in all news; the cursor stays on its line."""
        self.touched = False
        self.open_anew(keep=True)

    async def rows(self, offset: int, limit: int) -> list[list[Any]]:
        """Return rows in the order shown, for an export."""
        return await self.window.rows(offset, limit) if self.window else []
