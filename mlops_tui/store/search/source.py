"""What hot tables are made of: the SELECT of each, for all runs or for some alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, NamedTuple

from mlops_tui.store.search.compiler import Field

ROWS, SHEET = "rows", "sheet"
"""The first part of what hot rows and hot sheets are called."""
_AMONG = re.compile(r"AMONG\(([\w.]+)\)")
_NARROW = {
    ("series", "scope = 'run' AND key = ?"): "owner",
    ("param", "key = ?"): "run",
    ("tag", "key = ?"): "object",
}
"""The narrow tables whose keys hot rows may have as columns, and the column that names the object."""
_LAST = """coalesce('"' || last::VARCHAR || '"', 'null'), last_step, epoch_us(last_ts), n"""
_US = "coalesce(epoch_us({0})::VARCHAR, 'null')"
_FACTS = ", ".join(
    [*(f"to_json({name})" for name in ("name", "status", "actor", "host", "git_sha", "note", "experiment_id")),
     *(_US.format(name) for name in ("started", "ended", "deleted"))]
)  # fmt: skip
_SHEETS = {
    "series": ("owner", f"to_json(key), {_LAST}", "scope = 'run'", 1),
    "param": ("run", "to_json(key), to_json(value)", "true", 1),
    "run": ("id", _FACTS, "true", 8),
    "tag": ("object", "to_json(key), to_json(value)", "true", 1),
}
"""Of each table with sheets: who has a row, what a sheet has of it as JSON (a figure as text: it may be NaN), which
rows, and how many rows of a narrow table take as much room as one of its."""
SHEETS = {table: weight for table, (*_, weight) in _SHEETS.items()}


class Source(NamedTuple):
    """What a hot table is made of: the tables whose changes matter, what it is called, its SELECT with parameters.

    In ``select``, ``AMONG(column)`` stands where the rows of some owners may be chosen.
    """

    tables: tuple[str, ...]
    part: tuple[str, ...]
    select: str
    params: tuple[tuple[str, str], ...] = ()

    def asked(self, owners: list[str] | None = None) -> tuple[str, dict[str, Any]]:
        """Return the SELECT with its parameters, of these owners or of all."""
        among = "true" if owners is None else r"\1 IN (SELECT unnest($owners::VARCHAR[]))"
        return _AMONG.sub(among, self.select), dict(self.params) | ({} if owners is None else {"owners": owners})


def sheet(table: str) -> Source:
    """Return the hot sheets of a table."""
    owner, columns, where, _ = _SHEETS[table]
    select = f"""
        SELECT hash({owner}) AS h, '[' || string_agg('[' || concat_ws(',', {columns}) || ']', ',') || ']' AS sheet
        FROM store.{table} WHERE {where} AND AMONG({owner}) GROUP BY 1"""
    return Source((table,), (SHEET, table), select)


class Column(NamedTuple):
    """A column of hot rows: one of the run's own row, or of its experiment's, or a key's in a narrow table."""

    table: str
    sql: str
    key: str = ""
    where: str = ""

    @property
    def name(self) -> str:
        """What it is called there; keys may be anything, and differ in their case alone."""
        if not self.where:
            return f"{self.table[0]}_{self.sql}"
        return "k" + blake2b("\0".join((self.table, self.sql, self.key)).encode(), digest_size=12).hexdigest()


def column(asked: Field, sql: str) -> Column | None:
    """Return the column that holds an expression over a field's narrow table; None where hot rows have none of it."""
    if (asked.table, asked.where) not in _NARROW or len(asked.params) != 1:
        return None
    return Column(asked.table, sql, str(asked.params[0]), asked.where)


def rows(columns: Iterable[Column]) -> Source:
    """Return the hot rows with these columns, the newest run first: so most lists have them.

    Ids lie there as numbers of 128 bits, which sort as their texts do; of others nothing is made.
    """
    ordered = sorted(set(columns), key=lambda one: one.name)
    own = [f"{one.table[0]}.{one.sql} AS {one.name}" for one in ordered if not one.where]
    joins: list[str] = []
    params: dict[str, str] = {}
    for n, ((table, where), owner) in enumerate(_NARROW.items()):
        if not (mine := [one for one in ordered if one.where and one.table == table]):
            continue
        keys = {key: f"k{n}_{i}" for i, key in enumerate(dict.fromkeys(one.key for one in mine))}
        params |= {place: key for key, place in keys.items()}
        values = ", ".join(f"any_value({one.sql}) FILTER (key = ${keys[one.key]}) AS {one.name}" for one in mine)
        which = where.replace("key = ?", f"key IN ({', '.join(f'${place}' for place in keys.values())})")
        joins.append(
            f"""LEFT JOIN (SELECT {owner} AS owner, {values} FROM store.{table}
                WHERE {which} AND AMONG({owner}) GROUP BY 1) t{n} ON t{n}.owner = r.id"""
        )
        own += [f"t{n}.{one.name}" for one in mine]
    select = f"""
        SELECT hash(r.id) AS h, CASE WHEN r.id::UUID::VARCHAR = r.id THEN r.id::UUID ELSE error('no UUID') END AS r_id,
               {", ".join(own) or "0 AS none"}
        FROM store.run r JOIN store.experiment e ON e.id = r.experiment_id {" ".join(joins)}
        WHERE AMONG(r.id) ORDER BY r.started DESC, r.id"""
    # What an experiment is called may change, but never its number.
    shared = [one for one in ordered if one.table == "experiment" and one.sql != "number"]
    tables = ("run", *(["experiment"] if shared else []), *sorted({one.table for one in ordered if one.where}))
    return Source(tables, (ROWS, *(one.name for one in ordered)), select, tuple(params.items()))


def columns_in(room: float) -> int:
    """Return how many columns a hot row may have in the room of so many rows of a narrow table."""
    return int(3 * (room - 1))
