"""The way back of a deployment, and the history of its traffic."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import rollout as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.contracts.rollout_file import seconds
from mlops_tui.core.clock import SECOND
from mlops_tui.core.errors import Conflict
from mlops_tui.deploy import traffic
from mlops_tui.deploy.find import find_deployment, labels_of
from mlops_tui.deploy.rollout import file as rollout_file
from mlops_tui.deploy.rollout import rollouts
from mlops_tui.deploy.rollout.machine import refuse_word
from mlops_tui.deploy.rollout.operations import refuse_busy, stable_of
from mlops_tui.door import Context, implements


@implements(contract.rollback)
class Rollback:
    """Bring a deployment back: out of a rollout under way to stable, else to what was stable before.

    While the old version is loaded this is one swap of pointers in the servers, whatever state the rollout is in.
    """

    def plan(self, ctx: Context, request: contract.OneDeployment) -> Plan:
        """Find what to go back to."""
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        under_way = next(iter(rollouts.active(ctx.session, row["id"])), None)
        if under_way:
            refuse_word("rollback", under_way["state"], row["name"])
            serving, back = under_way["canary_no"], under_way["stable_no"]
        else:
            refuse_busy(ctx, row)
            serving, back = self._before(ctx, row)
        labels = labels_of(ctx.session, row["id"])
        return Plan(
            operation="rollout.rollback",
            object=f"deploy:{row['name']}",
            text=f"{row['name']} goes back from {labels[serving]} to {labels[back]}",
            changes=[
                Change(object=f"deploy:{row['name']}", field="serves", before=labels[serving], after=labels[back])
            ],
            environment=row["environment"],
            data={"id": row["id"], "before": back, "rollout": under_way},
        )

    def _before(self, ctx: Context, row: dict[str, Any]) -> tuple[int, int]:
        """Return what serves and what was stable before, while the window for going back is open."""
        before = traffic.before_stable(ctx.session, row["id"])
        if before is None:
            raise Conflict(
                f"{row['name']} has nothing to go back to",
                "no other version was stable before this one",
                f"mlops deploy show {row['name']}",
            )
        last = rollouts.newest(ctx.session, row["id"])
        window = seconds(rollout_file.kept(last["spec"]).rollback_window) if last else None
        if last and window is not None and last["state"] == "Succeeded" and ctx.now - last["since"] > window * SECOND:
            model = ctx.session.value(
                """SELECT m.name || '@' || v.version FROM revision r JOIN model_version v ON v.id = r.version_id
                   JOIN model m ON m.id = v.model_id WHERE r.deployment_id = ? AND r.no = ?""",
                [row["id"], before],
            )
            raise Conflict(
                f"the window for going back at once is over ({window / 86_400:g} days)",
                "what was good then is judged again",
                f"mlops rollout start {row['name']} {model}",
            )
        return stable_of(ctx, row["id"]), before

    def apply(self, ctx: Context, request: contract.OneDeployment, plan: Plan) -> Done:
        """Shift all traffic back."""
        split, row = traffic.all_to(plan.data["before"]), plan.data["rollout"]
        why = ctx.caller.reason or plan.text
        came = traffic.shift(ctx, plan.data["id"], split, row["strategy"] if row else "rollback", why)
        if row:
            text = f"rolled back by {ctx.caller.name}" + (f": {ctx.caller.reason}" if ctx.caller.reason else "")
            rollouts.enter(ctx, row, "RollingBack", row["step"], 0.0, text, word="rollback", generation=came)
        ctx.emit("deploy", plan.data["id"], "rolled back", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


@implements(contract.history)
def history(ctx: Context, request: contract.HistoryRequest) -> contract.History:
    """Show every change of a deployment's traffic."""
    row = find_deployment(ctx.session, ctx.tenant, request.deployment)
    labels = labels_of(ctx.session, row["id"])
    rows = ctx.session.rows(
        """SELECT epoch_us(ts), seq, split, strategy, actor, reason FROM traffic_event
           WHERE deployment_id = ? ORDER BY seq DESC LIMIT ?""",
        [row["id"], request.limit],
    )
    total = ctx.session.value("SELECT count(*) FROM traffic_event WHERE deployment_id = ?", [row["id"]])
    shifts = [
        contract.Shift(
            ts=ts,
            generation=seq,
            traffic=_shares(msgspec.json.decode(split, type=traffic.Split), labels),
            by=strategy,
            actor=actor,
            text=reason,
        )
        for ts, seq, split, strategy, actor, reason in rows
    ]
    return contract.History(deployment=row["name"], total=total, shifts=shifts)


def _shares(split: traffic.Split, labels: dict[int, str]) -> str:
    """Return a split as people read it: ``v1 90 %  v2 10 %``, ``v2 shadow``."""
    return "  ".join(
        f"{labels[one.no]} {'shadow' if one.role == 'shadow' else f'{one.weight:g} %'}" for one in split.shares
    )
