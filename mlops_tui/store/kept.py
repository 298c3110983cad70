"""What was answered before and cannot have changed since: rows that were found, and texts of objects.

Each transaction notes what was committed before it began. What it finds is kept with that note, so that nothing is ever
told that is older than the last commit that was acknowledged.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from mlops_tui.store.search.hot import Changes

if TYPE_CHECKING:
    from mlops_tui.store.session import Params, Session

QUESTIONS, ROWS = 64, 2_000
"""Questions whose answers are kept, and rows that the answer to one may have."""
OBJECT_TABLES = ("run", "series", "param", "tag", "run_data", "run_model")
"""Tables of which a row belongs to one object."""
SHARED_TABLES = ("experiment",)
"""Tables of which a row belongs to many."""

Texts = dict[str, bytes]


class Kept:
    """What is kept of a store; safe to use from any thread."""

    def __init__(self, changes: Changes, memory_mb: int) -> None:
        self.changes = changes
        self._guard = threading.Lock()
        self._most = memory_mb * 30_000
        self._answers: OrderedDict[tuple[str, bytes], tuple[int, list[tuple[Any, ...]]]] = OrderedDict()
        self._texts: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._at: dict[str, int] = {}

    def begin(self) -> Sight:
        """Return what a transaction sees that begins after this."""
        return Sight(self, *self.changes.now())

    def rows(self, session: Session, commits: int, sql: str, params: Params) -> list[tuple[Any, ...]]:
        """Return the rows of a question; see :meth:`Sight.rows`."""
        key = sql, msgspec.msgpack.encode(params)
        with self._guard:
            at, rows = self._answers.get(key, (-1, []))
            if at == commits:
                self._answers.move_to_end(key)
                return rows
        rows = session.rows(sql, params)
        if len(rows) <= ROWS:
            with self._guard:
                self._answers[key] = commits, rows
                while len(self._answers) > QUESTIONS:
                    self._answers.popitem(last=False)
        return rows

    def texts(self, seen: dict[str, int], objects: Sequence[str], make: Callable[[list[str]], Texts]) -> Texts:
        """Return a text for each object; see :meth:`Sight.texts`."""
        with self._guard:
            self._forget_touched()
            found = {one: self._texts[one] for one in objects if one in self._texts}
            for one in found:
                self._texts.move_to_end(one)
        if missing := [one for one in objects if one not in found]:
            found |= (made := make(missing))
            with self._guard:
                self._keep(made, self._touched(seen))
        return found

    def _keep(self, made: Texts, touched: set[str] | None) -> None:
        for one, text in made.items() if touched is not None else ():
            if touched is not None and one not in touched and one not in self._texts:
                self._texts[one] = text
                self._size += len(text)
        while self._size > self._most:
            self._size -= len(self._texts.popitem(last=False)[1])

    def _forget_touched(self) -> None:
        now, touched = self.changes.now()[1], self._touched(self._at)
        for one in list(self._texts) if touched is None else touched:
            self._size -= len(self._texts.pop(one, b""))
        self._at = now

    def _touched(self, since: dict[str, int]) -> set[str] | None:
        """Return the objects of which something was changed; None when it may be any."""
        touched: set[str] = set()
        for table in (*OBJECT_TABLES, *SHARED_TABLES):
            owners = self.changes.since(table, since.get(table, 0))
            if owners is None or (owners and table in SHARED_TABLES):
                return None
            touched |= owners
        return touched


@dataclass(frozen=True)
class Sight:
    """What one transaction may take from what is kept: ``commits`` and ``seen`` tell what it sees at least."""

    kept: Kept
    commits: int
    seen: dict[str, int]

    def rows(self, session: Session, sql: str, params: Params) -> list[tuple[Any, ...]]:
        """Return the rows of a question, without asking it again when nothing was committed since it was asked.

        It must depend on nothing but the store, so not on the time, and its rows must not be changed.
        """
        return self.kept.rows(session, self.commits, sql, params)

    def texts(self, objects: Sequence[str], make: Callable[[list[str]], Texts]) -> Texts:
        """Return a text for each object that has one, without making it again unless a row of it was touched.

        Args:
            objects: runs.
            make: returns the texts of those objects of which none is kept, in this transaction.
        """
        return self.kept.texts(self.seen, objects, make)
