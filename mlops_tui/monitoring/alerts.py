"""Alerts: opened after k of n judgements, closed when the last n are calm; and the retraining that drift proposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from mlops_tui.core.clock import DAY
from mlops_tui.core.ids import uuid7
from mlops_tui.door import Caller, Context
from mlops_tui.monitoring.reference import Monitor
from mlops_tui.stats.drift import Drift
from mlops_tui.stats.estimate import wilson

TOLERATED_LOSS = 0.02
"""Accuracy below the reference that is not yet worth a page."""
COOLDOWN_US = DAY // 24


def engine(tenant: str) -> Caller:
    """Return the agent acting as the monitoring engine."""
    return Caller.system("monitoring engine", tenant)


def consider(ctx: Context, monitor: Monitor, results: Sequence[Drift], found: dict[str, Any] | None) -> None:
    """Open and close the monitor's alerts by its newest judgements."""
    name = ctx.session.value("SELECT name FROM deployment WHERE id = ?", [monitor.deployment])
    _drift(ctx, monitor, name, results)
    if found is not None and not found["estimated"]:
        _quality(ctx, monitor, name, found)


def _drift(ctx: Context, monitor: Monitor, name: str, results: Sequence[Drift]) -> None:
    spec = monitor.spec
    recent = ctx.session.column(
        "SELECT bool_or(verdict = 'drift') FROM drift_result WHERE monitor_id = ? AND verdict <> 'too_few' GROUP BY ts ORDER BY ts DESC LIMIT ?",
        [monitor.id, spec.n],
    )
    worst = max((one for one in results if one.verdict == "drift"), key=lambda one: one.js_excess, default=None)
    if worst is not None and sum(recent) >= spec.k:
        drifted = sorted(one.column for one in results if one.verdict == "drift")
        detail = {
            "feature": worst.column,
            "psi": worst.psi,
            "js": worst.js,
            "n": worst.n_live,
            "p_value": worst.p_page,
            "drifted": drifted,
        }
        text = f"{name}: {worst.column} has drifted, PSI {worst.psi:.2f}; {worst.text}"
        _open(ctx, monitor, "drift", name, "warn", text, detail)
    elif len(recent) >= spec.n and not any(recent):
        _close(ctx, monitor, "drift", name)


def _quality(ctx: Context, monitor: Monitor, name: str, found: dict[str, Any]) -> None:
    before = monitor.reference.accuracy
    if before is None or found["accuracy"] is None:
        return
    interval = wilson(round(found["accuracy"] * found["n"]), found["n"])
    if (interval.high or 1.0) < before - TOLERATED_LOSS:
        text = (
            f"{name}: accuracy {found['accuracy']:.3f} on {found['n']} late labels, {before:.3f} when it was evaluated"
        )
        _open(ctx, monitor, "quality", name, "fail", text, {**found, "reference": before})
    elif (interval.low or 0.0) > before - TOLERATED_LOSS:
        _close(ctx, monitor, "quality", name)


def _open(
    ctx: Context, monitor: Monitor, rule: str, name: str, severity: str, text: str, detail: dict[str, Any]
) -> None:
    row = ctx.session.row(
        "SELECT id FROM alert WHERE rule = ? AND subject = ? AND tenant = ? AND closed IS NULL",
        [rule, name, monitor.tenant],
    )
    body = msgspec.json.encode(detail).decode()
    if row is not None:
        ctx.session.execute("UPDATE alert SET text = ?, detail = ? WHERE id = ?", [text, body, row[0]])
        return
    alert = uuid7()
    ctx.session.insert(
        "alert", id=alert, tenant=monitor.tenant, rule=rule, subject=name, severity=severity, opened_us=ctx.now, acked_by="", text=text, detail=body,
        link=f"drift:{name}",
    )  # fmt: skip
    ctx.emit("alert", alert, "opened", text, f"alert:{alert}")
    ctx.house.guard.note(ctx, "alert.open", f"alert:{alert}", "opened", text)
    _propose(ctx, monitor, alert, rule, name, text, detail)


def _close(ctx: Context, monitor: Monitor, rule: str, name: str) -> None:
    for (alert,) in ctx.session.rows(
        "SELECT id FROM alert WHERE rule = ? AND subject = ? AND tenant = ? AND closed IS NULL",
        [rule, name, monitor.tenant],
    ):
        ctx.session.execute("UPDATE alert SET closed = make_timestamp(?) WHERE id = ?", [ctx.now, alert])
        ctx.emit("alert", alert, "resolved", f"{name}: {rule} is calm again", f"alert:{alert}")


def _propose(
    ctx: Context, monitor: Monitor, alert: str, rule: str, name: str, text: str, detail: dict[str, Any]
) -> None:
    """Propose a retraining, unless one is waiting or was decided a short while ago (a guard against loops)."""
    last = ctx.session.row(
        "SELECT state, epoch_us(coalesce(decided, created)) FROM automation WHERE subject = ? AND kind = 'retrain' AND tenant = ? ORDER BY created DESC LIMIT 1",
        [name, monitor.tenant],
    )
    if last is not None and (last[0] == "proposed" or ctx.now - last[1] < COOLDOWN_US):
        return
    proposal = uuid7()
    labelled = ctx.session.value("SELECT count(*) FROM label WHERE deployment_id = ?", [monitor.deployment])
    inputs = {
        "alert": text,
        "rule": rule,
        "detail": detail,
        "labelled_rows": labelled,
        "window_s": monitor.spec.window_s,
    }
    ctx.session.insert(
        "automation", id=proposal, tenant=monitor.tenant, kind="retrain", subject=name, state="proposed", created_us=ctx.now, actor=ctx.caller.name,
        alert_id=alert, text=f"retrain the model of {name}: {rule} since {labelled:,} labelled rows", inputs=msgspec.json.encode(inputs).decode(),
    )  # fmt: skip
    ctx.emit("automation", proposal, "proposed", f"retraining of {name} is proposed", f"automation:{proposal}")
    ctx.house.guard.note(ctx, "automation.propose", f"automation:{proposal}", "proposed", f"retrain {name}")
