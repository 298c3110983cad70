"""Where lists come from: a view held by the agent, read in pages, of which the newest are kept."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mlops_tui.tui.news.door import Door

if TYPE_CHECKING:
    from mlops_tui.contracts.listing import View

PAGE = 200
KEPT = 32


class Source(Protocol):
    """Anything a table can show: opened with a filter and a sort, then read in pages."""

    async def open(self, filter: str, sort: str, columns: Sequence[str] = ()) -> View:
        """Hold the list in that order and say how long it is; ``columns`` are wanted beside its own."""
        ...

    async def page(self, view: str, offset: int, limit: int) -> list[list[Any]]:
        """Return rows ``offset`` to ``offset + limit`` of a held list."""
        ...

    async def one(self, identifier: str, columns: Sequence[str] = ()) -> list[Any] | None:
        """Return the row of one object, whatever is filtered; None if it is not in the list."""
        ...


_PLAIN = re.compile(r"-?[\w./-]*")


def quoted(name: str) -> str:
    """Return a column's name as the agent reads it in an order: what is no plain word stands in back quotes."""
    if _PLAIN.fullmatch(name):
        return name
    sign, plain = ("-", name[1:]) if name.startswith("-") else ("", name)
    scope, dot, key = plain.partition(".")
    return f"{sign}{scope}{dot}`{key}`" if dot else f"{sign}`{plain}`"


class ViewSource:
    """The list of one noun, through the agent's door."""

    def __init__(self, door: Door, noun: str, always: str = "") -> None:
        self._door, self._noun, self.always = door, noun, always

    async def open(self, filter: str, sort: str, columns: Sequence[str] = ()) -> View:
        """Open the view; ``always`` is a condition of the screen that the person's filter adds to."""
        ask = {
            "noun": self._noun,
            "filter": filter,
            "sort": quoted(sort),
            "within": self.always,
            "columns": [quoted(name) for name in columns],
        }
        view: View = await self._door.call("view.open", ask)
        return view

    async def page(self, view: str, offset: int, limit: int) -> list[list[Any]]:
        """Read a page of the view."""
        page = await self._door.call("view.page", {"view": view, "offset": offset, "limit": limit})
        rows: list[list[Any]] = page.rows
        return rows

    async def one(self, identifier: str, columns: Sequence[str] = ()) -> list[Any] | None:
        """Read the row of one object."""
        within = f" ({self.always})" if self.always else ""
        ask = {"filter": f'id:"{identifier}"{within}', "columns": [quoted(name) for name in columns], "limit": 1}
        rows: list[list[Any]] = (await self._door.call(f"{self._noun}.list", ask)).rows
        return rows[0] if rows else None


class Pages:
    """The pages of one view that were read last; a million rows never lie here."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, list[list[Any]]] = OrderedDict()

    def row(self, index: int) -> list[Any] | None:
        """Return a row, or None if its page is not here."""
        rows = self._kept.get(index // PAGE)
        if rows is None:
            return None
        self._kept.move_to_end(index // PAGE)
        return rows[index % PAGE] if index % PAGE < len(rows) else None

    def put(self, number: int, rows: list[list[Any]]) -> None:
        """Keep a page; the one that was not seen for longest goes."""
        self._kept[number] = rows
        self._kept.move_to_end(number)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def patch(self, index: int, row: list[Any]) -> bool:
        """Replace one row where its page is here; tell whether that changed anything."""
        rows = self._kept.get(index // PAGE)
        if rows is None or index % PAGE >= len(rows) or rows[index % PAGE] == row:
            return False
        rows[index % PAGE] = row
        return True

    def has(self, index: int) -> bool:
        """Tell whether the page of a row is here."""
        return index // PAGE in self._kept

    def holds(self, identifier: str) -> bool:
        """Tell whether an object's row is in one of the pages that are here."""
        return any(row[0] == identifier for rows in self._kept.values() for row in rows)

    def __len__(self) -> int:
        return len(self._kept)


class Window:
    """One opened view of a list: its length, its columns, and those of its pages that were read last.

    Opening the list anew makes another window, so that an answer that comes late falls into the one it was for.
    """

    def __init__(self, source: Source, view: View) -> None:
        self._source, self._view = source, view.view
        self.total, self.columns = view.total, view.columns
        self.pages = Pages()
        self._wanted: list[int] = []

    @classmethod
    async def open(cls, source: Source, filter: str, sort: str, at: int = 0, columns: Sequence[str] = ()) -> Window:
        """Open a list and read the page that row ``at`` lies on.

        Raises:
            MlopsError: the filter is malformed, or the agent doesn't answer.
        """
        window = cls(source, await source.open(filter, sort, columns))
        if window.total:
            await window._read(min(at, window.total - 1) // PAGE)
        return window

    def want(self, index: int) -> bool:
        """Wish for the page of a row; tell whether somebody must :meth:`fetch` now."""
        number = index // PAGE
        if self.pages.has(index) or number in self._wanted:
            return False
        self._wanted.append(number)
        return len(self._wanted) == 1

    async def fetch(self, arrived: Callable[[int], None]) -> None:
        """Read the wished-for pages, the newest wish first: it is what is on the screen now.

        Raises:
            NotFound: the agent holds the view no longer.
            MlopsError: the agent doesn't answer; the wishes are forgotten.
        """
        try:
            while self._wanted:
                number = self._wanted[-1]
                await self._read(number)
                if number in self._wanted:
                    self._wanted.remove(number)
                arrived(number)
        finally:
            self._wanted.clear()

    async def reread(self, first: int, number: int) -> list[int]:
        """Read rows once more in the order that stands; return the places of those that changed."""
        rows = await self.rows(first, number)
        return [index for index, row in enumerate(rows, first) if self.pages.patch(index, row)]

    async def rows(self, offset: int, limit: int) -> list[list[Any]]:
        """Return rows, read now."""
        return await self._source.page(self._view, offset, limit)

    async def _read(self, number: int) -> None:
        self.pages.put(number, await self.rows(number * PAGE, PAGE))
