"""Hot tables: what is searched and shown again and again, in memory beside the store.

A narrow table holds every key of every run, so that one key's values lie scattered over all of it; of two million rows
a condition reads them all. Its hot column holds that key alone, by a 64-bit hash of the run's id: the same question,
asked of a twentieth. What a page shows is the other way round: all keys of a hundred runs. For that a hot sheet holds
all rows of a run as one JSON text. Where few rows are, nothing is kept.

Nobody waits for a hot table: a thread makes it, and until then the store answers. What was committed and acknowledged
is always in the answer: each commit says whose rows it touched, and a table is brought up to date before it is used.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from mlops_tui.store.engine import HOT
from mlops_tui.store.search.compiler import Field

if TYPE_CHECKING:
    import duckdb

    from mlops_tui.store.session import Session

log = logging.getLogger(__name__)
FEW = 200_000
"""Rows of a narrow table below which it is asked itself."""
ROWS_A_MB, SHEET_ROWS_A_MB = 10_000, 5_000
"""Rows that are kept for each MB that the database may use: of all hot tables, and of a narrow table in sheets. That is
about a third of it."""
KEPT_S = 60.0
"""How long a table that was replaced stays for those who may still ask it, in s."""
AT_ONCE = 5_000
"""Owners up to which a table is mended; above, it is made anew."""
AGAIN_S = 30.0
"""Seconds after which a table may be made once more, and after a failure."""
_COLUMNS = {
    ("series", "scope = 'run' AND key = ?"): ("owner", {"last": "last", "low": "low, high, n"}),
    ("param", "key = ?"): ("run", {"value": "value, num"}),
    ("tag", "key = ?"): ("object", {"value": "value"}),
}
"""Of each narrow table: the column that names the object, and the columns that are kept together."""
_LAST = """coalesce('"' || last::VARCHAR || '"', 'null'), last_step, epoch_us(last_ts), n"""
_SHEETS = {
    "series": ("owner", f"to_json(key), {_LAST}", "scope = 'run'"),
    "param": ("run", "to_json(key), to_json(value)", "true"),
    "tag": ("object", "to_json(key), to_json(value)", "true"),
}
"""Of each narrow table: who has a row, what a sheet has of it as JSON (a figure as text: it may be NaN), which rows."""


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


class Source(NamedTuple):
    """What a hot table is made of: its narrow table, what part of it, the column of the object, and the SELECT.

    In ``select``, ``%s`` stands for a further condition.
    """

    table: str
    part: tuple[str, ...]
    owner: str
    select: str
    params: tuple[str, ...] = ()


def column(asked: Field) -> Source | None:
    """Return the hot column that answers what a field asks, or None where there is none of its kind."""
    if (known := _COLUMNS.get((asked.table, asked.where))) is None or len(asked.params) != 1:
        return None
    owner, parts = known
    part = next((part for part, columns in parts.items() if asked.sql in columns.split(", ")), "value")
    select = f"SELECT hash({owner}) AS h, {parts[part]} FROM store.{asked.table} WHERE {asked.where} AND %s"
    key = str(asked.params[0])
    return Source(asked.table, (part, key), owner, select, (key,))


def sheet(table: str) -> Source:
    """Return the hot sheets of a narrow table."""
    owner, columns, where = _SHEETS[table]
    select = f"""
        SELECT hash({owner}) AS h, '[' || string_agg('[' || concat_ws(',', {columns}) || ']', ',') || ']' AS sheet
        FROM store.{table} WHERE {where} AND %s GROUP BY 1"""
    return Source(table, ("sheet",), owner, select)


@dataclass
class Kept:
    """A hot table: its name, the commit it is as new as, its place in time, and its size."""

    name: str
    at: int
    stamp: int
    rows: int


@dataclass
class Hot:
    """The hot tables of a store.

    Args:
        connection: of the database, which has an empty catalog :data:`HOT` in memory attached.
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
    _maker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "hot"))
    _kept: OrderedDict[Source, Kept] = field(default_factory=OrderedDict)
    _begun: dict[Source, float] = field(default_factory=dict)
    _retired: list[tuple[float, str]] = field(default_factory=list)
    _sizes: dict[str, int] = field(default_factory=dict)
    _sized: float = -1e9

    def fresh(self, source: Source, seen: int | None) -> str | None:
        """Return the name of a hot table that is up to date; None where there is none yet, or none is kept.

        Args:
            source: what it is made of.
            seen: the stamp up to which the transaction sees hot tables; None, it sees all.
        """
        most = self.memory_mb * (SHEET_ROWS_A_MB if source.part == ("sheet",) else 4 * ROWS_A_MB)
        with self._guard:
            if not self.few <= self._size(source.table) <= most:
                return None
            found = self._kept.get(source)
            if found is not None:
                if seen is not None and found.stamp > seen:
                    return None
                at, owners = self.changes.at(source.table), self.changes.since(source.table, found.at)
                if owners is not None and len(owners) <= AT_ONCE:
                    if owners and seen is not None:
                        return None  # it would be mended, but not for this transaction
                    if owners:
                        self._mend(source, found, list(owners))
                    found.at = at
                    self._kept.move_to_end(source)
                    return f"{HOT}.{found.name}"
            if time.monotonic() - self._begun.get(source, -1e9) > AGAIN_S:
                self._begun[source] = time.monotonic()
                self._maker.submit(self._make, source)
            return None

    def settle(self) -> None:
        """Wait until what was asked for is made."""
        self._maker.submit(lambda: None).result()

    def close(self) -> None:
        """End the thread."""
        self._maker.shutdown(cancel_futures=True)

    def _make(self, source: Source) -> None:
        try:
            at = self.changes.at(source.table)  # before the rows are read: what comes meanwhile is brought once more
            with self._guard:
                self.stamp += 1
                name = f"c{self.stamp}"
            with self.connection.cursor() as cursor:
                cursor.execute(f"CREATE TABLE {HOT}.{name} AS {source.select % 'true'}", source.params)
                rows = cursor.execute(f"SELECT count(*) FROM {HOT}.{name}").fetchall()[0][0]
            with self._guard:
                self.stamp += 1  # whoever has asked a hot table by now does not see it
                if source.part == ("sheet",):
                    rows = max(rows, self._size(source.table))
                if (old := self._kept.pop(source, None)) is not None:
                    self._retire(old)
                self._kept[source] = Kept(name, at, self.stamp, rows)
                self._make_room()
        except Exception as error:
            # Most likely there is no memory for it; the store itself answers as well.
            log.warning("nothing hot of %s %s: %s", source.table, " ".join(source.part), error)

    def _mend(self, source: Source, kept: Kept, owners: list[str]) -> None:
        table = f"{HOT}.{kept.name}"
        fresh = source.select % f"{source.owner} IN (SELECT unnest(?::VARCHAR[]))"
        with self.connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"DELETE FROM {table} WHERE h IN (SELECT hash(unnest(?::VARCHAR[])))", [owners])
            cursor.execute(f"INSERT INTO {table} {fresh}", [*source.params, owners])
            cursor.execute("COMMIT")

    def _retire(self, kept: Kept) -> None:
        self._retired.append((time.monotonic(), kept.name))

    def _make_room(self) -> None:
        while sum(one.rows for one in self._kept.values()) > self.memory_mb * ROWS_A_MB and len(self._kept) > 1:
            source, old = self._kept.popitem(last=False)
            self._begun.pop(source, None)
            self._retire(old)
        now = time.monotonic()
        with self.connection.cursor() as cursor:
            for _, name in [one for one in self._retired if now - one[0] > KEPT_S]:
                cursor.execute(f"DROP TABLE IF EXISTS {HOT}.{name}")
        self._retired = [one for one in self._retired if now - one[0] <= KEPT_S]

    def _size(self, table: str) -> int:
        """Return about how many rows a table has, as of some seconds ago."""
        if time.monotonic() - self._sized > 10:
            with self.connection.cursor() as cursor:
                sql = "SELECT table_name, estimated_size FROM duckdb_tables() WHERE database_name = 'store'"
                self._sizes = dict(cursor.execute(sql).fetchall())
            self._sized = time.monotonic()
        return self._sizes.get(table, 0)


