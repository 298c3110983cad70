"""Which column of the counters belongs to which revision."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mlops_tui.serving.deployment import Revision
from mlops_tui.serving.record.counters import COLUMNS, Counters

Column = tuple[int, str, str]
UNREAD: Column = (0, "", "none")
"""Requests that nobody could read belong to no revision."""


class Columns:
    """Gives each revision a column, the oldest unused one again when all are taken.

    Args:
        counters: the deployment's; a column is cleared before it changes hands.
        known: (column, revision id, label), oldest first, as they were kept.
    """

    def __init__(self, counters: Counters, known: Iterable[Column]) -> None:
        self._counters = counters
        self._known = {ident: (column, label) for column, ident, label in known if ident and 0 < column < COLUMNS}

    def take_in(self, revisions: Iterable[Revision], in_use: Collection[str]) -> None:
        """Give new revisions a column each.

        Args:
            revisions: those of a new route set.
            in_use: ids of revisions whose columns must not be given away.
        """
        wanted = {revision.id: revision.label for revision in revisions}
        for ident, label in wanted.items():
            column = self._known[ident][0] if ident in self._known else self._free({*wanted, *in_use})
            self._known[ident] = (column, label)

    def _free(self, kept: Collection[str]) -> int:
        free = set(range(1, COLUMNS)) - {column for column, _ in self._known.values()}
        if not free:
            oldest = next((ident for ident in self._known if ident not in kept), None)
            if oldest is None:
                return 0
            free = {self._known.pop(oldest)[0]}
        column = min(free)
        self._counters.clear(column)
        return column

    def listed(self) -> list[Column]:
        """Return (column, revision id, label) of all, column 0 first."""
        return [UNREAD, *((column, ident, label) for ident, (column, label) in self._known.items())]
