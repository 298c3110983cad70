"""Looking at runs: whole, their curves, their log, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from mlops_tui.contracts import run as contract
from mlops_tui.core.jsonx import ieee_word
from mlops_tui.door import Context, implements
from mlops_tui.jobs.log import read_log
from mlops_tui.spool.usage import PREFIX as SYSTEM
from mlops_tui.store import series
from mlops_tui.store.session import Session
from mlops_tui.tracking.runs.find import find_run

_SHOWN = (
    "id", "name", "experiment", "kind", "status", "started", "ended", "heartbeat", "host", "pid", "actor", "command",
    "git_sha", "git_dirty", "error", "note",
)  # fmt: skip
_LOGGED = "SELECT name, id, status FROM logged_model WHERE run_id = ? AND deleted IS NULL ORDER BY created, name"


MOST_METRICS = 5_000
"""Metrics of a run that are shown with it, by name."""
MOST_PARAMS = 5_000
"""Parameters of a run that are shown with it, in the order they were given."""


@implements(contract.show)
def show(ctx: Context, request: contract.OneRun) -> contract.Run:
    """Show a run whole."""
    row, session = find_run(ctx.session, ctx.tenant, request.run), ctx.session
    run = row["id"]
    artifacts = session.dicts("SELECT path, digest, size FROM run_artifact WHERE run = ? ORDER BY path", [run])
    used = session.dicts("SELECT name, digest, context FROM run_data WHERE run = ? ORDER BY ts, name", [run])
    return contract.Run(
        **{key: row[key] for key in _SHOWN},
        parent=row["parent_id"],
        job=row["job_id"],
        deleted=row["deleted"] is not None,
        params=(params := params_of(session, run, MOST_PARAMS)),
        more_params=_other_params(session, run) if len(params) == MOST_PARAMS else None,
        tags=dict(session.rows("SELECT key, value FROM tag WHERE object = ? ORDER BY key", [run])),
        metrics=(metrics := metrics_of(session, run, limit=MOST_METRICS)),
        more_metrics=_others(session, run) if len(metrics) == MOST_METRICS else None,
        system=metrics_of(session, run, SYSTEM),
        artifacts=[contract.ArtifactRef(**one) for one in artifacts],
        datasets=[contract.UsedData(**one) for one in used],
        models=models_of(session, run),
        logged=[contract.MadeModel(**one) for one in session.dicts(_LOGGED, [run])],
        children=session.value("SELECT count(*) FROM run WHERE parent_id = ? AND deleted IS NULL", [run]) or None,
        facts=msgspec.json.decode(row["facts"]),
    )


@implements(contract.curves)
def curves(ctx: Context, request: contract.CurveRequest) -> contract.Curves:
    """Read curves, down-sampled; a key that the run does not have is left out."""
    run = find_run(ctx.session, ctx.tenant, request.run)["id"]
    keys = [key for asked in request.keys or [""] for key in _keys(ctx.session, run, asked)]
    part = (request.first, request.last)
    found = [(key, series.curve(ctx.session, "run", run, key, request.points, part)) for key in keys]
    return contract.Curves(
        owner=run,
        curves=[contract.Curve(key=key, **{**curve, "n": curve["n"][0]}) for key, curve in found if curve],
    )


@implements(contract.log)
def log(ctx: Context, request: contract.LogRequest) -> contract.LogLines:
    """Read a run's own log, or that of the job that it runs in."""
    row = find_run(ctx.session, ctx.tenant, request.run)
    own = ctx.session.value("SELECT count(*) > 0 FROM log_line WHERE owner = ?", [row["id"]])
    owner = row["id"] if own or not row["job_id"] else row["job_id"]
    return read_log(ctx.session, owner, request)


