"""What the columns of a data file look like, and how two files differ. Pure: knows no store."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.data.online.duck import open_locked, quote
from mlops_tui.data.schema import Column, Table, ask, count_rows, probe

BINS = 20
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TOP = 20
# above this many rows exact quantiles and distinct counts would hold the column in memory; the profile then says so
EXACT_ROWS = 5_000_000
_NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "UTINYINT",
    "USMALLINT",
)
_FLOATS = ("FLOAT", "DOUBLE")


class ColumnProfile(msgspec.Struct, kw_only=True):
    """One column. Statistics are over its finite values and None where there are none.

    Attributes:
        name: the column.
        type: its DuckDB type.
        n: rows.
        nulls: rows without a value.
        nonfinite: rows with NaN or an infinity.
        distinct: different values; estimated in files of more than ``EXACT_ROWS`` rows.
        min: smallest value, as text for what is not a number.
        max: largest value, likewise.
        mean: arithmetic mean.
        std: standard deviation (n − 1).
        quantiles: value by probability, ``"0.5"`` is the median.
        top: most frequent values with their counts; empty for numbers with more than 50 different values.
        edges: ``bins + 1`` edges of equally wide bins from min to max.
        counts: rows in each bin.
    """

    name: str
    type: str
    n: int
    nulls: int
    distinct: int
    nonfinite: int = 0
    min: float | str | None = None
    max: float | str | None = None
    mean: float | None = None
    std: float | None = None
    quantiles: dict[str, float] = {}
    top: list[tuple[str, int]] = []
    edges: list[float] = []
    counts: list[int] = []

    @property
    def numeric(self) -> bool:
        """Whether the column holds numbers."""
        return _is_number(self.type)


class Profile(msgspec.Struct, kw_only=True):
    """A file's columns; ``exact`` is False where quantiles and distinct counts are estimated."""

    rows: int
    columns: list[ColumnProfile]
    exact: bool = True


class Change(msgspec.Struct, kw_only=True):
    """One difference between two profiles.

    Attributes:
        column: the column; empty for the file as a whole.
        kind: rows, added, removed, type, nulls, range, shift, spread or values.
        before: the base's figure.
        after: the other's figure.
        size: how large it is on the kind's own scale, for sorting; 0 where there is no scale.
        text: the difference in words.
    """

    column: str
    kind: str
    before: float | str | None
    after: float | str | None
    size: float
    text: str


def profile(path: Path) -> Profile:
    """Profile a data file in three passes: statistics, histograms, frequent values.

    Raises:
        NotFound: no such file.
        BadInput: not a data file, damaged, or without rows.
    """
    con = open_locked([path])
    try:
        table = probe(con, path)
        rows = count_rows(con, table, path)
        columns = [_statistics(con, table, column, rows, path) for column in table.columns]
        for column in columns:
            _histogram(con, table, column, path)
            _top(con, table, column, path)
        return Profile(rows=rows, columns=columns, exact=rows <= EXACT_ROWS)
    finally:
        con.close()


def _is_number(kind: str) -> bool:
    return kind.partition("(")[0] in _NUMBERS


def _statistics(con: Any, table: Table, column: Column, rows: int, path: Path) -> ColumnProfile:
    name = quote(column.name)
    # approx_count_distinct was 33 % off on 96 ages (DuckDB 1.5.5), so it stands in only where exact costs memory
    distinct_of = "count(DISTINCT {})" if rows <= EXACT_ROWS else "approx_count_distinct({})"
    counts = f"count({name}), {distinct_of.format(name)}"
    if not _is_number(column.type):
        sql = f"SELECT {counts}, min(CAST({name} AS VARCHAR)), max(CAST({name} AS VARCHAR)) FROM {table.relation}"
        present, distinct, low, high = ask(con, sql, path)[0]
        found = ColumnProfile(name=column.name, type=column.type, n=rows, nulls=rows - present, distinct=distinct)
        found.min, found.max = low, high
        return found
    value = f"CAST({name} AS DOUBLE)"
    finite = f"FILTER (WHERE isfinite({value}))"
    quantile = "quantile_cont" if rows <= EXACT_ROWS else "approx_quantile"
    sql = (
        f"SELECT {counts}, count(*) {finite}, min({value}) {finite}, max({value}) {finite}, avg({value}) {finite},"
        f" stddev_samp({value}) {finite}, {quantile}({value}, {list(QUANTILES)}) {finite} FROM {table.relation}"
    )
    present, distinct, good, low, high, mean, std, quantiles = ask(con, sql, path)[0]
    return ColumnProfile(
        name=column.name,
        type=column.type,
        n=rows,
        nulls=rows - present,
        nonfinite=present - good,
        distinct=distinct,
        min=low,
        max=high,
        mean=mean,
        std=std,
        quantiles={str(q): v for q, v in zip(QUANTILES, quantiles or (), strict=False)},
    )


