"""Tables as Parquet: a folder a table, a part at a time, so that nothing has to fit into memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from mlops_tui.store.engine import CATALOG
from mlops_tui.store.session import Session


def _columns(said: str) -> dict[str, str]:
    """Return the columns of a table with their types; what says none is text."""
    return {name: kind or "VARCHAR" for name, _, kind in (word.partition(":") for word in said.split())}


TABLES = {
    "experiment": _columns("id number:BIGINT name note created:TIMESTAMP deleted:BOOLEAN"),
    "run": _columns(
        "id experiment name status parent kind actor host command git_sha note error"
        " started:TIMESTAMP ended:TIMESTAMP deleted:BOOLEAN digest"
    ),
    "param": _columns("run key value"),
    "tag": _columns("run key value"),
    "metric": _columns("run key step:BIGINT ts:TIMESTAMP value:DOUBLE"),
    "artifact": _columns("run path digest size:BIGINT"),
    "dataset": _columns("run name digest context"),
    "logged_model": _columns("id name experiment status run kind created:TIMESTAMP deleted:BOOLEAN"),
    "model_version": _columns("model version:BIGINT source run stage aliases description created:TIMESTAMP"),
}
"""Every table has all its parts of these types, whatever is missing in some, and one part when it has no rows."""


class ParquetTables:
    """Writes ``FOLDER/TABLE/part-00001.parquet`` and on. Times are given in µs."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._parts = folder, Counter[str]()
        self._connection = duckdb.connect(":memory:")
        self._connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        self._connection.execute(f"ATTACH ':memory:' AS {CATALOG}")
        self._session = Session(self._connection)

    def add(self, table: str, columns: Mapping[str, Any]) -> None:
        """Write equally long columns as the next part of a table; none when they are empty."""
        if not len(next(iter(columns.values()))):
            return
        kinds = TABLES[table]
        given = {f"{name}_us" if kind == "TIMESTAMP" else name: columns[name] for name, kind in kinds.items()}
        with self._session.incoming(given) as found:
            self._write(table, found, "FROM incoming")

    def _write(self, table: str, found: Sequence[str], source: str) -> None:
        self._parts[table] += 1
        folder = self._folder / table
        folder.mkdir(parents=True, exist_ok=True)
        path = str(folder / f"part-{self._parts[table]:05}.parquet").replace("'", "''")
        kinds = TABLES[table].items()
        listed = ", ".join(f'CAST({sql} AS {kind}) AS "{name}"' for sql, (name, kind) in zip(found, kinds, strict=True))
        self._session.execute(f"COPY (SELECT {listed} {source}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")

    def add_rows(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Write rows, their columns in the table's order, as the next part of a table."""
        if rows:
            self.add(table, dict(zip(TABLES[table], map(list, zip(*rows, strict=True)), strict=True)))

    def close(self) -> None:
        """Write the tables that have no rows, and let go of the engine."""
        for table in TABLES.keys() - self._parts.keys():
            self._write(table, ["NULL"] * len(TABLES[table]), "LIMIT 0")
        self._session.close()
        self._connection.close()