class Reading:
    """What one transaction sees of the hot tables: those that were there when it first asked one, as they were."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot
        self._seen: int | None = None
        self._found: dict[Source, str] = {}

    def asked(self, sql: str) -> None:
        """Note a statement that is about to be asked."""
        if self._seen is None and f" {HOT}.c" in sql:
            self._seen = self._hot.stamp

    def warm(self, asked: Field) -> Field:
        """Return a field that asks the hot column of its key; the field itself where there is none."""
        if (source := column(asked)) is None or (name := self._name(source)) is None:
            return asked
        return asked._replace(table=name, owner="h", where="true", params=(), match="hash({})")

    def prepare(self) -> None:
        """Bring the sheets up to date before the transaction asks anything hot; afterwards it would not see it."""
        for table in _SHEETS:
            self._name(sheet(table))

    def sheets(self, session: Session, table: str, ids: Sequence[str]) -> dict[str, str] | None:
        """Return the rows that objects have in a narrow table, each object's as a JSON list; None where none are kept.

        An object that has no rows has no sheet.
        """
        if (name := self._name(sheet(table))) is None:
            return None
        sql = f"SELECT o.id, d.sheet FROM (SELECT unnest(?::VARCHAR[]) AS id) o JOIN {name} d ON d.h = hash(o.id)"
        return dict(session.rows(sql, [list(ids)]))

    def _name(self, source: Source) -> str | None:
        if (name := self._found.get(source)) is None and (name := self._hot.fresh(source, self._seen)) is not None:
            self._found[source] = name
        return name
