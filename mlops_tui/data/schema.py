"""What a data file is: its content hash, format, columns and rows. Pure: reads files, knows no store."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.data.online.duck import literal, open_locked, place, plain, quote

_BY_SUFFIX = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
# tried in this order: the first type that every cell of a CSV column can be read as
_CSV_TYPES = ("BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP")
_EXPECTED = "a data file is Parquet, CSV (.csv, .tsv) or JSON lines (.jsonl)"


class Column(msgspec.Struct, frozen=True):
    """A column: its name and DuckDB type."""

    name: str
    type: str


class Schema(msgspec.Struct, frozen=True):
    """What a file holds; ``size`` in bytes."""

    format: str
    rows: int
    size: int
    columns: tuple[Column, ...]


class Table(msgspec.Struct, frozen=True):
    """How a connection reads a file.

    Attributes:
        format: parquet, csv or jsonl.
        columns: the columns, typed.
        relation: SQL that stands after FROM and yields the columns typed.
        cells: the same for checks: text formats untyped, as their cells are written.
        row: SQL expression over ``cells`` for the number of a row, counting from 1 without a header.
    """

    format: str
    columns: tuple[Column, ...]
    relation: str
    cells: str
    row: str


def content_hash(path: Path) -> str:
    """Return the BLAKE3 of a file's bytes, 64 hex digits.

    Raises:
        NotFound: no such file.
        BadInput: not a readable file.
    """
    import blake3

    _readable(path)
    hasher = blake3.blake3(max_threads=blake3.blake3.AUTO)
    hasher.update_mmap(path)
    return str(hasher.hexdigest())


def read_schema(path: Path) -> Schema:
    """Return a data file's format, columns and row count.

    Raises:
        NotFound: no such file.
        BadInput: not a data file, damaged, or without rows.
    """
    con = open_locked([path])
    try:
        table = probe(con, path)
        return Schema(table.format, count_rows(con, table, path), path.stat().st_size, table.columns)
    finally:
        con.close()


def count_rows(con: Any, table: Table, path: Path) -> int:
    """Count the rows, reading all of a text file.

    Raises:
        BadInput: a record is broken, or there is no row.
    """
    rows = int(ask(con, f"SELECT count(*) FROM {table.cells}", path)[0][0])
    if not rows:
        raise BadInput(f"{path.name} holds no rows", "it has columns only", "give a file with data")
    return rows


def probe(con: Any, path: Path) -> Table:
    """Find out how to read a file; ``con`` must be open for it.

    Raises:
        NotFound: no such file.
        BadInput: not a data file, or damaged.
    """
    kind = _format(path)
    return {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}[kind](con, path)


def ask(con: Any, sql: str, path: Path) -> list[tuple[Any, ...]]:
    """Run a query over a file's content and return its rows; a broken record is named by its row.

    Raises:
        BadInput: the content cannot be read.
    """
    import duckdb

    try:
        rows: list[tuple[Any, ...]] = con.execute(sql).fetchall()
        return rows
    except duckdb.Error as error:
        raise _broken(path, str(error), plain(error)) from error


def _readable(path: Path) -> None:
    if not path.exists():
        raise NotFound(f"no file {path}", "", "check the path")
    if not path.is_file():
        raise BadInput(f"{path} is not a file", "", "give one data file")


def _format(path: Path) -> str:
    _readable(path)
    try:
        with path.open("rb") as file:
            head = file.read(65536)
    except OSError as error:
        raise BadInput(f"{path} cannot be read", str(error.strerror), "check its permissions") from error
    if not head:
        raise BadInput(f"{path.name} is empty", "it has 0 bytes", _EXPECTED)
    if head[:4] == b"PAR1":
        return "parquet"
    kind = _BY_SUFFIX.get(path.suffix.lower(), "")
    if kind == "parquet":
        raise BadInput(f"{path.name} is not a Parquet file", f"it begins with {head[:4]!r}, not b'PAR1'", _EXPECTED)
    if not kind:
        raise BadInput(f"{path.name} is not a data file", "neither its name nor its beginning is known", _EXPECTED)
    if b"\0" in head:
        raise BadInput(f"{path.name} is not a text file", f"byte {head.index(0)} is zero", _EXPECTED)
    return kind


def _parquet(con: Any, path: Path) -> Table:
    relation = f"read_parquet({place(path)})"
    columns = _described(con, relation, path)
    return Table(
        "parquet", columns, relation, f"read_parquet({place(path)}, file_row_number = true)", "file_row_number + 1"
    )


def _csv(con: Any, path: Path) -> Table:
    names, separator = _csv_header(path)
    spec = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    # no sniffing: on a file with one short record DuckDB's sniffer settles for zero rows and says nothing
    cells = (
        f"read_csv({place(path)}, columns = {{{spec}}}, auto_detect = false, header = true,"
        f" delim = {literal(separator)}, quote = '\"', escape = '\"', nullstr = '')"
    )
    tries = [f"bool_and({_csv_reads(name, kind)})" for name in names for kind in _CSV_TYPES]
    fits = ask(con, f"SELECT {', '.join(tries)} FROM {cells}", path)[0]
    columns = []
    for at, name in enumerate(names):
        found = fits[at * len(_CSV_TYPES) : (at + 1) * len(_CSV_TYPES)]
        columns.append(
            Column(name, next((kind for kind, fit in zip(_CSV_TYPES, found, strict=True) if fit), "VARCHAR"))
        )
    casts = ", ".join(f"CAST({quote(c.name)} AS {c.type}) AS {quote(c.name)}" for c in columns)
    return Table("csv", tuple(columns), f"(SELECT {casts} FROM {cells})", cells, "row_number() OVER ()")


def _csv_reads(name: str, kind: str) -> str:
    """Return SQL that is true where a cell reads as ``kind``, null where it is empty; codes like 007 stay text."""
    cell = quote(name)
    if kind == "BIGINT":
        same = f"coalesce(CAST(TRY_CAST({cell} AS BIGINT) AS VARCHAR) = {cell}, false)"
        return f"CASE WHEN {cell} IS NOT NULL THEN {same} END"
    padded = f" AND NOT regexp_matches({cell}, '^0[0-9]')" if kind == "DOUBLE" else ""
    return f"CASE WHEN {cell} IS NOT NULL THEN TRY_CAST({cell} AS {kind}) IS NOT NULL{padded} END"


def _csv_header(path: Path) -> tuple[list[str], str]:
    try:
        with path.open("rb") as file:
            line = file.readline().decode("utf-8-sig")
        separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=line.count)
        names = next(csv.reader([line], delimiter=separator))
    except (UnicodeDecodeError, csv.Error, StopIteration) as error:
        raise BadInput(
            f"{path.name} has no readable header", str(error) or "its first line is empty", _EXPECTED
        ) from error
    folded = [name.strip().casefold() for name in names]
    if not all(folded):
        raise BadInput(f"{path.name} has no name for column {folded.index('') + 1}", "the first line names the columns")
    for name in folded:
        if folded.count(name) > 1:
            raise BadInput(f"{path.name} has two columns named {name}", "", "rename one")
    return [name.strip() for name in names], separator


def _jsonl(con: Any, path: Path) -> Table:
    source = f"{place(path)}, format = 'newline_delimited'"
    relation = f"read_json({source}, records = true, sample_size = -1)"
    columns = _described(con, relation, path)
    spec = ", ".join(f"{literal(c.name)}: 'VARCHAR'" for c in columns)
    return Table(
        "jsonl", columns, relation, f"read_json({source}, records = true, columns = {{{spec}}})", "row_number() OVER ()"
    )


def _described(con: Any, relation: str, path: Path) -> tuple[Column, ...]:
    return tuple(Column(row[0], row[1]) for row in ask(con, f"DESCRIBE SELECT * FROM {relation}", path))


def _broken(path: Path, text: str, short: str) -> BadInput:
    if found := re.search(r"CSV Error on Line: (\d+)", text):
        reasons = [
            line for line in text.splitlines() if line.startswith(("Expected Number", "Invalid unicode", "Value with"))
        ]
        row = int(found[1]) - 1
        return BadInput(f"{path.name} is broken at row {row}", reasons[0] if reasons else short, "mend that row")
    if path.suffix.lower() != ".parquet" and "JSON" in text and (row := _bad_json_row(path)):
        return BadInput(f"{path.name} is broken at row {row}", "the line is not a JSON object", "mend that row")
    return BadInput(f"{path.name} cannot be read", short, _EXPECTED)


def _bad_json_row(path: Path) -> int:
    """Return the number of the first line that is not a JSON object, 0 if all are."""
    import orjson

    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                if line.strip() and not isinstance(orjson.loads(line), dict):
                    return number
            except orjson.JSONDecodeError:
                return number
    return 0
