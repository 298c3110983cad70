"""What moves: running jobs with their curve, drift of what is served, rollouts and tests with their evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from mlops_tui.contracts.agent import DriftLine, JobLine, TrafficLine
from mlops_tui.deploy.rollout.file import kept
from mlops_tui.deploy.rollout.machine import TERMINAL
from mlops_tui.door import Context

SPARK, SHOWN = 24, 12
_WORST = "list_position(['drift', 'warn', 'ok'], r.verdict) NULLS LAST"


class Evidence(NamedTuple):
    """The newest look at one event of a rollout: bad rows and rows of each side, log e-value of harm."""

    event: str
    bad_canary: float
    n_canary: int
    bad_stable: float
    n_stable: int
    log_e_harm: float


def running(ctx: Context) -> list[dict[str, Any]]:
    """Return running jobs and runs that run without a job, newest first, then queued jobs."""
    return ctx.session.dicts(
        """
        SELECT * FROM (
          SELECT 'job:' || j.id AS link, j.id, j.name, j.kind,
            CASE WHEN j.stopping IS NULL THEN j.status ELSE 'stopping' END AS status,
            epoch_us(coalesce(j.started, j.created)) AS started, j.progress,
            j.run_id AS run, coalesce(r.metric, '') AS metric, r.value
          FROM job j LEFT JOIN run r ON r.id = j.run_id
          WHERE j.tenant = $tenant AND j.status IN ('running', 'queued')
          UNION ALL
          SELECT 'run:' || id, id, name, kind, status, epoch_us(started), NULL, id, metric, value FROM run
          WHERE tenant = $tenant AND status = 'running' AND job_id IS NULL AND deleted IS NULL)
        ORDER BY status = 'queued', started DESC LIMIT $shown
        """,
        {"tenant": ctx.tenant, "shown": SHOWN},
    )


def jobs(ctx: Context, rows: Sequence[dict[str, Any]]) -> list[JobLine]:
    """Return running jobs as lines, each with the headline metric of its run."""
    series = {row["id"]: ctx.house.series.known("run", row["run"], row["metric"]) for row in rows if row["metric"]}
    wanted = [sid for sid in series.values() if sid is not None]
    curves = _sparks(ctx, wanted, min((row["started"] for row in rows), default=0))
    names = ("id", "name", "kind", "status", "started", "progress", "metric", "value", "link")
    return [JobLine(**{name: row[name] for name in names}, spark=curves.get(series.get(row["id"]), [])) for row in rows]


def _sparks(ctx: Context, sids: list[int], since: int) -> dict[int | None, list[float]]:
    """Return the mean of each series in equal parts of its steps; older points are skipped block by block."""
    if not sids:
        return {}
    rows = ctx.session.rows(
        """
        WITH p AS (SELECT sid, step, value FROM point
                   WHERE sid IN (SELECT unnest($sids)) AND sid >= $least AND ts >= make_timestamp($since)
                     AND isfinite(value)),
             w AS (SELECT sid, min(step) AS low, max(step) - min(step) + 1 AS width FROM p GROUP BY sid)
        SELECT sid, (step - low) * $parts // width AS part, avg(value) FROM p JOIN w USING (sid)
        GROUP BY 1, 2 ORDER BY 1, 2
        """,
        {"sids": sids, "least": min(sids), "since": since, "parts": SPARK},
    )
    found: dict[int | None, list[float]] = {}
    for sid, _, mean in rows:
        found.setdefault(sid, []).append(mean)
    return found


def drifts(ctx: Context) -> list[DriftLine]:
    """Return the worst feature of each watched deployment by its newest judgement, worst deployment first."""
    rows = ctx.session.dicts(
        f"""
        SELECT d.name, r.feature, r.psi, r.verdict, r.history FROM monitor m JOIN deployment d ON d.id = m.deployment_id
        LEFT JOIN drift_result r ON r.monitor_id = m.id AND r.ts = m.resulted
        WHERE m.tenant = ? AND m.removed IS NULL AND d.removed IS NULL
        QUALIFY row_number() OVER (PARTITION BY m.id ORDER BY {_WORST}, r.js DESC NULLS LAST) = 1
        ORDER BY {_WORST}, r.psi DESC NULLS LAST, d.name LIMIT ?
        """,
        [ctx.tenant, SHOWN],
    )
    return [
        DriftLine(
            deployment=row["name"],
            feature=row["feature"] or "",
            score=row["psi"],
            verdict=row["verdict"] or "nodata",
            spark=[value for value in row["history"] or [] if value is not None],
            link=f"drift:{row['name']}",
        )
        for row in rows
    ]


def rollouts(ctx: Context) -> list[dict[str, Any]]:
    """Return the newest rollout of each deployment with its state, the reason of its end, and its evidence of harm."""
    rows = ctx.session.dicts(
        """
        WITH r AS (SELECT * FROM rollout WHERE tenant = ?
                   QUALIFY row_number() OVER (PARTITION BY deployment_id ORDER BY started DESC) = 1),
             e AS (SELECT rollout_id, arg_max(state, seq) AS state, arg_max(weight, seq) AS weight,
                     arg_max(text, seq) AS text, arg_max(step, seq) AS step, arg_max(ts, seq) AS since,
                     arg_max(text, seq) FILTER (state = 'RollingBack') AS why
                   FROM rollout_event WHERE rollout_id IN (SELECT id FROM r) GROUP BY 1)
        SELECT r.id, r.strategy, r.spec, d.name AS deployment, s.label AS stable, c.label AS canary,
          e.state, e.weight, e.step, e.text, e.why, epoch_us(e.since) AS since
        FROM r JOIN e ON e.rollout_id = r.id JOIN deployment d ON d.id = r.deployment_id
        JOIN revision s ON s.deployment_id = d.id AND s.no = r.stable_no
        JOIN revision c ON c.deployment_id = d.id AND c.no = r.canary_no
        WHERE d.removed IS NULL ORDER BY r.started DESC
        """,
        [ctx.tenant],
    )
    worst = _evidence(ctx, [row["id"] for row in rows if row["state"] not in TERMINAL])
    return [{**row, "evidence": worst.get(row["id"])} for row in rows]


def _evidence(ctx: Context, ids: list[str]) -> dict[str, Evidence]:
    """Return the newest look at each rollout's most harmful event."""
    if not ids:
        return {}
    rows = ctx.session.rows(
        """
        SELECT rollout_id, event, bad_canary, n_canary, bad_stable, n_stable, log_e_harm FROM rollout_look
        WHERE rollout_id IN (SELECT unnest(?))
        QUALIFY row_number() OVER (PARTITION BY rollout_id, event ORDER BY look DESC) = 1 ORDER BY log_e_harm
        """,
        [ids],
    )
    return {rollout: Evidence(*rest) for rollout, *rest in rows}


