"""Alerts: opened after k of n judgements, closed when the last n are calm; and the retraining that they propose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from mlops_tui.core.clock import HOUR
from mlops_tui.core.ids import uuid7
from mlops_tui.door import Caller, Context
from mlops_tui.monitoring.reference import Monitor
from mlops_tui.stats.anomaly import KofN, State, step
from mlops_tui.stats.drift import Drift
from mlops_tui.stats.estimate import wilson

WATCHED = ("drift", "quality")
"""Rules that a monitor judges."""
TOLERATED_LOSS = 0.02
"""Accuracy below the reference's that is not yet worth a page."""
COOLDOWN_US = HOUR
"""Time after a decision on a retraining before the next one is proposed."""


def engine(tenant: str) -> Caller:
    """Return the agent acting as the monitoring engine."""
    return Caller.system("monitoring engine", tenant)


def consider(
    ctx: Context, monitor: Monitor, results: Sequence[Drift], found: dict[str, Any] | None
) -> dict[str, State]:
    """Open and close the monitor's alerts by its newest judgement, and return the alarms after it."""
    spec = monitor.spec
    rule = KofN(level=0.5, clear=0.5, k=min(spec.k, spec.n), n=spec.n, clear_after=spec.n)
    told = {"drift": _drift(monitor, results), "quality": _quality(monitor, found)}
    alarms = {}
    for name, (bad, text, detail) in told.items():
        before = monitor.alarms.get(name, State())
        after = alarms[name] = step(before, rule, bad)
        if after.alarm and bad:
            severity = "warn" if name == "drift" else "fail"
            alert = open_alert(ctx, name, monitor.name, severity, text, detail, f"drift:{monitor.name}")
            if alert is not None:
                _propose(ctx, monitor, alert, name, text, detail)
        elif before.alarm and not after.alarm:
            resolve(ctx, name, monitor.name, f"{name} is calm again")
    return alarms


_Told = tuple[float | None, str, dict[str, Any]]
"""1.0 when it is bad, 0.0 when it is well, None when nothing can be said; a sentence, and the figures behind it."""


def _drift(monitor: Monitor, results: Sequence[Drift]) -> _Told:
    judged = [one for one in results if one.verdict != "too_few"]
    drifted = [one for one in judged if one.verdict == "drift"]
    if not drifted:
        return (0.0 if judged else None), "", {}
    worst = max(drifted, key=lambda one: one.js_excess)
    text = f"{monitor.name}: {worst.column} has drifted, PSI {worst.psi:.2f}; {worst.text}"
    detail = {
        "feature": worst.column,
        "psi": worst.psi,
        "js": worst.js,
        "n": worst.n_live,
        "p_value": worst.p_page,
        "drifted": sorted(one.column for one in drifted),
    }
    return 1.0, text, detail


def _quality(monitor: Monitor, found: dict[str, Any] | None) -> _Told:
    """Judge realised accuracy against the reference's: surely worse, surely not, or unsure."""
    before = monitor.reference.accuracy
    if before is None or found is None or found["estimated"]:
        return None, "", {}
    accuracy, n = found["accuracy"], found["n"]
    standing = wilson(round(accuracy * n), n).against(before - TOLERATED_LOSS, "at_least")
    text = f"{monitor.name}: accuracy {accuracy:.3f} on {n:,} late labels, {before:.3f} when it was evaluated"
    value = {"fail": 1.0, "pass": 0.0}.get(standing)
    return value, text, {**found, "reference": before}


def open_alert(
    ctx: Context, rule: str, subject: str, severity: str, text: str, detail: dict[str, Any], link: str
) -> str | None:
    """Open an alert and return its id; one that is open already only gets the newest figures, and None is returned."""
    body = msgspec.json.encode(detail).decode()
    row = ctx.session.row(
        "SELECT id FROM alert WHERE rule = ? AND subject = ? AND tenant = ? AND closed IS NULL",
        [rule, subject, ctx.tenant],
    )
    if row is not None:
        ctx.session.execute("UPDATE alert SET text = ?, detail = ? WHERE id = ?", [text, body, row[0]])
        return None
    alert = uuid7()
    ctx.session.insert(
        "alert",
        id=alert,
        tenant=ctx.tenant,
        rule=rule,
        subject=subject,
        severity=severity,
        opened_us=ctx.now,
        acked_by="",
        text=text,
        detail=body,
        link=link,
    )
    ctx.emit("alert", alert, "opened", text, f"alert:{alert}")
    ctx.house.guard.note(ctx, "alert.open", f"alert:{alert}", "opened", text)
    return alert


def resolve(ctx: Context, rule: str, subject: str, why: str) -> None:
    """Close the open alert of a rule on a subject, if there is one."""
    for (alert,) in ctx.session.rows(
        "SELECT id FROM alert WHERE rule = ? AND subject = ? AND tenant = ? AND closed IS NULL",
        [rule, subject, ctx.tenant],
    ):
        ctx.session.execute("UPDATE alert SET closed = make_timestamp(?) WHERE id = ?", [ctx.now, alert])
        ctx.emit("alert", alert, "resolved", f"{subject}: {why}", f"alert:{alert}")
        ctx.house.guard.note(ctx, "alert.resolve", f"alert:{alert}", "resolved", why)


def _propose(ctx: Context, monitor: Monitor, alert: str, rule: str, text: str, detail: dict[str, Any]) -> None:
    """Propose a retraining, unless that would go in circles."""
    if _in_hand(ctx, monitor):
        return
    proposal = uuid7()
    labelled = ctx.session.value("SELECT count(*) FROM outcome WHERE deployment_id = ?", [monitor.deployment])
    inputs = {
        "alert": text,
        "rule": rule,
        "detail": detail,
        "labelled_rows": labelled,
        "window_s": monitor.spec.window_s,
    }
    ctx.session.insert(
        "automation",
        id=proposal,
        tenant=ctx.tenant,
        kind="retrain",
        subject=monitor.name,
        state="proposed",
        created_us=ctx.now,
        actor=ctx.caller.name,
        alert_id=alert,
        text=f"retrain the model of {monitor.name}: {rule}, {labelled:,} labelled rows",
        inputs=msgspec.json.encode(inputs).decode(),
    )
    ctx.emit("automation", proposal, "proposed", f"retraining of {monitor.name} is proposed", f"automation:{proposal}")
    ctx.house.guard.note(ctx, "automation.propose", f"automation:{proposal}", "proposed", f"retrain {monitor.name}")


def _in_hand(ctx: Context, monitor: Monitor) -> bool:
    """Tell whether a retraining waits for a decision, runs, or was decided on a short while ago."""
    last = ctx.session.dict(
        """SELECT a.state, epoch_us(coalesce(a.decided, a.created)) AS at, j.status AS job
           FROM automation a LEFT JOIN job j ON j.id = a.job_id
           WHERE a.subject = ? AND a.kind = 'retrain' AND a.tenant = ? ORDER BY a.created DESC LIMIT 1""",
        [monitor.name, ctx.tenant],
    )
    if last is None:
        return False
    return (
        last["state"] == "proposed" or last["job"] in ("queued", "running") or ctx.now - int(last["at"]) < COOLDOWN_US
    )
