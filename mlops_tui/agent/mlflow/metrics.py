"""The values of metrics: of one run whole or in pages, of several, and thinned out for a chart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from mlops_tui.agent.mlflow.coding import Ask, number
from mlops_tui.agent.mlflow.errors import invalid
from mlops_tui.agent.mlflow.pages import Slice
from mlops_tui.agent.mlflow.router import Call, route
from mlops_tui.agent.mlflow.runs import OneRun
from mlops_tui.core.ids import dashed
from mlops_tui.store.session import Session

MAX_BULK, MAX_RUNS, THINNED = 25_000, 100, 2500
"""Values of all runs and runs in one answer; values of one run in a thinned one unless it says how many."""


class History(OneRun):
    """``metrics/get-history``."""

    required = ("metric_key",)
    metric_key: str | None = None
    max_results: int | None = None
    page_token: str | None = None


class Bulk(Ask):
    """``metrics/get-history-bulk``; the runs come as ``run_id``, several times."""

    run_id: list[str] | None = None
    metric_key: str | None = None
    max_results: int | None = None


class Interval(Ask):
    """``metrics/get-history-bulk-interval``."""

    required = ("run_ids", "metric_key")
    run_ids: list[str] | None = None
    metric_key: str | None = None
    start_step: int | None = None
    end_step: int | None = None
    max_results: int | None = None


class Value(msgspec.Struct, omit_defaults=True):
    """One value as the wire shows it; a Struct is made and written several times as fast as a dict."""

    key: str
    value: float | str
    timestamp: int
    step: int = -(2**63)
    run_id: str | None = None


_ORDERED = """
SELECT value, epoch_us(ts) // 1000 AS ms, step FROM point WHERE sid = ? ORDER BY ms, step, value LIMIT ? OFFSET ?
"""
_BY_STEP = """
SELECT value, epoch_us(ts) // 1000 AS ms, step FROM point
WHERE sid = $sid AND ($low IS NULL OR step BETWEEN $low AND $high) ORDER BY step, ts, value
"""


@route("GET", "metrics/get-history", History)
def history(call: Call, ask: History) -> dict[str, Any]:
    """Show every value of a metric, in the order of time; none where there is no such run."""
    if ask.max_results is not None and ask.max_results <= 0:
        rule = "It must be a positive integer."
        raise invalid(f"Invalid value {ask.max_results} for parameter 'max_results' supplied. {rule}")
    run = dashed(ask.run)
    part = Slice.of(ask.page_token, ask.max_results or 2**62)
    call.journal.drain(run)
    with call.reading("run:read") as session:
        sid, n = _series(session, call.caller.tenant, run, ask.metric_key)
        values = call.histories.of(session, sid, n)
    end = min(n, part.offset + part.size + 1)
    rows = zip(*(column[part.offset : end].tolist() for column in values), strict=True)
    return part.answer("metrics", _values(ask.metric_key or "", rows))


@route("GET", "metrics/get-history-bulk", Bulk)
def bulk(call: Call, ask: Bulk) -> dict[str, Any]:
    """Show the values of a metric of several runs, run by run."""
    runs, most = sorted(ask.run_id or []), min(MAX_BULK, MAX_BULK if ask.max_results is None else ask.max_results)
    if not runs:
        raise invalid("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(runs) > MAX_RUNS:
        raise invalid(f"GetMetricHistoryBulk request cannot specify more than {MAX_RUNS} run_ids; {len(runs)} came.")
    if ask.metric_key is None:
        raise invalid("GetMetricHistoryBulk request must specify a metric_key.")
    if most < 0:
        raise invalid(f"Invalid value {most} for parameter 'max_results' supplied. It must not be negative.")
    found: list[Value] = []
    for run in map(dashed, runs):
        call.journal.drain(run)
        with call.reading("run:read") as session:
            rows = session.rows(
                _ORDERED, [_series(session, call.caller.tenant, run, ask.metric_key)[0], most - len(found), 0]
            )
        found += _values(ask.metric_key, rows, run)
    return {"metrics": found}


@route("GET", "metrics/get-history-bulk-interval", Interval)
def interval(call: Call, ask: Interval) -> dict[str, Any]:
    """Show the values of a metric of several runs, evenly thinned out; the first and the last of each stay.

    A run that is not there has none.
    """
    most = THINNED if ask.max_results is None else ask.max_results
    if len(ask.run_ids or []) > MAX_RUNS:
        raise invalid(f"GetMetricHistoryBulkInterval request must specify at most {MAX_RUNS} run_ids.")
    if not 1 <= most <= THINNED:
        raise invalid(f"max_results must be between 1 and {THINNED}.")
    if (ask.start_step is None) != (ask.end_step is None):
        raise invalid("If either start step or end step are specified, both must be specified.")
    if ask.start_step is not None and ask.end_step is not None and ask.start_step > ask.end_step:
        raise invalid(f"end_step must be greater than start_step. They are {ask.end_step} and {ask.start_step}.")
    found: list[Value] = []
    for run in map(dashed, ask.run_ids or []):
        call.journal.drain(run)
        with call.reading("run:read") as session:
            sid, _ = _series(session, call.caller.tenant, run, ask.metric_key)
            rows = session.rows(_BY_STEP, {"sid": sid, "low": ask.start_step, "high": ask.end_step})
        found += _values(ask.metric_key or "", [rows[index] for index in _thinned(len(rows), most)], run)
    return {"metrics": found} if found else {}


def _thinned(n: int, most: int) -> list[int]:
    """Return which of n rows stay: the first of each of so many equal parts, and the last of all."""
    parts = min(n, most)
    if not parts:
        return []
    size, larger = divmod(n, parts)
    first = [part * size + min(part, larger) for part in range(parts)]
    if first[-1] != n - 1:
        first[-1:] = [n - 1] if parts >= most else [first[-1], n - 1]
    return first


def _series(session: Session, tenant: str, run: str, key: str | None) -> tuple[int, int]:
    """Return id and length of a series; 0 and 0 where there is none."""
    found = session.row(
        """SELECT s.sid, s.n FROM series s JOIN run r ON r.id = s.owner
           WHERE s.scope = 'run' AND s.owner = ? AND s.key = ? AND r.tenant = ?""",
        [run, key, tenant],
    )
    return found or (0, 0)


def _values(key: str, rows: Iterable[tuple[float, int, int]], run: str | None = None) -> list[Value]:
    shown = run.replace("-", "") if run else None
    return [Value(key, number(value), ms, step, shown) for value, ms, step in rows]
