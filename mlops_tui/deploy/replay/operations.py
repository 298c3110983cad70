"""The operation that sends a data set as live traffic; a worker does it."""

from __future__ import annotations

from typing import Any

from mlops_tui.contracts import deploy as contract
from mlops_tui.contracts.operation import Plan, Started
from mlops_tui.core.errors import Refused
from mlops_tui.data.versions import label, resolve
from mlops_tui.deploy.find import find_deployment, shut_to_us
from mlops_tui.door import Context, implements
from mlops_tui.jobs import start_job


@implements(contract.replay)
class ReplayTraffic:
    """Send a data set as live traffic."""

    def plan(self, ctx: Context, request: contract.Replay) -> Plan:
        """Find the deployment and the data."""
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        if shut_to_us(row, ctx.house.home.deployments / row["id"]):
            raise Refused(f"{row['name']} cannot be asked from here", "its clients need a certificate")
        files = {"data": _file(ctx, request.data)}
        if request.labels:
            files["labels"] = _file(ctx, request.labels)
        text = f"replay {files['data']['data']} to {row['name']}" + (f" where {request.where}" if request.where else "")
        options = ("label_column", "id_column", "where", "rows", "rate", "batch", "label_delay_s", "prefix")
        body = {"deployment": row["id"], "name": row["name"], "files": files}
        return Plan(
            operation="deploy.replay",
            object=f"deploy:{row['name']}",
            text=text,
            data={**body, **{option: getattr(request, option) for option in options}},
        )

    def apply(self, ctx: Context, request: contract.Replay, plan: Plan) -> Started:
        """Queue the worker. It is not begun again by itself: requests would be sent twice."""
        job = start_job(
            ctx,
            kind="deploy.replay",
            name=plan.data["name"],
            module="mlops_tui.deploy.replay.worker",
            request=plan.data,
            retries=0,
        )
        return Started(job=job, text=plan.text)


def _file(ctx: Context, reference: str) -> dict[str, Any]:
    row = resolve(ctx.session, ctx.tenant, reference)
    return {"digest": row["digest"], "format": row["format"], "data": label(row)}
