"""Looking at a stored version again: checked against rules, or read back. A worker reads, the version remembers."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import data as contract
from mlops_tui.contracts.operation import Change, Done, Plan, Started
from mlops_tui.data.versions import WORKER, label, resolve
from mlops_tui.door import Context, implements
from mlops_tui.door.files import callers_file
from mlops_tui.jobs import start_job


@implements(contract.check)
class CheckData:
    """Check a version; a worker reads it."""

    def plan(self, ctx: Context, request: contract.CheckData) -> Plan:
        """Find the version and the checks."""
        row = resolve(ctx.session, ctx.tenant, request.data)
        checks = callers_file(ctx, request.checks)
        body = {
            "work": "check",
            "digest": row["digest"],
            "format": row["format"],
            "checks": str(checks),
            "data": label(row),
        }
        return Plan(operation="data.check", object=f"data:{label(row)}", text=f"check {label(row)}", data=body)

    def apply(self, ctx: Context, request: contract.CheckData, plan: Plan) -> Started:
        """Queue the worker."""
        return Started(
            job=start_job(ctx, kind="data.check", name=plan.data["data"], module=WORKER, request=plan.data),
            text=plan.text,
        )


@implements(contract.verify)
class VerifyData:
    """Read a version back; a worker does."""

    def plan(self, ctx: Context, request: contract.OneData) -> Plan:
        """Find the version."""
        row = resolve(ctx.session, ctx.tenant, request.data)
        body = {"work": "verify", "digest": row["digest"], "data": label(row)}
        return Plan(operation="data.verify", object=f"data:{label(row)}", text=f"verify {label(row)}", data=body)

    def apply(self, ctx: Context, request: contract.OneData, plan: Plan) -> Started:
        """Queue the worker."""
        return Started(
            job=start_job(ctx, kind="data.verify", name=plan.data["data"], module=WORKER, request=plan.data),
            text=plan.text,
        )


@implements(contract.checked)
class CheckedData:
    """Keep with a version what the last checks of it said; its content stays what it is."""

    def plan(self, ctx: Context, request: contract.CheckedData) -> Plan:
        """Say the outcome before and after."""
        row = resolve(ctx.session, ctx.tenant, request.data)
        before = msgspec.json.decode(row["checks"]) if row["checks"] else None
        words = [_outcome(report) for report in (before, request.report)]
        return Plan(
            operation="data.checked",
            object=f"data:{label(row)}",
            text=f"{label(row)} was checked: {words[1]}",
            changes=[Change(object=f"data:{label(row)}", field="checks", before=words[0], after=words[1])],
            data={"id": row["id"]},
        )

    def apply(self, ctx: Context, request: contract.CheckedData, plan: Plan) -> Done:
        """Write it."""
        report = msgspec.json.encode(request.report).decode()
        ctx.session.execute("UPDATE dataset_version SET checks = ? WHERE id = ?", [report, plan.data["id"]])
        ctx.emit("data", plan.data["id"], "checked", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


def _outcome(report: dict[str, Any] | None) -> str | None:
    """Return a report in a few words; None when there is none."""
    if report is None:
        return None
    results = report.get("results", [])
    failed = sum(not one.get("passed") for one in results)
    return f"{failed} of {len(results)} checks failed" if failed else f"all {len(results)} checks passed"
