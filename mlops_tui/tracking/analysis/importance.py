"""What a metric hangs on: a forest over the parameters of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mlops_tui.contracts import analysis as contract
from mlops_tui.core.errors import BadInput
from mlops_tui.core.figures import number
from mlops_tui.door import Context, implements
from mlops_tui.stats import forest
from mlops_tui.store.listing import LISTINGS
from mlops_tui.store.search import as_key, typed
from mlops_tui.store.session import Session
from mlops_tui.tracking.runs.headline import lower_is_better

_MANY = 20
"""So many times as many runs as are wanted are too many to look at each."""
ENOUGH, MOST, WIDEST = 10, 600, 60
"""Runs that are needed, runs that are looked at, parameters that are looked at."""

METHOD = (
    f"permutation importance over the out-of-bag runs of {forest.TREES} regression trees (Breiman 2001);"
    " shares of what all parameters explain"
)


class Sweep(NamedTuple):
    """Runs with a finite metric: ids, the metric, and the parameters that differ, None where a run has none.

    ``total`` counts the runs that fit, of which these may be a sample.
    """

    ids: list[str]
    y: Any
    params: dict[str, list[str | None]]
    total: int


@implements(contract.importance)
def importance(ctx: Context, request: contract.ImportanceRequest) -> contract.ImportanceAnswer:
    """Say which parameters a metric hangs on."""
    sweep = sweep_of(ctx, request.metric, request.filter, MOST)
    if len(sweep.ids) < ENOUGH:
        raise BadInput(
            "there are too few runs to say what matters",
            f"{len(sweep.ids)} have a finite {request.metric}, {ENOUGH} are needed",
            "widen the filter, or run more",
        )
    if not sweep.params:
        raise BadInput("no parameter differs between these runs", "", "mlops run list --group-by seed")
    return ranked(sweep, request.metric)


@implements(contract.trials)
def trials(ctx: Context, request: contract.TrialsRequest) -> contract.Trials:
    """List runs as what was tried; the best come first."""
    runs = LISTINGS["run"]
    condition, given = runs.condition(ctx.session, ctx.tenant, request.filter)
    metric = request.metric or headline_of(ctx, condition, given)
    least = lower_is_better(metric)
    if not metric:
        return contract.Trials(metric="", lower_is_better=False, runs=[], names=[], values=[], params={}, total=0)
    sweep = sweep_of(ctx, metric, request.filter, request.limit)
    names = dict(ctx.session.rows("SELECT id, name FROM run WHERE id IN (SELECT unnest(?))", [sweep.ids]))
    order = sorted(range(len(sweep.ids)), key=lambda i: sweep.y[i], reverse=not least)
    return contract.Trials(
        metric=metric,
        lower_is_better=least,
        runs=[sweep.ids[i] for i in order],
        names=[names[sweep.ids[i]] for i in order],
        values=[float(sweep.y[i]) for i in order],
        params={key: [values[i] for i in order] for key, values in list(sweep.params.items())[:WIDEST]},
        total=sweep.total,
    )


def headline_of(ctx: Context, condition: str, given: list[Any]) -> str:
    """Return the metric that stands for most of the runs of a condition, as it is typed; empty if there is none."""
    sql = f"SELECT mode(r.metric) FROM {LISTINGS['run'].source} WHERE r.metric <> '' AND {condition}"
    found = ctx.session.value(sql, given)
    return typed(f"metrics.{found}") if found else ""


def ranked(sweep: Sweep, metric: str) -> contract.ImportanceAnswer:
    """Rank the parameters of a sweep by how much its metric hangs on them."""
    names = list(sweep.params)[:WIDEST]
    figures = {name: as_numbers(sweep.params[name]) for name in names}
    leaning = forest.lean([_column(sweep.params[name], figures[name]) for name in names], sweep.y)
    least = lower_is_better(metric)
    params = [
        contract.ParamImportance(
            param=name,
            importance=float(share),
            error=float(error),
            correlation=None if (found := figures[name]) is None else _spearman(found, sweep.y),
            values=len(set(sweep.params[name])),
            best=_best(sweep.params[name], figures[name], sweep.y, least),
        )
        for name, share, error in zip(names, leaning.shares, leaning.errors, strict=True)
    ]
    params.sort(key=lambda one: -one.importance)
    return contract.ImportanceAnswer(
        metric=metric, runs=len(sweep.ids), explained=leaning.explained, method=METHOD, params=params
    )


def sweep_of(ctx: Context, metric: str, filter: str, limit: int) -> Sweep:
    """Return the runs of a filter that have a finite metric, a sample of them when there are more than ``limit``.

    Raises:
        BadInput: the filter cannot be read, or there is no such metric.
    """
    runs = LISTINGS["run"]
    figure = next(iter(runs.more(ctx.session, [metric])), None)
    if figure is None or figure.column.kind not in ("float", "int", "duration"):
        raise BadInput(f"{metric!r} is no figure of a run", "", "name a metric: loss, metrics.`val auc`, min(loss)")
    found = runs.ids(ctx.session, ctx.tenant, filter, "", f"{as_key(metric)} is not null")
    # Of very many only some are looked at more closely: then those whose metric is not finite are counted too.
    many = len(found) > _MANY * limit
    some: list[str] = _sample(found, 2 * limit).tolist() if many else found.tolist()
    values = figure.of(ctx.session, runs, some)
    finite = [run for run in some if math.isfinite(values[run])]
    total = len(found) if many else len(finite)
    ids = _sample(finite, limit)
    return Sweep(ids, np.array([values[run] for run in ids], dtype=np.float64), _differing(ctx.session, ids), total)


def _sample(ids: Any, limit: int) -> Any:
    """Return at most ``limit`` of these, in their order, the same ones each time."""
    if len(ids) <= limit:
        return ids
    chosen = np.sort(np.random.default_rng(0).choice(len(ids), limit, replace=False))
    return ids[chosen] if isinstance(ids, np.ndarray) else [ids[i] for i in chosen]


def as_numbers(values: Sequence[str | None]) -> list[float] | None:
    """Return texts as finite numbers, or None when one of them is none."""
    try:
        found = [float(value) for value in values if value is not None]
    except ValueError:
        return None
    return found if len(found) == len(values) and all(map(math.isfinite, found)) else None


def _differing(session: Session, ids: list[str]) -> dict[str, list[str | None]]:
    place = {run: i for i, run in enumerate(ids)}
    found: dict[str, list[str | None]] = {}
    sql = "SELECT run, key, value FROM param WHERE run IN (SELECT unnest(?)) ORDER BY key"
    for run, key, value in session.rows(sql, [ids]):
        found.setdefault(key, [None] * len(ids))[place[run]] = value
    differing = {key: values for key, values in found.items() if len(set(values)) > 1}
    return dict(sorted(differing.items(), key=lambda item: item[1].count(None)))


def _column(values: Sequence[str | None], figures: list[float] | None) -> forest.Column:
    if figures is not None:
        return forest.numbers(figures)
    return forest.words(["" if value is None else value for value in values])


def _spearman(x: Sequence[float], y: Any) -> float:
    ranks = [_ranks(np.asarray(x)), _ranks(y)]
    spread = ranks[0].std() * ranks[1].std()
    return float(np.mean((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())) / spread) if spread else 0.0


def _ranks(values: Any) -> Any:
    """Return ranks; equals share their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def _best(values: Sequence[str | None], figures: list[float] | None, y: Any, least: bool) -> str:
    """Return the value with the best mean; of many numbers, the quarter of them."""
    if figures is not None and len(set(figures)) > 8:
        edges = np.quantile(figures, [0, 0.25, 0.5, 0.75, 1])
        quarter = np.clip(np.searchsorted(edges, figures, side="right") - 1, 0, 3)
        labels = [f"{number(float(edges[i]))}..{number(float(edges[i + 1]))}" for i in quarter]
    else:
        labels = ["(none)" if value is None else value for value in values]
    groups: dict[str, list[float]] = {}
    for label, value in zip(labels, y, strict=True):
        groups.setdefault(label, []).append(float(value))
    means = {label: sum(group) / len(group) for label, group in groups.items()}
    return (min if least else max)(means, key=lambda label: means[label])
