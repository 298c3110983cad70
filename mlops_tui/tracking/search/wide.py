"""Runs in a file: a row a run, a column a parameter, metric and tag, or as JSON an object a run.

The database writes it itself, some runs at a time, so that it takes neither the memory of all nor the interpreter.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

from mlops_tui.core.errors import BadInput
from mlops_tui.store.session import Session

Keys = dict[str, list[str]]
"""The keys of parameters, metrics and tags."""
PIECE = 50_000
"""Runs that are written at once."""
MOST_COLUMNS = 5_000
_NAMES = {"id": "r.id", "name": "r.name", "experiment": "e.name", "status": "r.status"}
_ORIGIN = {"actor": "r.actor", "host": "r.host", "git": "r.git_sha", "note": "r.note"}
_TOOK = {"duration_s": "epoch(r.ended - r.started)"}
_US = ("epoch_us(r.started)", "epoch_us(r.ended)")
_FACTS = {
    "csv": {**_NAMES, **_ORIGIN, "started_us": _US[0], "ended_us": _US[1], **_TOOK},
    "parquet": {**_NAMES, **_ORIGIN, "started": "r.started", "ended": "r.ended", **_TOOK},
    "json": {**_NAMES, "started": _US[0], "ended": _US[1], **_ORIGIN},
}
_OPTIONS = {"csv": "FORMAT csv, HEADER false", "parquet": "FORMAT parquet", "json": "FORMAT json"}
_FIGURE = """CASE WHEN last IS NULL THEN 'null' WHEN isnan(last) THEN '"NaN"' WHEN isfinite(last) THEN last::VARCHAR
             WHEN last > 0 THEN '"Infinity"' ELSE '"-Infinity"' END"""
_NARROW = {
    "params": ("param", "run", "value", "to_json(value)", "true"),
    "metrics": ("series", "owner", "last", _FIGURE, "scope = 'run'"),
    "tags": ("tag", "object", "value", "to_json(value)", "true"),
}
"""Tables with a row an object and key: name, column of the object, the value and how JSON writes it, which rows."""


def write(session: Session, ids: Sequence[str], form: str, path: Path) -> None:
    """Write runs in this order.

    Args:
        session: where they are read.
        ids: the runs.
        form: csv, parquet or json.
        path: the file, in a folder that the database may reach; files beside it come and go.

    Raises:
        BadInput: they have too many different parameters, metrics and tags for a table.
    """
    keys = {} if form == "json" else _keys(session, ids)
    parts = [path.with_name(f"{path.stem}.{first}") for first in range(0, max(1, len(ids)), PIECE)]
    try:
        for number, part in enumerate(parts):
            _piece(session, ids[number * PIECE : (number + 1) * PIECE], keys, form, part)
        if form == "csv":
            _join_csv([name for name, _ in _columns(keys, form)], parts, path)
        elif form == "json":
            _join_json(parts, path)
        else:
            together = ", ".join(f"'{part}'" for part in parts)
            session.execute(f"COPY (SELECT * FROM read_parquet([{together}])) TO '{path}' (FORMAT parquet)")
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _keys(session: Session, ids: Sequence[str]) -> Keys:
    """Return the keys of parameters, metrics and tags that any of the runs has."""
    found: Keys = {}
    with session.incoming({"id": list(ids)}):
        for what, (table, owner, _, _, where) in _NARROW.items():
            asked = f"{where} AND {owner} IN (SELECT id::VARCHAR FROM incoming)"
            found[what] = session.column(f"SELECT DISTINCT key FROM {table} WHERE {asked} ORDER BY key")
    if (count := sum(map(len, found.values()))) > MOST_COLUMNS:
        why = f"they have {count:,} different parameters, metrics and tags; a table may have {MOST_COLUMNS:,}"
        raise BadInput("so many columns fit into no table", why, "--form json, or a filter")
    return found


def _columns(keys: Keys, form: str) -> list[tuple[str, str]]:
    """Return name and SQL of each column."""
    if form == "json":
        narrow = [(what, f"coalesce({what}.pairs, '{{}}')::JSON") for what in _NARROW]
    else:
        narrow = [(f"{what}.{key}", f"{what}.v{n}") for what, them in keys.items() for n, key in enumerate(them)]
    return [*_FACTS[form].items(), *narrow]


def _piece(session: Session, ids: Sequence[str], keys: Keys, form: str, path: Path) -> None:
    tables, joins = [], []
    for what, (table, owner, value, word, where) in _NARROW.items():
        if form == "json":
            values = f", '{{' || string_agg(to_json(key) || ':' || {word}, ',') || '}}' AS pairs"
        else:
            values = "".join(f", any_value({value}) FILTER (WHERE key = ?) AS v{n}" for n in range(len(keys[what])))
        asked = f"{where} AND {owner} IN (SELECT id::VARCHAR FROM incoming)"
        tables.append(f"{what} AS (SELECT {owner} AS id{values} FROM {table} WHERE {asked} GROUP BY 1)")
        joins.append(f"LEFT JOIN {what} ON {what}.id = r.id")
    # Of names that differ in their case alone, the database gives all but the first a number.
    chosen = ", ".join(f"{sql} AS {_quoted(name)}" for name, sql in _columns(keys, form))
    with session.incoming({"i": list(range(len(ids))), "id": list(ids)}):
        session.execute(
            f"""COPY (WITH {", ".join(tables)}
                SELECT {chosen} FROM incoming o JOIN run r ON r.id = o.id::VARCHAR
                JOIN experiment e ON e.id = r.experiment_id {" ".join(joins)} ORDER BY o.i)
                TO '{path}' ({_OPTIONS[form]})""",
            [key for them in keys.values() for key in them],
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _join_csv(names: Sequence[str], parts: Sequence[Path], path: Path) -> None:
    """Put CSV files together under one heading."""
    with path.open("w", newline="") as whole:
        csv.writer(whole, lineterminator="\n").writerow(names)
    with path.open("ab") as whole:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, whole)


def _join_json(parts: Sequence[Path], path: Path) -> None:
    """Put files of an object a line together as one array."""
    with path.open("wb") as whole:
        between = b"["
        for part in parts:
            with part.open("rb") as lines:
                for line in lines:
                    whole.write(between + line.rstrip(b"\n"))
                    between = b",\n"
        whole.write(b"]\n" if between == b",\n" else b"[]\n")
