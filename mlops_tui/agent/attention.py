"""What needs a person: read from what the rooms have judged, worst first. Nothing is judged here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from mlops_tui.contracts.agent import Attention
from mlops_tui.contracts.rollout_file import seconds
from mlops_tui.core.clock import DAY, HOUR, MINUTE, SECOND
from mlops_tui.deploy.rollout.file import kept
from mlops_tui.door import Context

SHOWN = 20
SEVERITIES = ("fail", "warn", "busy")
RECENT_US, GATES_US, PATIENCE_US, SILENCE_US = DAY, 7 * DAY, HOUR, 5 * MINUTE


def by_severity(found: Iterable[Attention]) -> list[Attention]:
    """Return the first lines by severity, then newest first."""
    return sorted(found, key=lambda one: (SEVERITIES.index(one.severity), -one.ts))[:SHOWN]


def chain(ctx: Context) -> list[Attention]:
    """Return a line when the last verification found the audit chain broken."""
    facts = ctx.house.facts
    if facts.get("audit_ok") != 0.0:
        return []
    text = "the audit chain is broken: mlops audit verify says where"
    return [Attention(severity="fail", kind="audit", text=text, ts=int(facts["audit_checked_us"]), link="audit")]


def alerts(ctx: Context) -> list[Attention]:
    """Return alerts that are open, not acknowledged and not silenced."""
    rows = ctx.session.rows(
        """
        SELECT id, rule, severity, text, epoch_us(opened) FROM alert
        WHERE tenant = ? AND closed IS NULL AND acked IS NULL
          AND (silenced_until IS NULL OR silenced_until < make_timestamp(?))
        ORDER BY opened DESC LIMIT ?
        """,
        [ctx.tenant, ctx.now, SHOWN],
    )
    return [
        Attention(
            severity=severity if severity in SEVERITIES else "fail",
            kind=rule,
            text=text,
            ts=opened,
            link=f"alert:{alert}",
        )
        for alert, rule, severity, text, opened in rows
    ]


def down(ctx: Context, deployments: Sequence[dict[str, Any]]) -> list[Attention]:
    """Return deployments that do not serve, since what was last heard of them."""
    found = []
    for row in deployments:
        if row["status"] == "down":
            heard = "SELECT epoch_us(max(ts)) FROM event WHERE topic = 'deploy' AND object = ?"
            since = ctx.session.value(heard, [row["id"]]) or row["created_us"]
            text = f"{row['name']} is down" + (f": {row['text']}" if row["text"] not in ("", "down") else "")
            found.append(Attention(severity="fail", kind="deploy", text=text, ts=since, link=f"deploy:{row['name']}"))
    return found


def rollouts(ctx: Context, rows: Sequence[dict[str, Any]]) -> list[Attention]:
    """Return rollouts that were rolled back within a day, wait for somebody, or starve for rows.

    A rollback that has an alert is left to the alert, which can be acknowledged.

    Args:
        ctx: the call.
        rows: the newest rollout of each deployment, see ``moving.rollouts``.
    """
    known = set(ctx.session.column("SELECT link FROM alert WHERE tenant = ? AND rule = 'rollout'", [ctx.tenant]))
    told = [(row, _told(ctx, row)) for row in rows if f"rollout:{row['id']}" not in known]
    return [
        Attention(severity=said[0], kind=row["strategy"], text=said[1], ts=row["since"], link=f"rollout:{row['id']}")
        for row, said in told
        if said
    ]


def _told(ctx: Context, row: dict[str, Any]) -> tuple[str, str] | None:
    name = f"{row['deployment']} {row['canary']}"
    if row["state"] == "RolledBack" and ctx.now - row["since"] < RECENT_US:
        return "fail", f"{name} was rolled back: {row['why'] or row['text']}"
    if row["state"] == "Paused":
        return "warn", f"{name} waits for you at {row['weight']:g} %"
    if row["state"] == "Holding":
        return "warn", f"{name} waits for your approval at {row['weight']:g} %"
    if row["state"] == "Shifting" and (lacking := _starved(ctx, row)):
        return "warn", f"{name} is held at {row['weight']:g} %: {lacking}"
    return None


def _starved(ctx: Context, row: dict[str, Any]) -> str:
    """Return how many rows a step that is over its time still lacks, where waiting for them needs somebody's decision.

    That is where none come, or so few that enough of them would take longer than ``PATIENCE_US``.
    """
    spec = kept(row["spec"])
    seen, least = row["evidence"].n_canary if row["evidence"] else 0, spec.analysis.min_requests
    waited = ctx.now - row["since"] - seconds(spec.steps[row["step"]].for_) * SECOND
    if waited <= 0 or seen >= least:
        return ""
    needs_somebody = waited * least / seen > PATIENCE_US if seen else waited > SILENCE_US
    return f"{seen} of {least} rows" if needs_somebody else ""


def jobs(ctx: Context) -> list[Attention]:
    """Return jobs that failed within a day and were not begun anew: no later job has their kind and name."""
    rows = ctx.session.rows(
        """
        SELECT j.id, j.kind, j.name, j.status, j.error, epoch_us(j.ended) FROM job j
        WHERE j.tenant = ? AND j.status IN ('failed', 'lost') AND j.ended > make_timestamp(?)
          AND NOT EXISTS (SELECT 1 FROM job n WHERE n.tenant = j.tenant AND n.kind = j.kind AND n.name = j.name
                            AND n.created > j.created)
        ORDER BY j.ended DESC LIMIT ?
        """,
        [ctx.tenant, ctx.now - RECENT_US, SHOWN],
    )
    found = []
    for job, kind, name, status, error, ended in rows:
        told = msgspec.json.decode(error) if error else {}
        # Where nobody handed an error in, "what" only repeats kind, name and status.
        why = told.get("why") if told.get("code") == "MLOPS-E0001" and told.get("why") else told.get("what")
        text = f"{kind} {name} {status}" + (f": {why}" if why else "")
        found.append(Attention(severity="fail", kind="job", text=text, ts=ended, link=f"job:{job}"))
    return found


def gates(ctx: Context) -> list[Attention]:
    """Return the newest judged run of each experiment, when it does not pass every gate."""
    rows = ctx.session.rows(
        """
        WITH g AS (SELECT run_id, gate, passed, text, ts FROM gate_result WHERE ts > make_timestamp(?)
                   QUALIFY row_number() OVER (PARTITION BY run_id, gate ORDER BY ts DESC) = 1),
             n AS (SELECT r.id, r.name, g.* FROM g JOIN run r ON r.id = g.run_id
                   WHERE r.tenant = ? AND r.deleted IS NULL
                   QUALIFY dense_rank() OVER (PARTITION BY r.experiment_id ORDER BY r.started DESC, r.id) = 1)
        SELECT id, name, count(*), min(gate), arg_min(text, gate), epoch_us(max(ts)) FROM n
        WHERE NOT passed GROUP BY id, name LIMIT ?
        """,
        [ctx.now - GATES_US, ctx.tenant, SHOWN],
    )
    found = []
    for run, name, count, gate, why, ts in rows:
        text = f"{name}: {gate} {why}" + (f" (and {count - 1} more)" if count > 1 else "")
        found.append(Attention(severity="warn", kind="gate", text=text, ts=ts, link=f"run:{run}"))
    return found


def proposals(ctx: Context) -> list[Attention]:
    """Return responses that the monitors proposed and nobody has decided on."""
    rows = ctx.session.rows(
        """
        SELECT id, kind, text, epoch_us(created) FROM automation
        WHERE tenant = ? AND state = 'proposed' ORDER BY created DESC LIMIT ?
        """,
        [ctx.tenant, SHOWN],
    )
    return [
        Attention(severity="warn", kind=kind, text=text, ts=created, link=f"automation:{proposal}")
        for proposal, kind, text, created in rows
    ]


def not_numbers(running: Sequence[dict[str, Any]]) -> list[Attention]:
    """Return running runs whose headline metric is no longer a number."""
    return [
        Attention(
            severity="fail",
            kind="run",
            text=f"{row['name']}: {row['metric']} is {row['value']}",
            ts=row["started"],
            link=f"run:{row['run']}",
        )
        for row in running
        # Infinity and NaN are the floats that are not equal to themselves less themselves.
        if row["value"] is not None and row["value"] - row["value"] != 0
    ]
