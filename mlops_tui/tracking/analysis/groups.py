"""Runs by the values of a parameter: how many, and the mean and deviation of their metrics, over seeds for example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from mlops_tui.contracts import run as contract
from mlops_tui.contracts.listing import Column, Table
from mlops_tui.core.errors import BadInput
from mlops_tui.door import Context, implements
from mlops_tui.store.listing import LISTINGS, Keys
from mlops_tui.store.search import as_key, bring, field_of, parse_order, typed
from mlops_tui.tracking.analysis.importance import headline_of
from mlops_tui.tracking.runs.headline import lower_is_better


@implements(contract.runs)
def runs(ctx: Context, request: contract.ListRuns) -> Table:
    """List runs, or groups of them."""
    return groups(ctx, request) if request.group_by else LISTINGS["run"].select(ctx.session, ctx.tenant, request)


class _Part(NamedTuple):
    """A key that was asked for: as it is typed, what its column is called, its expression, the join that brings it."""

    typed: str
    name: str
    sql: str
    join: str
    params: tuple[Any, ...]


def groups(ctx: Context, request: contract.ListRuns) -> Table:
    """List groups of runs, the best mean of the first metric first.

    Raises:
        BadInput: a run may have several values of a key, or there is no such key or column.
    """
    condition, given = LISTINGS["run"].condition(ctx.session, ctx.tenant, request.filter)
    keys = _parts(ctx, request.group_by, "k")
    metrics = _parts(ctx, request.metrics or [*filter(None, [headline_of(ctx, condition, given)])], "m")
    columns = [Column(name=key.name, label=key.name) for key in keys]
    columns.append(Column(name="runs", label="runs", kind="int"))
    wanted = [key.sql for key in keys] + ["count(*)"]
    for metric in metrics:
        finite = f"FILTER (isfinite({metric.sql}::DOUBLE))"
        columns.append(Column(name=metric.name, label=f"mean {metric.name}", kind="float"))
        columns.append(Column(name=f"{metric.name}.std", label="±", kind="float"))
        wanted += [f"avg({metric.sql}) {finite}", f"stddev_samp({metric.sql}) {finite}"]
    rows = ctx.session.rows(
        f"""SELECT {", ".join(wanted)} FROM {LISTINGS["run"].source} {" ".join(part.join for part in (*keys, *metrics))}
            WHERE {condition} GROUP BY {", ".join(key.sql for key in keys)}""",
        [*(param for part in (*keys, *metrics) for param in part.params), *given],
    )
    first = metrics[0].name if metrics else "runs"
    default = first if metrics and lower_is_better(first) else f"-{first}"
    _sort(rows, [column.name for column in columns], request.sort or default)
    page = rows[request.offset : request.offset + request.limit]
    return Table(
        noun="run",
        columns=[Column(name="group", label="group"), *columns],
        rows=[[_filter(keys, row), *row] for row in page],
        total=len(rows),
    )


def _parts(ctx: Context, texts: Sequence[str], prefix: str) -> list[_Part]:
    resolver, made = Keys(LISTINGS["run"], ctx.session), []
    for n, by in enumerate(parse_order([as_key(text) for text in texts])):
        field = field_of(by.query, by.key, resolver, "column")
        if field.many:
            raise by.query.wrong(by.key.at, f"a run may have several values of {by.key.raw!r}")
        name = f"{by.key.figure}({by.key.name})" if by.key.figure else by.key.name
        join, (sql,) = bring(f"{prefix}{n}", field, [field.sql], resolver)
        made.append(_Part(typed(by.key.raw), name, sql, join, field.params if join else ()))
    return made


def _filter(keys: Sequence[_Part], row: Sequence[Any]) -> str:
    """Return the filter that finds a group's runs."""
    parts = []
    for key, value in zip(keys, row, strict=False):
        text = str(value).replace("'", "''")
        parts.append(f"{key.typed} is null" if value is None else f"{key.typed}='{text}'")
    return " ".join(parts)


def _sort(rows: list[tuple[Any, ...]], names: list[str], sort: str) -> None:
    """Sort by a column: numbers as numbers, also where they are text, what is missing last."""
    name, down = sort.removeprefix("-"), sort.startswith("-")
    if name not in names:
        raise BadInput(f"cannot sort groups by {name!r}", "there is no such column", "one of: " + ", ".join(names))
    at = names.index(name)

    def place(row: tuple[Any, ...]) -> tuple[int, float, str]:
        try:
            number = float(row[at])
        except (TypeError, ValueError):
            return 1, 0.0, str(row[at])
        return 0, -number if down else number, ""

    rows.sort(key=lambda row: str(row))
    rows.sort(key=lambda row: place(row)[2], reverse=down)
    rows.sort(key=lambda row: (row[at] is None or row[at] != row[at] or math.isnan(place(row)[1]), place(row)[:2]))
