"""A session: one cursor, with the few ways of asking and writing that the rooms use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mlops_tui.store.engine import CATALOG
from mlops_tui.store.readers import Readers

if TYPE_CHECKING:
    import duckdb

    from mlops_tui.store.kept import Sight
    from mlops_tui.store.search.hot import Reading

_OWNERS = {
    "series": "owner", "param": "run", "tag": "object",
    "run": "id", "run_data": "run", "run_model": "run", "experiment": "id",
    "model_version": "id", "model": "id", "alias_event": "model_id",
}  # fmt: skip
"""The tables whose changes are followed, and the column that says whose a row is."""
_WRITES = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)")
WIDE_TEXT = 4_000_000
"""Characters that a text column may take up when every value is padded to the longest."""
Params = Sequence[Any] | Mapping[str, Any]
Named = dict[str, Any]
"""A row, or columns, by name."""


class Session:
    """Statements over one cursor of the store. Not shared between threads.

    Times go in and out as whole microseconds: write ``make_timestamp(?)``, read ``epoch_us(column)``.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, readers: Readers | None = None) -> None:
        self._readers = readers
        self.cursor = connection.cursor()
        self.cursor.execute(f"USE {CATALOG}")
        self.hot: Reading | None = None
        """Tables in memory that this transaction may ask instead of narrow tables."""
        self.kept: Sight | None = None
        """What this transaction may take from what was answered before."""
        self.touched: dict[str, set[str] | None] = {}
        """Whose rows of the tables that are followed this transaction changes; None where that is not known."""

    def execute(self, sql: str, params: Params = ()) -> None:
        """Run a statement whose rows nobody wants. One that changes a narrow table goes through :meth:`change`.

        What it changes of other tables that are followed may be anybody's.
        """
        self._ask(sql, params)

    def change(self, table: str, owners: Iterable[str] | None, sql: str, params: Params = ()) -> None:
        """Run a statement that changes rows of a table, those of these owners alone; None, of anybody."""
        self._touch(table, owners)
        self._ask(sql, params, followed=True)

    def _touch(self, table: str, owners: Iterable[str] | None) -> None:
        known = self.touched.setdefault(table, set())
        if owners is None or known is None:
            self.touched[table] = None
        else:
            known.update(owners)

    def _ask(self, sql: str, params: Params, followed: bool = False) -> duckdb.DuckDBPyConnection:
        if not followed and (writes := _WRITES.match(sql)) and writes[1] in _OWNERS:
            self._touch(writes[1], None)
        if self.hot is not None:
            self.hot.asked(sql)
        return self.cursor.execute(sql, params)

    def rows(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        """Return every row."""
        found: list[tuple[Any, ...]] = self._ask(sql, params).fetchall()
        return found

    def kept_rows(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        """Return every row of what depends on nothing but the store; perhaps those that were found before."""
        return self.kept.rows(self, sql, params) if self.kept else self.rows(sql, params)

    def dicts(self, sql: str, params: Params = ()) -> list[Named]:
        """Return every row as a dictionary by column name."""
        found = self._ask(sql, params)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def dict(self, sql: str, params: Params = ()) -> Named | None:
        """Return the first row as a dictionary, or None."""
        found = self.dicts(sql, params)
        return found[0] if found else None

    def row(self, sql: str, params: Params = ()) -> tuple[Any, ...] | None:
        """Return the first row, or None."""
        found = self.rows(sql, params)
        return found[0] if found else None

    def value(self, sql: str, params: Params = ()) -> Any:
        """Return the first column of the first row, or None."""
        found = self.row(sql, params)
        return found[0] if found else None

    def column(self, sql: str, params: Params = ()) -> list[Any]:
        """Return the first column of every row."""
        return [row[0] for row in self.rows(sql, params)]

    def twice(self, sql: str, one: Params, other: Params) -> list[tuple[Any, ...]]:
        """Return the rows of a question asked twice, the second time beside this transaction.

        What is large is so answered in half the time, where another core has nothing to do; while much is written none
        has, and one is asked after the other.
        """
        if self._readers is not None and self._readers.crowded:
            return self.rows(sql, one) + self.rows(sql, other)
        with ThreadPoolExecutor(1) as beside:
            second = beside.submit(self._beside, sql, other)
            return self.rows(sql, one) + second.result()

    def _beside(self, sql: str, params: Params) -> list[tuple[Any, ...]]:
        session = Session(self.cursor)
        try:
            return session.rows(sql, params)
        finally:
            session.close()

    def columns(self, sql: str, params: Params = ()) -> Named:
        """Return every row as numpy columns by name; a column with nulls is a masked array."""
        found: Named = self._ask(sql, params).fetchnumpy()
        return found

    def insert(self, table: str, **values: Any) -> None:
        """Insert one row. A key that ends in ``_us`` fills the timestamp column without that ending."""
        if owner := _OWNERS.get(table):
            self._touch(table, [values[owner]])
        names, places = [], []
        for key in values:
            stamp = key.endswith("_us")
            names.append(f'"{key[:-3] if stamp else key}"')
            places.append("make_timestamp(?)" if stamp else "?")
        self.cursor.execute(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(places)})", list(values.values())
        )

    def insert_columns(self, table: str, columns: Mapping[str, Any]) -> None:
        """Insert a batch given as equally long columns (numpy arrays or lists), 8–10 M rows a second.

        A key that ends in ``_us`` holds microseconds for the timestamp column without that ending. A matrix
        [n, k] fills a list column. NaN stays NaN; only None is null.
        """
        if not len(next(iter(columns.values()))):
            return
        if owner := _OWNERS.get(table):
            self._touch(table, map(str, columns[owner]))
        names = ", ".join(f'"{key.removesuffix("_us")}"' for key in columns)
        with self.incoming(columns) as wanted:
            self.cursor.execute(f"INSERT INTO {table} ({names}) SELECT {', '.join(wanted)} FROM incoming")

    @contextmanager
    def incoming(self, columns: Mapping[str, Any]) -> Iterator[list[str]]:
        """Offer columns as the table ``incoming`` and yield the SQL expression of each, in order."""
        batch: dict[str, Any] = {}
        wanted = [_offer(batch, key, column) for key, column in columns.items()]
        self.cursor.register("incoming", batch)
        try:
            yield wanted
        finally:
            self.cursor.unregister("incoming")

    def close(self) -> None:
        """Give the cursor back."""
        self.cursor.close()


