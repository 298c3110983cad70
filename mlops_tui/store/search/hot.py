"""Hot columns: what is searched again and again, a small table in memory for each key, beside the store.

A narrow table holds every key of every run, so that one key's values lie scattered over all of it; of two million rows
a condition reads them all. Its hot column holds that key alone, by a 64-bit hash of the run's id: the same question,
asked of a twentieth. Where few rows are, nothing is kept.

What was committed and acknowledged is always in the answer: each commit says whose rows it touched, and a column is
brought up to date before it is used.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_tui.store.engine import HOT
from mlops_tui.store.search.compiler import Field

if TYPE_CHECKING:
    import duckdb

    from mlops_tui.store.session import Session

log = logging.getLogger(__name__)
SCHEMA = HOT
FEW = 200_000
"""Rows of a narrow table below which it is asked itself."""
ROWS_KEPT = 12_000_000
KEPT_S = 60.0
"""How long a table that was replaced stays for those who may still ask it, in s."""
AT_ONCE = 500
"""Owners up to which a column is mended; above, it is made anew."""

_SOURCES = {
    ("series", "scope = 'run' AND key = ?"): ("owner", {"last": "last", "low": "low, high, n"}),
    ("param", "key = ?"): ("run", {"value": "value, num"}),
    ("tag", "key = ?"): ("object", {"value": "value"}),
}
"""Of each narrow table: the column that names the object, and the columns that are kept together."""


class Changes:
    """Whose rows each commit touched, by table; a short memory, shared by all threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._at: dict[str, int] = {}
        self._log: dict[str, deque[tuple[int, frozenset[str] | None]]] = {}

    def commit(self, touched: Mapping[str, set[str] | None]) -> None:
        """Note a transaction that was committed: owners by table, None where anything may have changed."""
        with self._guard:
            for table, owners in touched.items():
                self._at[table] = self._at.get(table, 0) + 1
                entry = (self._at[table], None if owners is None else frozenset(owners))
                self._log.setdefault(table, deque(maxlen=2000)).append(entry)

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


@dataclass
class _Column:
    table: str
    at: int
    stamp: int
    rows: int


@dataclass
class Hot:
    """The hot columns of a store.

    Args:
        connection: of the database, which has an empty catalog :data:`SCHEMA` in memory attached.
        changes: what commits touched.
        few: rows below which a narrow table is asked itself.
    """

    connection: duckdb.DuckDBPyConnection
    changes: Changes
    few: int = FEW
    stamp: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _columns: OrderedDict[tuple[str, ...], _Column] = field(default_factory=OrderedDict)
    _retired: list[tuple[float, str]] = field(default_factory=list)
    _sizes: dict[str, int] = field(default_factory=dict)
    _sized: float = -1e9
    _off_until: float = -1e9

    def warm(self, session: Session, asked: Field) -> Field:
        """Return a field that asks the hot column of its key; the field itself where there is none.

        A session that has asked a hot column already sees those that were there then.
        """
        source = _SOURCES.get((asked.table, asked.where))
        if source is None or len(asked.params) != 1 or time.monotonic() < self._off_until:
            return asked
        owner, parts = source
        part = next((part for part, columns in parts.items() if asked.sql in columns.split(", ")), "value")
        with self._guard:
            if not self._worthwhile(asked.table):
                return asked
            try:
                column = self._fresh(
                    (asked.table, part, str(asked.params[0])), owner, parts[part], asked.where, session
                )
            except Exception as error:
                # Most likely there is no memory for it; the store itself answers as well.
                log.warning("no hot column of %s %s: %s", asked.table, asked.params[0], error)
                self._off_until = time.monotonic() + KEPT_S
                return asked
        if column is None:
            return asked
        return asked._replace(table=f"{SCHEMA}.{column.table}", owner="h", where="true", params=(), match="hash({})")

    def close(self) -> None:
        """Forget everything."""
        with self._guard:
            self._columns.clear()

    def _fresh(self, key: tuple[str, ...], owner: str, columns: str, where: str, session: Session) -> _Column | None:
        found = self._columns.get(key)
        late = session.hot_stamp is not None
        if found is not None:
            if late and found.stamp > (session.hot_stamp or 0):
                return None
            at = self.changes.at(key[0])
            owners = self.changes.since(key[0], found.at)
            if owners is not None and len(owners) <= AT_ONCE:
                if owners:
                    self._mend(found, key, owner, columns, where, owners)
                found.at = at
                self._columns.move_to_end(key)
                return found
        return None if late else self._make(key, owner, columns, where)

    def _make(self, key: tuple[str, ...], owner: str, columns: str, where: str) -> _Column:
        at = self.changes.at(key[0])  # before the rows are read: what comes meanwhile is brought later, once more
        self.stamp += 1
        made = _Column(f"c{self.stamp}", at, self.stamp, 0)
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TABLE {SCHEMA}.{made.table} AS SELECT hash({owner}) AS h, {columns}"
                f" FROM store.{key[0]} WHERE {where}",
                [key[-1]],
            )
            made.rows = cursor.execute(f"SELECT count(*) FROM {SCHEMA}.{made.table}").fetchall()[0][0]
            if (old := self._columns.pop(key, None)) is not None:
                self._retire(old)
            self._columns[key] = made
            self._make_room(cursor)
        return made

    def _mend(
        self, column: _Column, key: tuple[str, ...], owner: str, columns: str, where: str, owners: Iterable[str]
    ) -> None:
        changed = list(owners)
        with self.connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(
                f"DELETE FROM {SCHEMA}.{column.table} WHERE h IN (SELECT hash(o) FROM unnest(?::VARCHAR[]) t(o))",
                [changed],
            )
            cursor.execute(
                f"INSERT INTO {SCHEMA}.{column.table} SELECT hash({owner}), {columns} FROM store.{key[0]}"
                f" WHERE {where} AND {owner} IN (SELECT unnest(?::VARCHAR[]))",
                [key[-1], changed],
            )
            cursor.execute("COMMIT")

    def _retire(self, column: _Column) -> None:
        self._retired.append((time.monotonic(), column.table))

    def _make_room(self, cursor: duckdb.DuckDBPyConnection) -> None:
        while sum(one.rows for one in self._columns.values()) > ROWS_KEPT and len(self._columns) > 1:
            self._retire(self._columns.popitem(last=False)[1])
        now = time.monotonic()
        for _, table in [one for one in self._retired if now - one[0] > KEPT_S]:
            cursor.execute(f"DROP TABLE IF EXISTS {SCHEMA}.{table}")
        self._retired = [one for one in self._retired if now - one[0] <= KEPT_S]

    def _worthwhile(self, table: str) -> bool:
        if time.monotonic() - self._sized > 10:
            with self.connection.cursor() as cursor:
                sql = "SELECT table_name, estimated_size FROM duckdb_tables() WHERE database_name = 'store'"
                self._sizes = dict(cursor.execute(sql).fetchall())
            self._sized = time.monotonic()
        return self._sizes.get(table, 0) >= self.few
