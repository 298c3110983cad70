"""The columns of a list: how wide each is, which are seen, and which one is marked for sorting and copying."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlops_tui.core.ids import opaque
from mlops_tui.tui import cells as cellar
from mlops_tui.tui.text import Line, Span, line, pad

if TYPE_CHECKING:
    from mlops_tui.contracts.listing import Column

GUTTER = 2
"""Cells left of the first column, for the mark of a selected row."""
_ROOM_FOR_IDS = 96


class Columns:
    """Columns laid out for a width. Ids that only machines can tell apart give way in a narrow list.

    The first column is the id, the second the name; both stay when the others are moved aside.
    """

    def __init__(self) -> None:
        self.all: Sequence[Column] = ()
        self.marked = -1
        self.whole = False
        self._widths: list[int] = []
        self._cells = 0
        self._from = 0
        self._first = 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Cells of each column, seen or not."""
        return tuple(self._widths)

    def fit(self, columns: Sequence[Column], rows: Sequence[Sequence[Any]], cells: int, sort: str = "") -> None:
        """Lay columns out in ``cells``, as some of their rows want it.

        Args:
            columns: of the list.
            rows: those that are seen.
            cells: inside the panel.
            sort: the order in force; its column is marked at first.
        """
        self.all, self._cells = columns, cells - GUTTER
        wide = cellar.measure(columns, rows, self.whole)
        self._from = 1 if self._cells < _ROOM_FOR_IDS and rows and _says_nothing(rows[0]) else 0
        keep = slice(self._from, None)
        self._widths = wide
        self._widths[keep] = cellar.fit(wide[keep], columns[keep], self._cells)
        if self.marked < 0 and columns:
            names = [column.name for column in columns]
            self.marked = names.index(sort.lstrip("-")) if sort.lstrip("-") in names else min(1, len(names) - 1)

    def seen(self) -> list[int]:
        """Return the columns that fit: the id where there is room, the name always, then the others."""
        shown = [i for i in range(self._from, 2) if i < len(self.all)]
        left = self._cells - sum(self._widths[i] + 2 for i in shown)
        for i in range(max(2, self._first), len(self.all)):
            left -= self._widths[i]
            if left < 0:
                break
            shown.append(i)
            left -= 2
        return shown

    def mark(self, by: int) -> None:
        """Mark the column to the side, and bring it into sight."""
        if not self.all:
            return
        self.marked = max(1, min(self.marked + by, len(self.all) - 1))
        self._first = min(self._first, max(2, self.marked))
        while self.marked not in self.seen() and self._first < len(self.all):
            self._first += 1

    def heading(self, sort: str, focused: bool) -> Line:
        """Return the line of headings, with the sort and the marked column."""
        spans: list[Line] = [line(" " * GUTTER)]
        for i in self.seen():
            column, width = self.all[i], self._widths[i]
            head = cellar.heading(column, width, sort, focused and i == self.marked)
            spans += [pad(head, width, cellar.align(column)), line("  ")]
        return line(*spans[:-1])

    def row(self, row: Sequence[Any], selected: bool) -> Line:
        """Return a row as a line; one that was deleted since says so."""
        spans: list[Span] = [("● " if selected else "  ", "accent")]
        if all(value is None for value in row[1:]):
            return (*spans, (f"{str(row[0])[-8:]} was deleted", "faint"))
        for i in self.seen():
            column = self.all[i]
            spans += pad(cellar.cell(column, row[i], self.whole), self._widths[i], cellar.align(column))
            spans.append(("  ", "text"))
        return tuple(spans[:-1])


def _says_nothing(row: Sequence[Any]) -> bool:
    """Tell whether a row's id is for machines alone, or the name once more."""
    return opaque(str(row[0])[:36]) or (isinstance(row[0], str) and str(row[1]) in row[0])