@implements(contract.compare)
def compare(ctx: Context, request: contract.CompareRequest) -> contract.Comparison:
    """Put runs side by side: facts, then metrics, then parameters; what is equal in all only when asked for."""
    rows = [find_run(ctx.session, ctx.tenant, typed) for typed in request.runs]
    tables = [
        ("run", [_facts_of(ctx.session, row) for row in rows]),
        ("metric", [{one.key: _number(one) for one in metrics_of(ctx.session, row["id"])} for row in rows]),
        ("param", [params_of(ctx.session, row["id"]) for row in rows]),
    ]
    lines = [line for what, columns in tables for line in _lines(what, columns)]
    return contract.Comparison(
        runs=[row["id"] for row in rows],
        names=[row["name"] for row in rows],
        rows=[line for line in lines if request.all or not line.same],
    )


def params_of(session: Session, run: str, most: int | None = None) -> dict[str, str]:
    """Return a run's parameters in the order they were given, at most so many."""
    return dict(session.rows("SELECT key, value FROM param WHERE run = ? ORDER BY rowid LIMIT ?", [run, most]))


def models_of(session: Session, run: str) -> list[str]:
    """Return the model versions that came from a run, as ``employment@3``."""
    return [name for _, name in versions_of(session, [run])]


def versions_of(session: Session, runs: Sequence[str]) -> list[tuple[str, str]]:
    """Return the model versions that came from these runs, each behind its run."""
    return session.rows(
        """SELECT v.run_id, m.name || '@' || v.version FROM model_version v JOIN model m ON m.id = v.model_id
           WHERE v.run_id IN (SELECT unnest(?)) AND v.deleted IS NULL AND m.deleted IS NULL
           ORDER BY m.name, v.version""",
        [list(runs)],
    )


def metrics_of(session: Session, run: str, below: str = "", limit: int | None = None) -> list[contract.Metric]:
    """Return the figures of a run's metrics by name; a last value that is not finite is None, and counted.

    Args:
        session: where to look.
        run: whose metrics.
        below: only those whose name begins so; default, all but the figures of the machine.
        limit: how many at most; default, all.
    """
    rows = session.dicts(
        f"""SELECT key, last, low AS min, high AS max, last_step AS step, n, nonfinite, epoch_us(last_ts) AS ts
            FROM series WHERE scope = 'run' AND owner = ? AND {"" if below else "NOT"} starts_with(key, ?)
            ORDER BY key {f"LIMIT {limit}" if limit else ""}""",
        [run, below or SYSTEM],
    )
    return [contract.Metric(**{**row, "last": _finite(row["last"])}) for row in rows]


def _others(session: Session, run: str) -> int | None:
    sql = "SELECT count(*) FROM series WHERE scope = 'run' AND owner = ? AND NOT starts_with(key, ?)"
    return int(session.value(sql, [run, SYSTEM])) - MOST_METRICS or None


def _other_params(session: Session, run: str) -> int | None:
    return int(session.value("SELECT count(*) FROM param WHERE run = ?", [run])) - MOST_PARAMS or None


def _keys(session: Session, run: str, asked: str) -> list[str]:
    """Return the metrics that are meant: one, all below a name that ends with ``/``, or all that were logged."""
    if asked and not asked.endswith("/"):
        return [asked]
    return [metric.key for metric in metrics_of(session, run, asked)]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(metric: contract.Metric) -> float | str | None:
    return metric.last if metric.last is not None or not metric.nonfinite else ieee_word(math.nan)


def _facts_of(session: Session, row: dict[str, Any]) -> dict[str, Any]:
    data = session.column("SELECT DISTINCT name FROM run_data WHERE run = ? ORDER BY name", [row["id"]])
    git = row["git_sha"][:8] + ("+" if row["git_dirty"] else "")
    return {"experiment": row["experiment"], "status": row["status"], "git": git, "data": ", ".join(data)}


def _lines(what: str, columns: list[dict[str, Any]]) -> list[contract.CompareRow]:
    keys = dict.fromkeys(key for column in columns for key in column)
    made = []
    for key in keys:
        values = [column.get(key) for column in columns]
        made.append(
            contract.CompareRow(what=what, key=key, values=values, same=all(one == values[0] for one in values))
        )
    return made
