"""Operations and lists of alerts and of the responses that they propose."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import monitor as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.clock import HOUR
from mlops_tui.core.errors import Conflict, NotFound
from mlops_tui.core.ids import matches, uuid7
from mlops_tui.deploy import traffic
from mlops_tui.deploy.find import find_deployment
from mlops_tui.door import Context, implements
from mlops_tui.jobs import start_job
from mlops_tui.jobs.spec import Spec
from mlops_tui.store.listing import Listing, lists

AGAIN = "-again"
_STATE = """CASE WHEN closed IS NOT NULL THEN 'resolved'
            WHEN epoch_us(silenced_until) > epoch_us(now()) THEN 'silenced'
            WHEN acked IS NOT NULL THEN 'acknowledged' ELSE 'open' END"""

lists(
    Listing(
        noun="alert",
        source="alert",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="severity", label="severity", kind="status"),
            Column(name="rule", label="rule"),
            Column(name="subject", label="about"),
            Column(name="state", label="state", kind="status"),
            Column(name="opened", label="opened", kind="time"),
            Column(name="acked_by", label="acknowledged by"),
            Column(name="text", label="text"),
        ],
        expressions={
            "id": "id",
            "severity": "severity",
            "rule": "rule",
            "subject": "subject",
            "state": _STATE,
            "opened": "epoch_us(opened)",
            "acked_by": "acked_by",
            "text": "text",
        },
        sort="-opened",
        tenant="tenant",
    )
)
lists(
    Listing(
        noun="automation",
        source="automation",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="kind", label="kind"),
            Column(name="subject", label="about"),
            Column(name="state", label="state", kind="status"),
            Column(name="created", label="created", kind="time"),
            Column(name="actor", label="by"),
            Column(name="text", label="text"),
        ],
        expressions={
            "id": "id",
            "kind": "kind",
            "subject": "subject",
            "state": "state",
            "created": "epoch_us(created)",
            "actor": "actor",
            "text": "text",
        },
        sort="-created",
        tenant="tenant",
    )
)


def _find(ctx: Context, noun: str, stamp: str, typed: str, extra: str = "") -> dict[str, Any]:
    for row in ctx.session.dicts(
        f"SELECT *, epoch_us({stamp}) AS at{extra} FROM {noun} WHERE tenant = ? ORDER BY {stamp} DESC", [ctx.tenant]
    ):
        if matches(row["id"], typed):
            return row
    raise NotFound(f"there is no {noun} {typed!r}", "", f"mlops {noun} list shows them")


def _alert(ctx: Context, typed: str) -> dict[str, Any]:
    return _find(ctx, "alert", "opened", typed, f", epoch_us(closed) AS closed_us, {_STATE} AS state")


@implements(contract.alert_show)
def show_alert(ctx: Context, request: contract.OneAlert) -> contract.Alert:
    """Show an alert."""
    row = _alert(ctx, request.alert)
    same = ("id", "rule", "subject", "severity", "state", "acked_by", "text")
    return contract.Alert(
        **{name: row[name] for name in same},
        opened=row["at"],
        closed=row["closed_us"],
        detail=msgspec.json.decode(row["detail"]),
    )


@implements(contract.alert_ack)
class AckAlert:
    """Acknowledge an alert: somebody has seen it."""

    def plan(self, ctx: Context, request: contract.OneAlert) -> Plan:
        """Find it."""
        row = _alert(ctx, request.alert)
        if row["state"] not in ("open", "silenced"):
            raise Conflict(f"the alert is {row['state']} already", row["text"])
        change = Change(object=f"alert:{row['id']}", field="state", before=row["state"], after="acknowledged")
        return Plan(
            operation="alert.ack",
            object=f"alert:{row['id']}",
            text=f"acknowledge: {row['text']}",
            changes=[change],
            data={"id": row["id"]},
        )

    def apply(self, ctx: Context, request: contract.OneAlert, plan: Plan) -> Done:
        """Sign it."""
        ctx.session.execute(
            "UPDATE alert SET acked = make_timestamp(?), acked_by = ? WHERE id = ?",
            [ctx.now, ctx.caller.name, plan.data["id"]],
        )
        ctx.emit("alert", plan.data["id"], "acknowledged", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


@implements(contract.alert_silence)
class SilenceAlert:
    """Keep an alert quiet for some hours."""

    def plan(self, ctx: Context, request: contract.SilenceAlert) -> Plan:
        """Find it."""
        row = _alert(ctx, request.alert)
        if row["state"] == "resolved":
            raise Conflict("the alert is resolved already", row["text"])
        change = Change(
            object=f"alert:{row['id']}", field="state", before=row["state"], after=f"silenced for {request.hours:g} h"
        )
        return Plan(
            operation="alert.silence",
            object=f"alert:{row['id']}",
            text=f"silence for {request.hours:g} h: {row['text']}",
            changes=[change],
            data={"id": row["id"]},
        )

    def apply(self, ctx: Context, request: contract.SilenceAlert, plan: Plan) -> Done:
        """Write the end of the silence."""
        until = ctx.now + int(request.hours * HOUR)
        ctx.session.execute(
            "UPDATE alert SET silenced_until = make_timestamp(?) WHERE id = ?", [until, plan.data["id"]]
        )
        ctx.emit("alert", plan.data["id"], "silenced", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


@implements(contract.automation_show)
def show_automation(ctx: Context, request: contract.OneAutomation) -> contract.Automation:
    """Show a proposal."""
    row = _find(ctx, "automation", "created", request.automation)
    return contract.Automation(
        **{name: row[name] for name in ("id", "kind", "subject", "state", "text")},
        created=row["at"],
        alert=row["alert_id"],
        inputs=msgspec.json.decode(row["inputs"]),
    )


class _Decide:
    """A person's decision on a proposal."""

    operation, state = "", ""

    def plan(self, ctx: Context, request: contract.OneAutomation) -> Plan:
        """Check that it still waits."""
        row = _find(ctx, "automation", "created", request.automation)
        if row["state"] != "proposed":
            raise Conflict(f"the proposal is {row['state']} already", row["text"])
        change = Change(object=f"automation:{row['id']}", field="state", before="proposed", after=self.state)
        return Plan(
            operation=self.operation,
            object=f"automation:{row['id']}",
            text=f"{self.state}: {row['text']}",
            changes=[change],
            data=self.look(ctx, row),
        )

    def look(self, ctx: Context, row: dict[str, Any]) -> dict[str, Any]:
        """Return what ``apply`` needs."""
        return {"row": row}

    def apply(self, ctx: Context, request: contract.OneAutomation, plan: Plan) -> Done:
        """Write the decision down."""
        identifier = plan.data["row"]["id"]
        ctx.session.execute(
            "UPDATE automation SET state = ?, decided = make_timestamp(?), actor = ? WHERE id = ?",
            [self.state, ctx.now, ctx.caller.name, identifier],
        )
        ctx.emit("automation", identifier, self.state, plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


@implements(contract.automation_dismiss)
class Dismiss(_Decide):
    """Turn a proposal down."""

    operation, state = "automation.dismiss", "dismissed"


@implements(contract.automation_run)
class Run(_Decide):
    """Accept a retraining: the job that made the serving model is started again as a new run."""

    operation, state = "automation.run", "accepted"

    def look(self, ctx: Context, row: dict[str, Any]) -> dict[str, Any]:
        """Find the training job of the model that is served."""
        deployment = find_deployment(ctx.session, ctx.tenant, row["subject"])
        now = traffic.current(ctx.session, deployment["id"])
        spec = ctx.session.value(
            """SELECT j.spec FROM revision r JOIN model_version v ON v.id = r.version_id
               JOIN job j ON j.run_id = v.run_id AND j.kind = 'train' WHERE r.deployment_id = ? AND r.no = ?""",
            [deployment["id"], now.split.stable if now else 1],
        )
        if spec is None:
            raise NotFound(
                f"the model of {row['subject']} was not trained by a job of this home",
                "nothing is known that could be run again",
                f"mlops train SCRIPT, then mlops automation dismiss {row['id'][-8:]}",
            )
        return {"row": row, "spec": spec}

    def apply(self, ctx: Context, request: contract.OneAutomation, plan: Plan) -> Done:
        """Queue the same training again."""
        spec = msgspec.json.decode(plan.data["spec"], type=Spec)
        name = f"{spec.name.removesuffix(AGAIN)}{AGAIN}"
        job = start_job(
            ctx,
            kind="train",
            name=name,
            argv=spec.argv,
            lane="train",
            run_id=uuid7(),
            data=spec.data,
            env={**spec.env, "MLOPS_RUN_NAME": name},
            cwd=spec.cwd,
        )
        ctx.session.execute("UPDATE automation SET job_id = ? WHERE id = ?", [job, plan.data["row"]["id"]])
        done = super().apply(ctx, request, plan)
        return Done(object=f"job:{job}", text=f"{done.text}; the job {job[-8:]} trains")