def _histogram(con: Any, table: Table, column: ColumnProfile, path: Path) -> None:
    low, high = column.min, column.max
    if not isinstance(low, float) or not isinstance(high, float):
        return
    width = (high - low) / BINS
    if not math.isfinite(width):
        return
    value = f"CAST({quote(column.name)} AS DOUBLE)"
    at = f"least({BINS - 1}, CAST(floor(({value} - {low!r}) / {width!r}) AS BIGINT))" if width else "0"
    sql = f"SELECT {at} AS bin, count(*) FROM {table.relation} WHERE isfinite({value}) GROUP BY bin"
    found = dict(ask(con, sql, path))
    column.edges = [low + width * i for i in range(BINS)] + [high]
    column.counts = [found.get(i, 0) for i in range(BINS)]


def _top(con: Any, table: Table, column: ColumnProfile, path: Path) -> None:
    if column.numeric and column.distinct > 50:
        return
    name = quote(column.name)
    sql = (
        f"SELECT CAST({name} AS VARCHAR) AS value, count(*) AS n FROM {table.relation} WHERE {name} IS NOT NULL"
        f" GROUP BY value ORDER BY n DESC, value LIMIT {TOP}"
    )
    column.top = [(value, n) for value, n in ask(con, sql, path)]


def diff(base: Profile, other: Profile) -> list[Change]:
    """Return what changed from ``base`` to ``other``: schema first, then statistics, the largest first.

    A shift is the difference of means in standard deviations of the base, a change of values the total variation
    distance over the frequent ones. Differences of less than 0.01 on either scale are not listed. This describes two
    files; whether a difference is more than chance is the question of the drift monitors.
    """
    old, new = {c.name: c for c in base.columns}, {c.name: c for c in other.columns}
    changes = (
        []
        if base.rows == other.rows
        else [_change("", "rows", base.rows, other.rows, f"{other.rows - base.rows:+,} rows")]
    )
    changes += [_change(n, "removed", old[n].type, None, f"{n} is gone") for n in old if n not in new]
    changes += [_change(n, "added", None, new[n].type, f"{n} is new ({new[n].type})") for n in new if n not in old]
    statistics: list[Change] = []
    for name in old:
        if name not in new:
            continue
        a, b = old[name], new[name]
        if a.type != b.type:
            changes.append(_change(name, "type", a.type, b.type, f"{name} was {a.type}, is {b.type}"))
        else:
            statistics += _column_diff(a, b)
    return changes + sorted(statistics, key=lambda change: -change.size)


def _column_diff(a: ColumnProfile, b: ColumnProfile) -> list[Change]:
    found = []
    share_a, share_b = a.nulls / max(a.n, 1), b.nulls / max(b.n, 1)
    if abs(share_a - share_b) >= 0.01:
        text = f"{a.name}: nulls {share_a:.1%} → {share_b:.1%}"
        found.append(_change(a.name, "nulls", share_a, share_b, text, abs(share_a - share_b)))
    if a.mean is not None and b.mean is not None:
        scale = a.std or abs(a.mean) or 1.0
        if (shift := (b.mean - a.mean) / scale) and abs(shift) >= 0.01:
            text = f"{a.name}: mean {a.mean:.4g} → {b.mean:.4g} ({shift:+.2f} σ)"
            found.append(_change(a.name, "shift", a.mean, b.mean, text, abs(shift)))
        if a.std and b.std and abs(math.log(b.std / a.std)) >= 0.05:
            text = f"{a.name}: standard deviation {a.std:.4g} → {b.std:.4g}"
            found.append(_change(a.name, "spread", a.std, b.std, text, abs(math.log(b.std / a.std))))
    if a.numeric and (a.min, a.max) != (b.min, b.max):
        before, after = f"{a.min}…{a.max}", f"{b.min}…{b.max}"
        found.append(_change(a.name, "range", before, after, f"{a.name}: range {before} → {after}"))
    if a.top and b.top and (moved := _variation(a, b)) >= 0.01:
        text = f"{a.name}: {moved:.1%} of rows hold another value"
        found.append(_change(a.name, "values", a.top[0][0], b.top[0][0], text, moved))
    return found


def _variation(a: ColumnProfile, b: ColumnProfile) -> float:
    """Total variation distance ½ Σ |p − q| over the values frequent in either; the rest counts as one value."""
    here, there = dict(a.top), dict(b.top)
    p = {value: n / max(a.n - a.nulls, 1) for value, n in here.items()}
    q = {value: n / max(b.n - b.nulls, 1) for value, n in there.items()}
    both = set(p) & set(q) if max(len(here), len(there)) >= TOP else set(p) | set(q)
    gaps = [p.get(v, 0.0) - q.get(v, 0.0) for v in both]
    rest = (1 - sum(p[v] for v in both if v in p)) - (1 - sum(q[v] for v in both if v in q))
    return (sum(map(abs, gaps)) + abs(rest)) / 2


def _change(
    column: str, kind: str, before: float | str | None, after: float | str | None, text: str, size: float = 0.0
) -> Change:
    return Change(column=column, kind=kind, before=before, after=after, size=size, text=text)
