"""Hot tables: what is searched and shown again and again, in memory beside the store.

What a search of many runs compares and sorts by lies scattered over tables with a row a run and key: hot rows hold it
side by side, a row a run; see :mod:`.rows`. What a page shows is all keys of a hundred runs: a hot sheet holds all rows
of a run in a table as one JSON text; see :mod:`.sheets`. Where few rows are, nothing is kept.

Nobody waits for a hot table: a thread makes it, and until then the store answers. What was committed and acknowledged
is always in the answer: each commit says whose rows it touched, and a table is brought up to date before it is used.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlops_tui.store.engine import HOT
from mlops_tui.store.search.changes import Changes
from mlops_tui.store.search.source import ROWS, SHEET, SHEETS, Column, Source, columns_in, rows, sheet

if TYPE_CHECKING:
    import duckdb

    from mlops_tui.store.session import Session

log = logging.getLogger(__name__)
FEW = 200_000
"""Rows of a narrow table below which it is asked itself; of runs, a twentieth."""
ROWS_A_MB, SHEETS_A_MB = 5_000, 7_500
"""Rows of a narrow table whose room hot rows may take, and all sheets together, for each MB that the database may use.
A thousand of them are about 35 kB."""
MOST_COLUMNS = 24
"""Columns of hot rows, those that were asked for last; of very many runs fewer fit."""
KEPT_S = 30.0
"""How long a table that was replaced stays for those who may still ask it, in s."""
AT_ONCE = 5_000
"""Owners up to which a table is mended; above, it is made anew."""
AGAIN_S = 30.0
"""Seconds after which a table may be made once more, and after a failure."""
LITERALS = 1_000
"""Objects whose sheets are looked for by their index: by numbers in the statement, of which it takes 2,048."""


@dataclass
class Kept:
    """A hot table: its name, the commits of each table it is as new as, and its place in time."""

    name: str
    at: dict[str, int]
    stamp: int


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
    _kept: dict[Source, Kept] = field(default_factory=dict)
    _begun: dict[tuple[str, ...], tuple[Source, float, float]] = field(default_factory=dict)
    _recent: OrderedDict[Column, None] = field(default_factory=OrderedDict)
    _retired: list[tuple[float, str]] = field(default_factory=list)
    _sizes: dict[str, int] = field(default_factory=dict)
    _sized: float = -1e9

    def sheet(self, table: str, seen: int | None) -> str | None:
        """Return the name of a table's sheets, up to date; None where there are none yet, or none are kept.

        Args:
            table: one with sheets.
            seen: the stamp up to which the transaction sees hot tables; None, it sees all.
        """
        source = sheet(table)
        with self._guard:
            if not self._has_room(table):
                if (old := self._kept.pop(source, None)) is not None:
                    self._retire(old.name)
                return None
            found = self._fresh(source, seen)
            return f"{HOT}.{found.name}" if found else None

    @property
    def many(self) -> bool:
        """Whether there are so many runs that hot rows are worth their while."""
        with self._guard:
            return self._size("run") >= self.few // 20

    def rows(self, needed: Collection[Column], seen: int | None, began: Mapping[str, int]) -> str | None:
        """Return the name of rows that have these columns, as new as a transaction and no newer; or None.

        Args:
            needed: the columns.
            seen: see :meth:`sheet`.
            began: how many commits had touched each table when the transaction began. It may have read the store since,
                where it does not see runs that came later.
        """
        with self._guard:
            most = min(MOST_COLUMNS, columns_in(self.memory_mb * ROWS_A_MB / max(1, self._size("run"))))
            if len(needed) > most:
                return None
            for one in needed:
                self._recent[one] = None
                self._recent.move_to_end(one)
            while len(self._recent) > most:
                self._recent.popitem(last=False)
            names = {one.name for one in needed}
            have = (one for one in self._kept if one.part[0] == ROWS and names.issubset(one.part))
            found = self._fresh(next(have, None) or rows(self._recent), seen)
            return f"{HOT}.{found.name}" if found and all(at == began.get(t, 0) for t, at in found.at.items()) else None

    def settle(self) -> None:
        """Wait until what was asked for is made."""
        self._maker.submit(lambda: None).result()

    def close(self) -> None:
        """End the thread."""
        self._maker.shutdown(cancel_futures=True)

    def _fresh(self, source: Source, seen: int | None) -> Kept | None:
        if self._retired and time.monotonic() - self._retired[0][0] > KEPT_S:
            self._maker.submit(self._drop)
        if (found := self._kept.get(source)) is not None:
            if seen is not None and found.stamp > seen:
                return None
            at, owners = self._news(source, found.at)
            if owners is not None and len(owners) <= AT_ONCE:
                if owners and seen is not None:
                    return None  # it would be mended, but not for this transaction
                if not owners or self._mend(source, found, list(owners)):
                    found.at = at
                    return found
        self._ask(source)
        return None

    def _news(self, source: Source, since: Mapping[str, int]) -> tuple[dict[str, int], set[str] | None]:
        """Return how many commits touched each table, and whose rows have changed; None when it may be anybody's."""
        at = {table: self.changes.at(table) for table in source.tables}
        touched: set[str] = set()
        for table in source.tables:
            if (owners := self.changes.since(table, since[table])) is None:
                return at, None
            if table == "experiment" and owners:
                sql = "SELECT id FROM store.run WHERE experiment_id IN (SELECT unnest(?::VARCHAR[]))"
                with self.connection.cursor() as cursor:
                    owners = {run for (run,) in cursor.execute(sql, [list(owners)]).fetchall()}
            touched |= owners
        return at, touched

    def _ask(self, source: Source) -> None:
        """Have a table made, unless that was just tried; rows that have more columns may follow sooner."""
        key = _place(source)
        last, began, took = self._begun.get(key, (None, -1e9, 0.0))
        grows = last is not None and last != source and set(last.part) <= set(source.part)
        if time.monotonic() - began > (2 * took if grows else AGAIN_S):
            self._begun[key] = source, time.monotonic(), AGAIN_S
            self._maker.submit(self._make, source)

    def _make(self, source: Source) -> None:
        began = time.monotonic()
        at = {table: self.changes.at(table) for table in source.tables}
        # … before the rows are read: what comes meanwhile is brought once more.
        with self._guard:
            self.stamp += 1
            name = f"c{self.stamp}"
        try:
            with self.connection.cursor() as cursor:
                sql, params = source.asked()
                cursor.execute(f"CREATE TABLE {HOT}.{name} AS {sql}", params)
                if source.part[0] == SHEET:  # a scan reads the beginning of every text
                    cursor.execute(f"CREATE INDEX {name}_h ON {HOT}.{name} (h)")
            with self._guard:
                self.stamp += 1  # whoever has asked a hot table by now does not see it
                for old in [one for one in self._kept if _place(one) == _place(source)]:
                    self._retire(self._kept.pop(old).name)
                self._kept[source] = Kept(name, at, self.stamp)
        except Exception as error:
            self._retire(name)
            # Most likely there is no memory for it; the store itself answers as well.
            log.warning("nothing hot of %s %s: %s", source.tables[0], " ".join(source.part), _first_line(error))
        finally:
            with self._guard:
                self._begun[_place(source)] = source, began, time.monotonic() - began
            self._drop()

    def _mend(self, source: Source, kept: Kept, owners: list[str]) -> bool:
        """Bring a table up to date; one that cannot be is kept no longer."""
        table = f"{HOT}.{kept.name}"
        try:
            sql, params = source.asked(owners)
            with self.connection.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute(f"DELETE FROM {table} WHERE h IN (SELECT hash(unnest(?::VARCHAR[])))", [owners])
                cursor.execute(f"INSERT INTO {table} {sql}", params)
                cursor.execute("COMMIT")
        except Exception as error:
            log.warning("%s could not be mended: %s", " ".join(source.part), _first_line(error))
            self._retire(self._kept.pop(source).name)
            return False
        return True

    def _retire(self, name: str) -> None:
        self._retired.append((time.monotonic(), name))

    def _drop(self) -> None:
        """Drop what was replaced long ago."""
        with self._guard:
            due = [name for at, name in self._retired if time.monotonic() - at > KEPT_S]
            self._retired = [one for one in self._retired if one[1] not in due]
        with self.connection.cursor() as cursor:
            for name in due:
                cursor.execute(f"DROP TABLE IF EXISTS {HOT}.{name}")

    def _has_room(self, table: str) -> bool:
        """Tell whether sheets of a table are worth their while, and fit beside those that come before them."""
        room = self.memory_mb * SHEETS_A_MB
        for one, weight in SHEETS.items():
            size = self._size(one)
            kept = size >= (self.few // 20 if one == "run" else self.few) and size * weight <= room
            if one == table:
                return kept
            room -= size * weight * kept
        return False

    def _size(self, table: str) -> int:
        """Return about how many rows a table has, as of some seconds ago."""
        if time.monotonic() - self._sized > 10:
            with self.connection.cursor() as cursor:
                sql = "SELECT table_name, estimated_size FROM duckdb_tables() WHERE database_name = 'store'"
                self._sizes = dict(cursor.execute(sql).fetchall())
            self._sized = time.monotonic()
        return self._sizes.get(table, 0)


def _place(source: Source) -> tuple[str, ...]:
    """Return what tells tables apart of which there is one: of hot rows, whichever columns they have."""
    return source.part[:1] if source.part[0] == ROWS else source.part


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


class Reading:
    """What one transaction sees of the hot tables: those that were there when it first asked one, as they were."""

    def __init__(self, hot: Hot, began: Mapping[str, int]) -> None:
        self._hot = hot
        self._began = began
        self._seen: int | None = None
        self._sheets: dict[str, str] = {}
        self._hashes: dict[str, int] = {}

    def asked(self, sql: str) -> None:
        """Note a statement that is about to be asked."""
        if self._seen is None and f" {HOT}.c" in sql:
            self._seen = self._hot.stamp

    @property
    def many(self) -> bool:
        """Whether there are so many runs that hot rows are worth their while."""
        return self._hot.many

    def rows(self, needed: Collection[Column]) -> str | None:
        """Return the name of hot rows with these columns; None where the store has to answer."""
        return self._hot.rows(needed, self._seen, self._began)

    def prepare(self) -> None:
        """Bring the sheets up to date before the transaction asks anything hot; afterwards it would not see it."""
        for table in SHEETS:
            self._sheet(table)

    def sheets(self, session: Session, table: str, ids: Sequence[str]) -> dict[str, str] | None:
        """Return the rows that objects have in a table, each object's as a JSON list; None where none are kept.

        An object that has no rows has no sheet.
        """
        if (name := self._sheet(table)) is None:
            return None
        if len(ids) > LITERALS:
            sql = f"SELECT o.id, d.sheet FROM (SELECT unnest(?::VARCHAR[]) AS id) o JOIN {name} d ON d.h = hash(o.id)"
            return dict(session.rows(sql, [list(ids)]))
        if missing := [one for one in ids if one not in self._hashes]:
            sql = "SELECT id, hash(id) FROM (SELECT unnest(?::VARCHAR[]) AS id)"
            self._hashes.update(session.rows(sql, [missing]))
        wanted = ", ".join(str(self._hashes[one]) for one in ids)
        found = dict(session.rows(f"SELECT h, sheet FROM {name} WHERE h IN ({wanted})")) if ids else {}
        return {one: found[h] for one in ids if (h := self._hashes[one]) in found}

    def _sheet(self, table: str) -> str | None:
        if (name := self._sheets.get(table)) is None and (name := self._hot.sheet(table, self._seen)) is not None:
            self._sheets[table] = name
        return name
