"""Hot tables: what is searched and shown again and again, in memory beside the store.

A narrow table holds every key of every run, so that one key's values lie scattered over all of it; of two million rows
a condition reads them all. Its hot column holds that key alone, by a 64-bit hash of the run's id: the same question,
asked of a twentieth. What a page shows is the other way round: all keys of a hundred runs. For that a hot sheet holds
all rows of a run as one JSON text. Where few rows are, nothing is kept.

What was committed and acknowledged is always in the answer: each commit says whose rows it touched, and a column is
brought up to date before it is used.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
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
ROWS_A_MB, SHEET_ROWS_A_MB = 10_000, 5_000
"""Rows that are kept for each MB that the database may use: of all hot tables, and of a narrow table in sheets. That is
about a third of it."""
KEPT_S = 60.0
"""How long a table that was replaced stays for those who may still ask it, in s."""
AT_ONCE = 5_000
"""Owners up to which a column is mended; above, it is made anew."""

SLOW_ROWS, AGAIN_S = 400_000, 30.0
"""Rows above which sheets are made by a thread, while the table answers; and the s between two such."""
_LAST = """coalesce('"' || last::VARCHAR || '"', 'null'), last_step, epoch_us(last_ts), n"""
_SHEETS = {
    "series": ("owner", f"to_json(key), {_LAST}", "scope = 'run'"),
    "param": ("run", "to_json(key), to_json(value)", "true"),
    "tag": ("object", "to_json(key), to_json(value)", "true"),
}
"""Of each narrow table: who has a row, what a sheet has of it as JSON (a figure as text: it may be NaN), which rows."""

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
class _Kept:
    """A hot table: its name, the commit it is as new as, its place in time, its size, and the SELECT that makes it.

    ``owner`` is the column of the source that names the object; ``%s`` stands in ``select`` for a further condition.
    """

    table: str
    at: int
    stamp: int
    rows: int
    owner: str
    select: str
    params: list[str]


@dataclass
class Hot:
    """The hot columns of a store.

    Args:
        connection: of the database, which has an empty catalog :data:`SCHEMA` in memory attached.
        changes: what commits touched.
        few: rows below which a narrow table is asked itself.
        memory_mb: that the database may use.
    """

    connection: duckdb.DuckDBPyConnection
    changes: Changes
    few: int = FEW
    memory_mb: int = 1000
    stamp: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _kept: OrderedDict[tuple[str, ...], _Kept] = field(default_factory=OrderedDict)
    _retired: list[tuple[float, str]] = field(default_factory=list)
    _begun: dict[tuple[str, ...], float] = field(default_factory=dict)
    _sizes: dict[str, int] = field(default_factory=dict)
    _sized: float = -1e9
    _off_until: float = -1e9

    def warm(self, session: Session, asked: Field) -> Field:
        """Return a field that asks the hot column of its key; the field itself where there is none.

        A session that has asked a hot column already sees those that were there then.
        """
        source = _SOURCES.get((asked.table, asked.where))
        if source is None or len(asked.params) != 1:
            return asked
        owner, parts = source
        part = next((part for part, columns in parts.items() if asked.sql in columns.split(", ")), "value")
        select = f"SELECT hash({owner}) AS h, {parts[part]} FROM store.{asked.table} WHERE {asked.where} AND %s"
        name = self._table((asked.table, part, str(asked.params[0])), session, owner, select, [str(asked.params[0])])
        if name is None:
            return asked
        return asked._replace(table=name, owner="h", where="true", params=(), match="hash({})")

    def prepare(self, session: Session) -> None:
        """Bring the sheets up to date before a transaction asks anything hot; afterwards it would not see it."""
        for table in _SHEETS:
            self._table((table, "sheet"), session, *self._sheet(table))

    def sheets(self, session: Session, table: str, ids: Sequence[str]) -> dict[str, str] | None:
        """Return the rows that objects have in a narrow table, each object's as a JSON list; None where none are kept.

        An object that has no rows has no sheet.
        """
        name = self._table((table, "sheet"), session, *self._sheet(table))
        if name is None:
            return None
        sql = f"SELECT o.id, d.sheet FROM (SELECT unnest(?::VARCHAR[]) AS id) o JOIN {name} d ON d.h = hash(o.id)"
        return dict(session.rows(sql, [list(ids)]))

    def _sheet(self, table: str) -> tuple[str, str, list[str]]:
        owner, columns, where = _SHEETS[table]
        select = f"""
            SELECT hash({owner}) AS h, '[' || string_agg('[' || concat_ws(',', {columns}) || ']', ',') || ']' AS sheet
            FROM store.{table} WHERE {where} AND %s GROUP BY 1"""
        return owner, select, []

    def _table(self, key: tuple[str, ...], session: Session, owner: str, select: str, params: list[str]) -> str | None:
        """Return the name of a hot table that is up to date, made if need be, or None where none is kept."""
        if (seen := session.hot_seen.get(key)) or time.monotonic() < self._off_until:
            return seen
        with self._guard:
            most = self.memory_mb * (SHEET_ROWS_A_MB if key[1] == "sheet" else 4 * ROWS_A_MB)
            if not self.few <= self._size(key[0]) <= most:
                return None
            try:
                kept = self._fresh(key, session, _Kept("", 0, 0, 0, owner, select, params))
            except Exception as error:
                # Most likely there is no memory for it; the store itself answers as well.
                log.warning("nothing hot of %s: %s", " ".join(key), error)
                self._off_until = time.monotonic() + KEPT_S
                return None
        if kept is None:
            return None
        return session.hot_seen.setdefault(key, f"{SCHEMA}.{kept.table}")

    def _fresh(self, key: tuple[str, ...], session: Session, wanted: _Kept) -> _Kept | None:
        found, late = self._kept.get(key), session.hot_stamp is not None
        if found is not None:
            if late and found.stamp > (session.hot_stamp or 0):
                return None
            at = self.changes.at(key[0])
            owners = self.changes.since(key[0], found.at)
            if late and owners != set():
                return None  # it would be mended, but not for this transaction
            if owners is not None and len(owners) <= AT_ONCE:
                if owners:
                    self._mend(found, list(owners))
                found.at = at
                self._kept.move_to_end(key)
                return found
        if late:
            return None
        if key[1] == "sheet" and self._size(key[0]) > SLOW_ROWS:
            self._make_beside(key, wanted)
            return None
        self._begin(key, wanted)
        self._fill(wanted)
        return self._keep(key, wanted)

    def _begin(self, key: tuple[str, ...], made: _Kept) -> None:
        made.at = self.changes.at(key[0])  # before the rows are read: what comes meanwhile is brought once more
        self.stamp += 1
        made.table, made.stamp = f"c{self.stamp}", self.stamp

    def _fill(self, made: _Kept) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE {SCHEMA}.{made.table} AS {made.select % 'true'}", made.params)
            made.rows = cursor.execute(f"SELECT count(*) FROM {SCHEMA}.{made.table}").fetchall()[0][0]

    def _keep(self, key: tuple[str, ...], made: _Kept) -> _Kept:
        if key[1] == "sheet":
            made.rows = max(made.rows, self._size(key[0]))
        if (old := self._kept.pop(key, None)) is not None:
            self._retire(old)
        self._kept[key] = made
        with self.connection.cursor() as cursor:
            self._make_room(cursor)
        return made

    def _make_beside(self, key: tuple[str, ...], made: _Kept) -> None:
        """Make a table in a thread of its own; whoever asks meanwhile is answered by the store."""
        if time.monotonic() - self._begun.get(key, -1e9) < AGAIN_S:
            return
        self._begun[key] = time.monotonic()
        self._begin(key, made)

        def make() -> None:
            try:
                self._fill(made)
                with self._guard:
                    # Newer than what was there when it began: nobody who asks now has seen less.
                    self.stamp += 1
                    made.stamp = self.stamp
                    self._keep(key, made)
            except Exception as error:
                log.warning("nothing hot of %s: %s", " ".join(key), error)

        threading.Thread(target=make, name="hot", daemon=True).start()

    def _mend(self, kept: _Kept, owners: list[str]) -> None:
        table = f"{SCHEMA}.{kept.table}"
        fresh = kept.select % f"{kept.owner} IN (SELECT unnest(?::VARCHAR[]))"
        with self.connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"DELETE FROM {table} WHERE h IN (SELECT hash(unnest(?::VARCHAR[])))", [owners])
            cursor.execute(f"INSERT INTO {table} {fresh}", [*kept.params, owners])
            cursor.execute("COMMIT")

    def _retire(self, kept: _Kept) -> None:
        self._retired.append((time.monotonic(), kept.table))

    def _make_room(self, cursor: duckdb.DuckDBPyConnection) -> None:
        while sum(one.rows for one in self._kept.values()) > self.memory_mb * ROWS_A_MB and len(self._kept) > 1:
            self._retire(self._kept.popitem(last=False)[1])
        now = time.monotonic()
        for _, table in [one for one in self._retired if now - one[0] > KEPT_S]:
            cursor.execute(f"DROP TABLE IF EXISTS {SCHEMA}.{table}")
        self._retired = [one for one in self._retired if now - one[0] <= KEPT_S]

    def _size(self, table: str) -> int:
        """Return about how many rows a table has, as of some seconds ago."""
        if time.monotonic() - self._sized > 10:
            with self.connection.cursor() as cursor:
                sql = "SELECT table_name, estimated_size FROM duckdb_tables() WHERE database_name = 'store'"
                self._sizes = dict(cursor.execute(sql).fetchall())
            self._sized = time.monotonic()
        return self._sizes.get(table, 0)
