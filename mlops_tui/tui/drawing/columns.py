"""The columns of a list: which are shown in what order, how wide each is, and which one is marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlops_tui.core.ids import opaque
from mlops_tui.tui.drawing import cells as cellar
from mlops_tui.tui.drawing.text import Line, Span, line, pad

if TYPE_CHECKING:
    from mlops_tui.contracts.listing import Column

GUTTER = 2
"""Cells left of the first column, for the mark of a selected row."""
_ROOM_FOR_IDS = 96
_FIXED = 2
"""Columns that always stand first: the id where there is room, and the name."""


class Columns:
    """Columns laid out for a width. Ids that only machines can tell apart give way in a narrow list.

    ``chosen`` names the columns that a person wants to see, in order; without it the list's own are shown.
    """

    def __init__(self) -> None:
        self.all: Sequence[Column] = ()
        self.chosen: tuple[str, ...] = ()
        self.marked = -1
        self.whole = False
        self._places: list[int] = []
        self._widths: list[int] = []
        self._cells = 0
        self._from = 0
        self._first = 0

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
        names = [column.name for column in columns]
        wanted = [names.index(name) for name in self.chosen if name in names[_FIXED:]]
        fixed = [i for i in range(_FIXED) if i < len(columns)]
        self._places = [*fixed, *(wanted or range(_FIXED, len(columns)))]
        self._widths = cellar.measure(columns, rows, self.whole)
        self._from = 1 if self._cells < _ROOM_FOR_IDS and rows and _says_nothing(rows[0]) else 0
        laid = self._places[self._from :]
        fitted = cellar.fit([self._widths[i] for i in laid], [columns[i] for i in laid], self._cells)
        for i, width in zip(laid, fitted, strict=True):
            self._widths[i] = width
        if self.marked not in self._places and columns:
            by = sort.lstrip("-")
            self.marked = names.index(by) if by in names else min(1, len(names) - 1)

    def seen(self) -> list[int]:
        """Return the columns that fit: the id where there is room, the name always, then the others."""
        shown = self._places[self._from : _FIXED]
        left = self._cells - sum(self._widths[i] + 2 for i in shown)
        for i in self._places[_FIXED + self._first :]:
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
        here = self._places.index(self.marked) if self.marked in self._places else 1
        there = max(1, min(here + by, len(self._places) - 1))
        self.marked = self._places[there]
        self._first = min(self._first, max(0, there - _FIXED))
        while self.marked not in self.seen() and self._first < len(self._places):
            self._first += 1

    def heading(self, sort: str, focused: bool) -> Line:
        """Return the line of headings, with the sort and the marked column."""
        spans: list[Line] = [line(" " * GUTTER)]
        for i in self.seen():
            column, width = self.all[i], self._widths[i]
            head = cellar.heading(column, width, sort, focused and i == self.marked)
            spans += [pad(head, width, cellar.align(column)), line("  ")]
        return line(*spans[:-1])

    def row(self, row: Sequence[Any], mark: str) -> Line:
        """Return a row as a line behind its mark; one that was deleted since says so."""
        spans: list[Span] = [(mark, "accent")]
        if all(value is None for value in row[1:]):
            return (*spans, (f"{str(row[0])[-8:] or 'a row'} was deleted", "faint"))
        for i in self.seen():
            column = self.all[i]
            spans += pad(cellar.cell(column, row[i], self.whole), self._widths[i], cellar.align(column))
            spans.append(("  ", "text"))
        return tuple(spans[:-1])


def _says_nothing(row: Sequence[Any]) -> bool:
    """Tell whether a row's id is for machines alone, or the name once more."""
    again = isinstance(row[0], str) and bool(row[1]) and str(row[1]) in row[0]
    return opaque(str(row[0])[:36]) or again
