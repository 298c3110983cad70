"""What was answered before and cannot have changed since: rows that were found, and texts of objects.

Each transaction notes what was committed before it began. What it finds is kept with that note, so that nothing is ever
told that is older than the last commit that was acknowledged.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from mlops_tui.store.search.changes import Changes

if TYPE_CHECKING:
    from mlops_tui.store.session import Params, Session

QUESTIONS, ROWS = 64, 50_000
"""Questions whose answers are kept, and rows that all these answers have."""
BYTES_A_MB = 20_000
"""Bytes of texts of one kind that are kept for each MB that the database may use."""


class Kind(NamedTuple):
    """What texts of one kind are made of: tables whose rows belong to one object each, and tables that many share."""

    own: tuple[str, ...]
    shared: tuple[str, ...]


KINDS = {
    "run": Kind(("run", "series", "param", "tag", "run_data", "run_model"), ("experiment",)),
    "model_version": Kind(("model_version", "tag"), ("model", "alias_event")),
}
Found = dict[str, bytes]
Make = Callable[[list[str]], Found]


class Answers:
    """Rows of questions, each kept until something is committed; safe to use from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: OrderedDict[tuple[str, bytes], tuple[int, list[tuple[Any, ...]]]] = OrderedDict()
        self._rows = 0

    def of(self, session: Session, commits: int, sql: str, params: Params) -> list[tuple[Any, ...]]:
        """Return the rows of a question; see :meth:`Sight.rows`."""
        key = sql, msgspec.msgpack.encode(params)
        with self._guard:
            at, rows = self._kept.get(key, (-1, []))
            if at == commits:
                self._kept.move_to_end(key)
                return rows
        rows = session.rows(sql, params)
        with self._guard:
            self._rows += len(rows) - len(self._kept.pop(key, (-1, []))[1])
            self._kept[key] = commits, rows
            while self._rows > ROWS or len(self._kept) > QUESTIONS:
                self._rows -= len(self._kept.popitem(last=False)[1][1])
        return rows


class Texts:
    """A text each of many objects of a kind, kept until a row of it is touched; safe to use from any thread."""

    def __init__(self, changes: Changes, kind: Kind, most_bytes: int) -> None:
        self._changes, self._kind, self._most = changes, kind, most_bytes
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._at: dict[str, int] = {}

    def of(self, seen: dict[str, int], objects: Sequence[str], make: Make) -> Found:
        """Return the texts of objects; see :meth:`Sight.texts`."""
        with self._guard:
            self._forget_touched()
            found = {one: self._kept[one] for one in objects if one in self._kept}
            for one in found:
                self._kept.move_to_end(one)
        if missing := [one for one in objects if one not in found]:
            found |= (made := make(missing))
            with self._guard:
                self._keep(made, self._touched(seen))
        return found

    def _keep(self, made: Found, touched: set[str] | None) -> None:
        for one, text in made.items() if touched is not None else ():
            if touched is not None and one not in touched and one not in self._kept:
                self._kept[one] = text
                self._size += len(text)
        while self._size > self._most:
            self._size -= len(self._kept.popitem(last=False)[1])

    def _forget_touched(self) -> None:
        now, touched = self._changes.now()[1], self._touched(self._at)
        for one in list(self._kept) if touched is None else touched:
            self._size -= len(self._kept.pop(one, b""))
        self._at = now

    def _touched(self, since: dict[str, int]) -> set[str] | None:
        """Return the objects of which something was changed; None when it may be any."""
        touched: set[str] = set()
        for table in (*self._kind.own, *self._kind.shared):
            owners = self._changes.since(table, since.get(table, 0))
            if owners is None or (owners and table in self._kind.shared):
                return None
            touched |= owners
        return touched


class Kept:
    """All that is kept of a store."""

    def __init__(self, changes: Changes, memory_mb: int) -> None:
        self._changes = changes
        self.answers = Answers()
        self.texts = {name: Texts(changes, kind, memory_mb * BYTES_A_MB) for name, kind in KINDS.items()}

    def begin(self) -> Sight:
        """Return what a transaction sees that begins after this."""
        return Sight(self, *self._changes.now())


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
        return self.kept.answers.of(session, self.commits, sql, params)

    def texts(self, kind: str, objects: Sequence[str], make: Make) -> Found:
        """Return a text for each object that has one, without making it again unless a row of it was touched.

        Args:
            kind: of :data:`KINDS`.
            objects: their ids.
            make: returns the texts of those objects of which none is kept, in this transaction.
        """
        return self.kept.texts[kind].of(self.seen, objects, make)
