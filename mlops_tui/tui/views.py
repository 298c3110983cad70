"""Where lists come from: a view held by the agent, read in pages, of which the newest are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mlops_tui.tui.door import Door

if TYPE_CHECKING:
    from mlops_tui.contracts.listing import Column, View

PAGE = 200
KEPT = 32


class Source(Protocol):
    """Anything a table can show: opened with a filter and a sort, then read in pages."""

    async def open(self, filter: str, sort: str) -> View:
        """Hold the list in that order and say how long it is."""
        ...

    async def page(self, view: str, offset: int, limit: int) -> list[list[Any]]:
        """Return rows ``offset`` to ``offset + limit`` of a held list."""
        ...


class ViewSource:
    """The list of one noun, through the agent's door."""

    def __init__(self, door: Door, noun: str, always: str = "") -> None:
        self._door, self._noun, self.always = door, noun, always

    async def open(self, filter: str, sort: str) -> View:
        """Open the view; ``always`` is a condition of the screen that the person's filter adds to."""
        both = " ".join(part for part in (self.always, filter) if part)
        view: View = await self._door.call("view.open", {"noun": self._noun, "filter": both, "sort": sort})
        return view

    async def page(self, view: str, offset: int, limit: int) -> list[list[Any]]:
        """Read a page of the view."""
        page = await self._door.call("view.page", {"view": view, "offset": offset, "limit": limit})
        rows: list[list[Any]] = page.rows
        return rows


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


def position(columns: Sequence[Column], *names: str) -> int:
    """Return where the first of ``names`` that exists stands among the columns, or 0 (the id)."""
    for name in names:
        for index, column in enumerate(columns):
            if column.name == name:
                return index
    return 0
