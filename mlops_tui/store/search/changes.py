"""Whose rows were changed when: what is kept of the store is brought up to date by it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping


class Changes:
    """Whose rows each commit touched, by table; a short memory, shared by all threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._commits = 0
        self._at: dict[str, int] = {}
        self._log: dict[str, deque[tuple[int, frozenset[str] | None]]] = {}

    def commit(self, touched: Mapping[str, set[str] | None]) -> None:
        """Note a transaction that was committed: owners by table, None where anything may have changed."""
        with self._guard:
            self._commits += 1
            for table, owners in touched.items():
                self._at[table] = self._at.get(table, 0) + 1
                entry = (self._at[table], None if owners is None else frozenset(owners))
                self._log.setdefault(table, deque(maxlen=2000)).append(entry)

    def now(self) -> tuple[int, dict[str, int]]:
        """Return how many commits there were, and how many of them touched each table."""
        with self._guard:
            return self._commits, dict(self._at)

    def at(self, table: str) -> int:
        """Return how many commits touched a table."""
        with self._guard:
            return self._at.get(table, 0)

    def since(self, table: str, at: int) -> set[str] | None:
        """Return whose rows changed after ``at``, or None when that is not known."""
        with self._guard:
            if (now := self._at.get(table, 0)) == at:
                return set()
            news = [entry for entry in self._log.get(table, ()) if entry[0] > at]
        owners = [entry[1] for entry in news]
        if len(news) != now - at or any(one is None for one in owners):
            return None
        return set().union(*(one for one in owners if one is not None))
