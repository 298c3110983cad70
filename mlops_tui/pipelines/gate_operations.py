"""Operations and list of gate verdicts."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import model as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Plan, Started
from mlops_tui.core.errors import NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.door import Context, implements
from mlops_tui.door.files import callers_file
from mlops_tui.jobs import start_job
from mlops_tui.registry.versions import label, latest_gates, resolve_version
from mlops_tui.store.listing import Listing, lists
from mlops_tui.tracking.runs.find import find_run

lists(
    Listing(
        noun="gate",
        source="gate_result g JOIN run r ON r.id = g.run_id",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="run", label="run"),
            Column(name="gate", label="gate"),
            Column(name="verdict", label="verdict", kind="status"),
            Column(name="value", label="value", kind="float"),
            Column(name="threshold", label="bound", kind="float"),
            Column(name="text", label="why"),
            Column(name="ts", label="when", kind="time"),
        ],
        expressions={
            "id": "g.id",
            "run": "r.name",
            "gate": "g.gate",
            "verdict": "CASE WHEN g.passed THEN 'ok' ELSE 'fail' END",
            "value": "g.value",
            "threshold": "g.threshold",
            "text": "g.text",
            "ts": "epoch_us(g.ts)",
        },
        sort="-ts",
        tenant="r.tenant",
    )
)


def _champion(ctx: Context, run: dict[str, Any]) -> dict[str, Any] | None:
    """Return the champion that another run of this experiment made; the newest where there are several."""
    version = ctx.session.value(
        """SELECT v.id FROM alias a JOIN model_version v ON v.id = a.version_id JOIN run r ON r.id = v.run_id
           WHERE a.alias = 'champion' AND r.tenant = ? AND r.experiment_id = ? AND r.id <> ?
           ORDER BY a.since DESC LIMIT 1""",
        [ctx.tenant, run["experiment_id"], run["id"]],
    )
    return resolve_version(ctx.session, ctx.tenant, version) if version else None


@implements(contract.gate_run)
class RunGates:
    """Judge a run's candidate; a worker does."""

    def plan(self, ctx: Context, request: contract.RunGates) -> Plan:
        """Find the run, the policy and the champion to compare with."""
        run = find_run(ctx.session, ctx.tenant, request.run)
        policy = str(callers_file(ctx, request.policy)) if request.policy else ""
        champion = (
            resolve_version(ctx.session, ctx.tenant, request.champion) if request.champion else _champion(ctx, run)
        )
        body = {
            "run": run["id"],
            "gates": request.gates,
            "policy": policy,
            "champion": label(champion) if champion else "",
        }
        text = f"judge {run['name']} by {', '.join(request.gates) or 'every gate of the policy'}"
        text += f", beside {body['champion']}" if champion else ""
        return Plan(
            operation="gate.run", object=f"run:{run['id']}", text=text, data={"body": body, "name": run["name"]}
        )

    def apply(self, ctx: Context, request: contract.RunGates, plan: Plan) -> Started:
        """Queue the worker."""
        job = start_job(
            ctx,
            kind="gate.run",
            name=plan.data["name"],
            module="mlops_tui.pipelines.gates.worker",
            request=plan.data["body"],
        )
        return Started(job=job, text=plan.text)


@implements(contract.gate_record)
class RecordGates:
    """Keep the verdicts with the digest of the model that they are about."""

    def plan(self, ctx: Context, request: contract.RecordGates) -> Plan:
        """Name every verdict."""
        run = find_run(ctx.session, ctx.tenant, request.run)
        changes = [
            Change(
                object=f"run:{run['id']}",
                field=f"gate {one.gate}",
                after="passed" if one.passed else f"failed: {one.text}",
            )
            for one in request.results
        ]
        failed = [one.gate for one in request.results if not one.passed]
        text = f"{run['name']}: " + (
            f"gate {', '.join(failed)} failed" if failed else f"{len(request.results)} gates passed"
        )
        return Plan(
            operation="gate.record",
            object=f"run:{run['id']}",
            text=text,
            changes=changes,
            data={"run": run, "failed": failed},
        )

    def apply(self, ctx: Context, request: contract.RecordGates, plan: Plan) -> contract.GateReport:
        """Insert them."""
        run = plan.data["run"]["id"]
        for one in request.results:
            ctx.session.insert(
                "gate_result",
                id=uuid7(),
                run_id=run,
                gate=one.gate,
                passed=one.passed,
                value=one.value,
                threshold=one.threshold,
                text=one.text,
                detail=msgspec.json.encode(one.detail).decode(),
                digest=request.digest,
                ts_us=ctx.now,
            )
        ctx.emit("gate", run, "failed" if plan.data["failed"] else "passed", plan.text, f"run:{run}")
        return _report(ctx, run, request.digest)


@implements(contract.gate_show)
def show(ctx: Context, request: contract.OneGateReport) -> contract.GateReport:
    """Show the verdicts on the file of a model version, or on the file of a run that was judged last."""
    if "@" in request.subject:
        version = resolve_version(ctx.session, ctx.tenant, request.subject)
        run, digest = version["run_id"] or "", version["digest"]
    else:
        run = find_run(ctx.session, ctx.tenant, request.subject)["id"]
        newest = "SELECT digest FROM gate_result WHERE run_id = ? ORDER BY ts DESC, id DESC LIMIT 1"
        digest = ctx.session.value(newest, [run]) or ""
    report = _report(ctx, run, digest)
    if not report.results:
        raise NotFound(f"no gate has judged {request.subject}", "", f"mlops gate run {run or 'RUN'}")
    return report


def _report(ctx: Context, run: str, digest: str) -> contract.GateReport:
    results = latest_gates(ctx.session, run, digest)
    return contract.GateReport(run=run, passed=all(one.passed for one in results), results=results)
