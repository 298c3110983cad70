"""Many runs with what was logged to them: searched, ranked, and written as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlops_tui.contracts import analysis as contract
from mlops_tui.contracts.listing import List, Table
from mlops_tui.core.errors import NotFound, Refused
from mlops_tui.core.figures import size
from mlops_tui.core.ids import uuid7
from mlops_tui.core.jsonx import ieee_word
from mlops_tui.door import Context, implements
from mlops_tui.store.listing import LISTINGS, Keys
from mlops_tui.store.search import as_key, parse_order, sheets
from mlops_tui.store.session import Session
from mlops_tui.tracking.runs.headline import lower_is_better
from mlops_tui.tracking.search import wide

MOST_BYTES = 200_000_000


@implements(contract.search, limit_s=30)
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
    metric = _as_typed(ctx.session, request.metric)
    least = request.goal == "min" or (request.goal == "auto" and lower_is_better(request.metric))
    both = " ".join(f"({part})" for part in (request.filter, f"{metric} is not null") if part)
    order = f"{metric} {'ASC' if least else 'DESC'}"
    ask = List(filter=both, sort=order, limit=request.count, columns=[metric])
    return LISTINGS["run"].select(ctx.session, ctx.tenant, ask)


def _as_typed(session: Session, metric: str) -> str:
    """Return a metric as a filter has it: in backticks where its name is no plain word.

    Raises:
        NotFound: no run has it.
    """
    text = as_key(metric)
    if Keys(LISTINGS["run"], session).field(parse_order([text])[0].key) is None:
        raise NotFound(f"no run has a metric {metric!r}", "", "mlops run show RUN names those of a run")
    return text


@implements(contract.export, limit_s=120)
def export(ctx: Context, request: contract.ExportRequest) -> contract.Exported:
    """Write runs as a table: a row a run, a column a parameter, metric and tag; or as JSON, an object a run.

    Raises:
        Refused: the file is too large to be handed over in one piece.
    """
    order = ",".join(request.order_by)
    ids = LISTINGS["run"].ids(ctx.session, ctx.tenant, request.filter, order)
    chosen = ids[: request.limit].tolist()
    path = ctx.home.store / "tmp" / f"{uuid7()}.{request.form}"  # the only folder that the database may reach
    try:
        wide.write(ctx.session, chosen, request.form, path)
        if (bytes_ := path.stat().st_size) > MOST_BYTES:
            raise Refused(
                f"{size(bytes_)} are too much for one answer", f"{len(chosen):,} runs", "a filter, or mlops export DIR"
            )
        content = path.read_bytes()
    finally:
        path.unlink(missing_ok=True)
    return contract.Exported(name=f"runs.{request.form}", content=content, rows=len(chosen), total=len(ids))


def whole(session: Session, ids: Sequence[str]) -> list[contract.FoundRun]:
    """Return runs in this order with their parameters, last metrics and tags, each by key."""
    if not ids:
        return []
    facts, params, tags = sheets.facts_of(session, ids), sheets.params_of(session, ids), sheets.tags_of(session, ids)
    metrics = sheets.metrics_of(session, ids)
    experiments = [list({one.experiment for one in facts.values()})]
    names = dict(session.rows("SELECT id, name FROM experiment WHERE id IN (SELECT unnest(?))", experiments))
    return [
        contract.FoundRun(
            id=run,
            name=one.name,
            experiment=names[one.experiment],
            status=one.status,
            started=one.started,
            ended=one.ended,
            actor=one.actor,
            host=one.host,
            git=one.git,
            note=one.note,
            params=dict(params[run]),
            tags=dict(tags[run]),
            metrics=_worded(metrics[run]),
        )
        for run in ids
        if (one := facts.get(run)) and one.experiment in names
    ]


def _worded(metrics: Sequence[sheets.Latest]) -> dict[str, float | str | None]:
    return {one.key: last if (last := one.last) is None or math.isfinite(last) else ieee_word(last) for one in metrics}