def traffic(ctx: Context, found: Sequence[dict[str, Any]]) -> list[TrafficLine]:
    """Return rollouts and A/B tests in progress, each with its evidence in a line."""
    lines = [
        TrafficLine(
            kind=row["strategy"],
            name=row["deployment"],
            text=_told(row),
            state=row["state"],
            link=f"rollout:{row['id']}",
        )
        for row in found
        if row["state"] not in TERMINAL
    ]
    return [*lines, *_tests(ctx)]


def _told(row: dict[str, Any]) -> str:
    """Say how a rollout stands: ``v1 → v2 @25 %  wrong 4.1 % : 3.8 %  n 412  harm 1.2 of 40``."""
    head = f"{row['stable']} → {row['canary']}" + (f" @{row['weight']:g} %" if row["weight"] else "")
    seen: Evidence | None = row["evidence"]
    if seen is None or not seen.n_canary:
        return f"{head}  no rows yet"
    analysis = kept(row["spec"]).analysis
    canary, stable = seen.bad_canary / seen.n_canary, seen.bad_stable / max(1, seen.n_stable)
    # Beyond a million to one nobody reads the digits.
    harm, needed = (
        math.exp(min(seen.log_e_harm, math.log(1e6))),
        max(1, len(analysis.harm) + len(analysis.limits)) / analysis.alpha,
    )
    return f"{head}  {seen.event} {canary:.1%} : {stable:.1%}  n {seen.n_canary:,}  harm {harm:.2g} of {needed:.0f}"


def _tests(ctx: Context) -> list[TrafficLine]:
    rows = ctx.session.dicts(
        """
        SELECT t.id, t.name, t.verdict, a.label AS a, b.label AS b, l.* FROM abtest t
        JOIN revision a ON a.deployment_id = t.deployment_id AND a.no = t.a_no
        JOIN revision b ON b.deployment_id = t.deployment_id AND b.no = t.b_no
        LEFT JOIN (SELECT abtest_id, arg_max(n_a + n_b, ts) AS n, arg_max(difference, ts) AS difference,
                     arg_max(low, ts) AS low, arg_max(high, ts) AS high
                   FROM abtest_look GROUP BY 1) l ON l.abtest_id = t.id
        WHERE t.tenant = ? AND t.state = 'running' ORDER BY t.started DESC LIMIT ?
        """,
        [ctx.tenant, SHOWN],
    )
    return [
        TrafficLine(kind="ab", name=row["name"], text=_compared(row), state="running", link=f"ab:{row['id']}")
        for row in rows
    ]


def _compared(row: dict[str, Any]) -> str:
    """Say how a test stands: ``v1 ↔ v2  n 41,203  +2.1 % [+0.4, +3.9]  b better``."""
    head = f"{row['a']} ↔ {row['b']}  n {row['n'] or 0:,}"
    verdict = str(row["verdict"]).replace("_", " ")
    if row["difference"] is None or row["low"] is None or row["high"] is None:
        return f"{head}  {verdict}"
    return f"{head}  {100 * row['difference']:+.1f} % [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]  {verdict}"
