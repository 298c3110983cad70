"""What Home shows: a snapshot of every room. Each part is read anew only when its room has told of a change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from mlops_tui.agent import attention, moving
from mlops_tui.contracts import agent as contract
from mlops_tui.contracts.operation import Empty
from mlops_tui.core.clock import DAY
from mlops_tui.door import Context, implements
from mlops_tui.governance import cost
from mlops_tui.hardware import hosts
from mlops_tui.hardware.watch import this_host

RUNS, EVENTS = 8, 20
T = TypeVar("T")


class Fleet(NamedTuple):
    """What is registered and served."""

    models: int
    deployments: list[dict[str, Any]]


@implements(contract.home_show)
def home_show(ctx: Context, _: Empty) -> contract.HomeSnapshot:
    """Return everything that Home shows."""
    fleet = _part(ctx, "fleet", ("model", "deploy"), _fleet)
    rollouts = _part(ctx, "rollouts", ("rollout", "deploy"), moving.rollouts)
    running = _part(ctx, "running", ("job", "run"), moving.running)
    facts = ctx.house.facts
    checked = facts.get("audit_checked_us")
    return contract.HomeSnapshot(
        ts=ctx.now,
        user=ctx.caller.name,
        environment=str(ctx.config.get("environment")),
        readonly=bool(ctx.config.get("readonly")),
        attention=_attention(ctx, fleet, rollouts, running),
        jobs=_part(ctx, "jobs", ("job", "run"), lambda ctx: moving.jobs(ctx, running)),
        host=_part(ctx, "host", ("host",), _host),
        drift=_part(ctx, "drift", ("drift", "monitor", "deploy"), moving.drifts),
        traffic=_part(ctx, "traffic", ("rollout", "ab", "deploy"), lambda ctx: moving.traffic(ctx, rollouts)),
        runs=_part(ctx, "runs", ("run", "experiment", "model"), _runs),
        events=_part(ctx, "events", ("*",), _events),
        models=fleet.models,
        deployments=len(fleet.deployments),
        healthy=sum(row["status"] == "serving" for row in fleet.deployments),
        **_part(ctx, "used", ("job",), _used),
        currency=str(ctx.config.get("cost.currency")),
        residency=str(ctx.config.get("residency")) or "not declared",
        audit_ok=None if checked is None else bool(facts["audit_ok"]),
        audit_records=ctx.session.value("SELECT count(*) FROM audit"),
        audit_checked=None if checked is None else int(checked),
        approvals=0,
    )


def _part(ctx: Context, name: str, topics: tuple[str, ...], make: Callable[[Context], T]) -> T:
    return ctx.house.memo.get(("home", ctx.tenant, name), topics, lambda: make(ctx))


def _attention(
    ctx: Context, fleet: Fleet, rollouts: list[dict[str, Any]], running: list[dict[str, Any]]
) -> list[contract.Attention]:
    return attention.by_severity(
        [
            *attention.chain(ctx),
            *_part(ctx, "alerts", ("alert",), attention.alerts),
            *_part(ctx, "down", ("deploy",), lambda ctx: attention.down(ctx, fleet.deployments)),
            *attention.rollouts(ctx, rollouts),
            *_part(ctx, "failed", ("job",), attention.jobs),
            *_part(ctx, "gates", ("gate", "experiment"), attention.gates),
            *_part(ctx, "proposals", ("automation",), attention.proposals),
            *attention.not_numbers(running),
        ]
    )


def _fleet(ctx: Context) -> Fleet:
    rows = ctx.session.dicts(
        """
        SELECT id, name, status, text, epoch_us(created) AS created_us FROM deployment
        WHERE tenant = ? AND removed IS NULL
        """,
        [ctx.tenant],
    )
    return Fleet(
        ctx.session.value("SELECT count(*) FROM model WHERE tenant = ? AND deleted IS NULL", [ctx.tenant]), rows
    )


def _host(ctx: Context) -> contract.Host | None:
    row = ctx.session.dict("SELECT * FROM host WHERE name = ? ORDER BY seen DESC LIMIT 1", [this_host()])
    return hosts.shown(row) if row else None


def _used(ctx: Context) -> dict[str, Any]:
    """Return hours and cost since midnight, as this machine's wall clock has it."""
    midnight = datetime.fromtimestamp(ctx.now / 1e6).replace(hour=0, minute=0, second=0, microsecond=0)
    lines = cost.lines(ctx, int(midnight.timestamp() * 1e6))
    return {
        "cpu_hours_today": sum(line.cpu_hours for line in lines),
        "gpu_hours_today": sum(line.gpu_hours for line in lines),
        "cost_today": sum(line.amount or 0.0 for line in lines) if any(cost.prices(ctx)) else None,
    }


def _runs(ctx: Context) -> list[contract.RunLine]:
    # Runs come in order too: the last day is read first, whole blocks of older runs only when it holds too few.
    for since in (ctx.now - DAY, 0):
        newest = ctx.session.column(
            """
            SELECT id FROM run WHERE started >= make_timestamp(?) AND tenant = ? AND deleted IS NULL
            ORDER BY started DESC LIMIT ?
            """,
            [since, ctx.tenant, RUNS],
        )
        if len(newest) == RUNS:
            break
    rows = ctx.session.dicts(
        """
        SELECT r.id, r.name, e.name AS experiment, r.status, r.metric, r.value, epoch_us(r.started) AS started,
          left(r.git_sha, 7) || CASE WHEN r.git_dirty THEN '+' ELSE '' END AS git,
          r.id IN (SELECT v.run_id FROM alias a JOIN model_version v ON v.id = a.version_id
                   WHERE a.alias = 'champion' AND v.run_id IS NOT NULL) AS champion
        FROM run r JOIN experiment e ON e.id = r.experiment_id WHERE r.id IN (SELECT unnest(?))
        ORDER BY r.started DESC
        """,
        [newest],
    )
    return [contract.RunLine(**row) for row in rows]


def _events(ctx: Context) -> list[contract.EventLine]:
    # Events come in order, so the end of the table is enough unless another tenant was much busier.
    newest = ctx.session.value("SELECT max(seq) FROM event") or 0
    for after in (newest - 10 * EVENTS, 0):
        rows = ctx.session.dicts(
            """
            SELECT seq, epoch_us(ts) AS ts, actor, topic, text, link FROM event
            WHERE seq > ? AND tenant = ? ORDER BY seq DESC LIMIT ?
            """,
            [after, ctx.tenant, EVENTS],
        )
        if len(rows) == EVENTS:
            break
    return [contract.EventLine(**row) for row in rows]
