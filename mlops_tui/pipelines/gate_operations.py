"""Operations and list of gate verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.contracts import model as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Plan, Started
from mlops_tui.core.errors import NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.door import Context, implements
from mlops_tui.door.lookup import by_name_or_id
from mlops_tui.jobs import start_job
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

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


def _run(ctx: Context, typed: str) -> dict[str, Any]:
    return by_name_or_id(ctx.session, "run", "run", typed, ctx.tenant, newest="started", where="deleted IS NULL")


def verdicts(session: Session, run: str) -> list[contract.GateResult]:
    """Return the newest verdict of each gate on a run."""
    rows = session.dicts(
        """SELECT gate, passed, value, threshold, text, detail, epoch_us(ts) AS ts FROM gate_result WHERE run_id = ?
           QUALIFY row_number() OVER (PARTITION BY gate ORDER BY gate_result.ts DESC) = 1 ORDER BY gate""",
        [run],
    )
    return [contract.GateResult(**{**row, "detail": msgspec.json.decode(row["detail"])}) for row in rows]


@implements(contract.gate_run)
class RunGates:
    """Judge a run's candidate; a worker does."""

    def plan(self, ctx: Context, request: contract.RunGates) -> Plan:
        """Find the run, the policy and the champion to compare with."""
        run = _run(ctx, request.run)
        policy = str(Path(ctx.caller.cwd or "/", request.policy)) if request.policy else ""
        if policy and not Path(policy).is_file():
            raise NotFound(f"there is no file {policy}", "", "give its path from where you are")
        body = {"run": run["id"], "gates": request.gates, "policy": policy, "champion": request.champion}
        text = f"judge {run['name']} by {', '.join(request.gates) or 'every gate of the policy'}"
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
        run = _run(ctx, request.run)
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
        digest = (
            ctx.session.value(
                "SELECT digest FROM run_artifact WHERE run = ? AND ends_with(path, '.onnx') ORDER BY ts DESC LIMIT 1",
                [run],
            )
            or ""
        )
        for one in request.results:
            ctx.session.insert(
                "gate_result", id=uuid7(), run_id=run, gate=one.gate, passed=one.passed, value=one.value, threshold=one.threshold, text=one.text,
                detail=msgspec.json.encode(one.detail).decode(), digest=digest, ts_us=ctx.now,
            )  # fmt: skip
        ctx.emit("gate", run, "failed" if plan.data["failed"] else "passed", plan.text, f"run:{run}")
        results = verdicts(ctx.session, run)
        return contract.GateReport(run=run, passed=all(one.passed for one in results), results=results)


@implements(contract.gate_show)
def show(ctx: Context, request: contract.OneGateReport) -> contract.GateReport:
    """Show the verdicts on a run, or on the run of a model version."""
    name, at, version = request.subject.partition("@")
    run = None
    if at:
        run = ctx.session.value(
            """SELECT v.run_id FROM model_version v JOIN model m ON m.id = v.model_id LEFT JOIN alias a ON a.version_id = v.id
               WHERE m.tenant = $tenant AND m.name = $name AND (v.version = TRY_CAST($version AS INTEGER) OR a.alias = $version) LIMIT 1""",
            {"tenant": ctx.tenant, "name": name, "version": version},
        )
        if run is None:
            raise NotFound(f"there is no model version {request.subject}", "", "mlops version list shows them")
    run = run or _run(ctx, request.subject)["id"]
    results = verdicts(ctx.session, run)
    if not results:
        raise NotFound(f"no gate has judged {request.subject}", "", f"mlops gate run {request.subject}")
    return contract.GateReport(run=run, passed=all(one.passed for one in results), results=results)
