"""Tables as Parquet: a folder a table, a part at a time, so that nothing has to fit into memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from mlops_tui.store.engine import CATALOG
from mlops_tui.store.session import Session


class ParquetTables:
    """Writes ``FOLDER/TABLE/part-00001.parquet`` and on. Times are given in µs under keys that end in ``_us``."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._parts = folder, Counter[str]()
        self._connection = duckdb.connect(":memory:")
        self._connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        self._connection.execute(f"ATTACH ':memory:' AS {CATALOG}")
        self._session = Session(self._connection)

    def add(self, table: str, columns: Mapping[str, Any]) -> None:
        """Write equally long columns as the next part of a table; none when they are empty."""
        if not columns or not len(next(iter(columns.values()))):
            return
        self._parts[table] += 1
        folder = self._folder / table
        folder.mkdir(parents=True, exist_ok=True)
        path = str(folder / f"part-{self._parts[table]:05}.parquet").replace("'", "''")
        with self._session.incoming(columns) as wanted:
            listed = ", ".join(
                f'{sql} AS "{key.removesuffix("_us")}"' for sql, key in zip(wanted, columns, strict=True)
            )
            self._session.execute(
                f"COPY (SELECT {listed} FROM incoming) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
            )

    def add_rows(self, table: str, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        """Write rows as the next part of a table."""
        if rows:
            self.add(table, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))

    def close(self) -> None:
        """Let go of the engine."""
        self._session.close()
        self._connection.close()