def _offer(batch: dict[str, Any], key: str, column: Any) -> str:
    """Put a column into the batch and return the expression that reads it back whole."""
    import numpy as np

    if not isinstance(column, np.ndarray) and any(isinstance(v, float) for v in column) and None in column:
        batch[f"{key} is null"] = np.array([value is None for value in column])
        whole = _offer(batch, key, np.array([0.0 if value is None else value for value in column]))
        return f'CASE WHEN NOT "{key} is null" THEN {whole} END'
    array = column if isinstance(column, np.ndarray) and column.dtype != object else _array(list(column))
    if array.ndim == 2:
        parts = [_offer(batch, f"{key}.{i}", np.ascontiguousarray(array[:, i])) for i in range(array.shape[1])]
        return f"list_value({', '.join(parts)})"
    batch[key] = array
    if key.endswith("_us"):
        return f'make_timestamp("{key}")'
    if array.dtype.kind == "f" and (missing := np.isnan(array)).any():
        # The database reads a numpy NaN as null; a flag beside it brings the value back.
        batch[f"{key} is nan"] = missing
        return f"""CASE WHEN "{key} is nan" THEN 'NaN'::DOUBLE ELSE "{key}" END"""
    return f'"{key}"'


def _array(column: Sequence[Any]) -> Any:
    """Return a column as numpy holds it; text as fixed-width text where that is possible and not wasteful.

    The database reads fixed-width text ten times as fast as objects: for each object it asks whether it is pandas'.
    """
    import numpy as np

    if not any(value is None or isinstance(value, str | list) for value in column):
        return np.asarray(column)
    text = all(isinstance(value, str) and not value.endswith("\0") for value in column)
    if text and max(len(value) for value in column) * len(column) <= WIDE_TEXT:
        return np.asarray(column)
    array = np.empty(len(column), dtype=object)
    array[:] = column
    return array
