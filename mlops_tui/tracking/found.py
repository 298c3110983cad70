"""Many runs with what was logged to them: searched, ranked, and written as a table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from mlops_tui.contracts import analysis as contract
from mlops_tui.contracts.listing import List, Table
from mlops_tui.core.clock import SECOND
from mlops_tui.core.ids import uuid7
from mlops_tui.core.jsonx import ieee_word
from mlops_tui.door import Context, implements
from mlops_tui.store.listing import LISTINGS
from mlops_tui.store.search import sheets
from mlops_tui.store.session import Session
from mlops_tui.tracking.headline import lower_is_better

_FACTS = """
SELECT r.id, r.name, e.name AS experiment, r.status, epoch_us(r.started) AS started, epoch_us(r.ended) AS ended,
       r.actor, r.host, r.git_sha AS git, r.note
FROM run r JOIN experiment e ON e.id = r.experiment_id WHERE r.id IN (SELECT unnest(?))
"""


@implements(contract.search)
def search(ctx: Context, request: contract.SearchRuns) -> contract.FoundRuns:
    """Search runs by the one language, page by page."""
    runs = LISTINGS["run"]
    sheets.prepare(ctx.session)
    ids, token = runs.after(
        ctx.session, ctx.tenant, request.filter, ",".join(request.order_by), request.limit, request.token
    )
    return contract.FoundRuns(runs=whole(ctx.session, ids), next=token)


@implements(contract.best)
def best(ctx: Context, request: contract.BestRun) -> Table:
    """List the runs that have the metric, the best first; NaN is never best."""
    least = request.goal == "min" or (request.goal == "auto" and lower_is_better(request.metric))
    both = " ".join(f"({part})" for part in (request.filter, f"{request.metric} is not null") if part)
    order = f"{request.metric} {'ASC' if least else 'DESC'}"
    ask = List(filter=both, sort=order, limit=request.count, columns=[request.metric])
    return LISTINGS["run"].select(ctx.session, ctx.tenant, ask)


@implements(contract.export)
def export(ctx: Context, request: contract.ExportRequest) -> contract.Exported:
    """Write runs as a table: a row a run, a column a parameter, metric and tag."""
    order = ",".join(request.order_by)
    ids = LISTINGS["run"].ids(ctx.session, ctx.tenant, request.filter, order)
    runs = whole(ctx.session, ids[: request.limit].tolist())
    content = _FORMS[request.form](ctx, runs)
    return contract.Exported(name=f"runs.{request.form}", content=content, rows=len(runs), total=len(ids))


def whole(session: Session, ids: list[str]) -> list[contract.FoundRun]:
    """Return runs in this order with their parameters, last metrics and tags, each by key."""
    if not ids:
        return []
    params, tags, metrics = (
        sheets.params_of(session, ids),
        sheets.tags_of(session, ids),
        sheets.metrics_of(session, ids),
    )
    facts = {row["id"]: row for row in session.dicts(_FACTS, [ids])}
    return [
        contract.FoundRun(**facts[run], params=dict(params[run]), tags=dict(tags[run]), metrics=_worded(metrics[run]))
        for run in ids
        if run in facts
    ]


def _worded(metrics: Sequence[sheets.Latest]) -> dict[str, float | str | None]:
    return {one.key: last if (last := one.last) is None or math.isfinite(last) else ieee_word(last) for one in metrics}


def _columns(runs: Sequence[contract.FoundRun]) -> dict[str, list[Any]]:
    """Return runs as columns; text and times as people read them, figures as numbers."""
    facts = ("id", "name", "experiment", "status", "actor", "host", "git", "note")
    columns: dict[str, list[Any]] = {name: [getattr(run, name) for run in runs] for name in facts}
    columns["started_us"] = [run.started for run in runs]
    columns["ended_us"] = [run.ended for run in runs]
    columns["duration_s"] = [(run.ended - run.started) / SECOND if run.ended else None for run in runs]
    for part in ("params", "metrics", "tags"):
        for key in dict.fromkeys(key for run in runs for key in getattr(run, part)):
            columns[f"{part}.{key}"] = [_number(getattr(run, part).get(key), part) for run in runs]
    return columns


def _number(value: Any, part: str) -> Any:
    return float(value) if part == "metrics" and value is not None else value


def _csv(_: Context, runs: Sequence[contract.FoundRun]) -> bytes:
    sink, columns = io.StringIO(), _columns(runs)
    write = csv.writer(sink, lineterminator="\n").writerow
    write(columns)
    for row in zip(*columns.values(), strict=True):
        write(["" if value is None else value for value in row])
    return sink.getvalue().encode()


def _json(_: Context, runs: Sequence[contract.FoundRun]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(runs), indent=2) + b"\n"


def _parquet(ctx: Context, runs: Sequence[contract.FoundRun]) -> bytes:
    """Write a file in the store's own folder, the only one that the database may reach, and take it back."""
    path = ctx.home.store / "tmp" / f"{uuid7()}.parquet"
    columns = _columns(runs)
    batch = {f"c{i}{'_us' if name.endswith('_us') else ''}": column for i, (name, column) in enumerate(columns.items())}
    try:
        with ctx.session.incoming(batch) as wanted:
            names = [name.removesuffix("_us").replace('"', '""') for name in columns]
            chosen = ", ".join(f'{sql} AS "{name}"' for sql, name in zip(wanted, names, strict=True))
            ctx.session.execute(f"COPY (SELECT {chosen} FROM incoming) TO '{path}' (FORMAT parquet)")
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


_FORMS = {"csv": _csv, "json": _json, "parquet": _parquet}
