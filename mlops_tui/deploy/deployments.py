"""Operations and list of deployments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlops_tui.contracts import deploy as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan, Started
from mlops_tui.contracts.run import LogLines
from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.data.versions import label as data_label
from mlops_tui.data.versions import resolve as resolve_data
from mlops_tui.deploy import traffic
from mlops_tui.door import Context, implements, keeps_awake
from mlops_tui.jobs import start_job
from mlops_tui.registry.versions import resolve_version
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

ENVIRONMENTS = ("local", "staging", "prod")

lists(
    Listing(
        noun="deploy",
        source="deployment",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="name", label="name"),
            Column(name="status", label="status", kind="status"),
            Column(name="environment", label="environment"),
            Column(name="target", label="target"),
            Column(name="split", label="traffic"),
            Column(name="url", label="address"),
            Column(name="created", label="created", kind="time"),
            Column(name="actor", label="by"),
            Column(name="text", label="state"),
        ],
        expressions={
            "id": "id",
            "name": "name",
            "status": "status",
            "environment": "environment",
            "target": "target",
            "split": """(SELECT string_agg(r.label || ' ' || round((s.share->>'weight')::DOUBLE)::INTEGER || '%', '  ')
              FROM (SELECT unnest(json_extract(t.split, '$.shares[*]')) AS share FROM traffic_event t WHERE t.deployment_id = deployment.id
                    QUALIFY row_number() OVER (ORDER BY t.seq DESC) = 1) s
              JOIN revision r ON r.deployment_id = deployment.id AND r.no = (s.share->>'no')::INTEGER)""",
            "url": "'http://' || host || ':' || port",
            "created": "epoch_us(created)",
            "actor": "actor",
            "text": "text",
        },
        sort="name",
        tenant="tenant",
        where="removed IS NULL",
    )
)


@keeps_awake
def _serves(session: Session) -> bool:
    return bool(session.value("SELECT count(*) > 0 FROM deployment WHERE removed IS NULL"))


def find(session: Session, tenant: str, name: str) -> dict[str, Any]:
    """Return the row of a deployment by name or id.

    Raises:
        NotFound: there is none.
    """
    row = session.dict(
        "SELECT *, epoch_us(created) AS created_us FROM deployment WHERE tenant = ? AND removed IS NULL AND (name = ? OR id = ? OR ends_with(id, ?)) LIMIT 1",
        [tenant, name, name, name if len(name) >= 8 else "-"],
    )
    if row is None:
        raise NotFound(f"there is no deployment {name!r}", "", "mlops deploy list shows them")
    return row


@implements(contract.create)
class CreateDeployment:
    """Serve a model version; the reconciler starts the servers."""

    def plan(self, ctx: Context, request: contract.CreateDeployment) -> Plan:
        """Find the version and check the name and the port."""
        if request.target != "local":
            raise BadInput(
                f"there is no target {request.target!r}", "this release serves on its own machine", "--target local"
            )
        if request.environment not in ENVIRONMENTS:
            raise BadInput(f"there is no environment {request.environment!r}", "", "one of: " + ", ".join(ENVIRONMENTS))
        if ctx.session.value(
            "SELECT count(*) FROM deployment WHERE tenant = ? AND name = ? AND removed IS NULL",
            [ctx.tenant, request.name],
        ):
            raise Conflict(
                f"there is a deployment {request.name} already",
                "",
                f"mlops rollout start {request.name} {request.model} brings a version in",
            )
        other = ctx.session.value(
            "SELECT name FROM deployment WHERE port = ? AND port <> 0 AND removed IS NULL", [request.port]
        )
        if other:
            raise Conflict(
                f"port {request.port} belongs to the deployment {other}", "", "choose another, or 0 for a free one"
            )
        version = resolve_version(ctx.session, ctx.tenant, request.model)
        label = f"{version['model']}@{version['version']}"
        change = Change(object=f"deploy:{request.name}", field="serves", after=label)
        return Plan(
            operation="deploy.create",
            object=f"deploy:{request.name}",
            text=f"serve {label} as {request.name}",
            changes=[change],
            data={"version": version},
        )

    def apply(self, ctx: Context, request: contract.CreateDeployment, plan: Plan) -> contract.Deployment:
        """Write the intent down."""
        identifier = uuid7()
        ctx.session.insert(
            "deployment", id=identifier, tenant=ctx.tenant, name=request.name, target=request.target, environment=request.environment, host="127.0.0.1",
            port=request.port, workers=request.workers, status="starting", text="starting", boot="", acknowledged=0, created_us=ctx.now, actor=ctx.caller.name,
        )  # fmt: skip
        no = traffic.add_revision(ctx, identifier, plan.data["version"])
        traffic.shift(ctx, identifier, traffic.all_to(no), "create", ctx.caller.reason)
        ctx.emit("deploy", identifier, "created", plan.text, f"deploy:{request.name}")
        return shown(ctx, find(ctx.session, ctx.tenant, identifier))


@implements(contract.remove)
class RemoveDeployment:
    """Stop serving; what was logged stays."""

    def plan(self, ctx: Context, request: contract.OneDeployment) -> Plan:
        """Name what stops."""
        row = find(ctx.session, ctx.tenant, request.deployment)
        change = Change(object=f"deploy:{row['name']}", field="status", before=row["status"], after="removed")
        return Plan(
            operation="deploy.remove",
            object=f"deploy:{row['name']}",
            text=f"stop serving {row['name']}",
            changes=[change],
            data={"id": row["id"]},
        )

    def apply(self, ctx: Context, request: contract.OneDeployment, plan: Plan) -> Done:
        """Write it down; the reconciler drains the servers."""
        ctx.session.execute(
            "UPDATE deployment SET removed = make_timestamp(?), status = 'removed' WHERE id = ?",
            [ctx.now, plan.data["id"]],
        )
        ctx.emit("deploy", plan.data["id"], "removed", plan.text, plan.object)
        ctx.wake("deploy.reconcile")
        return Done(object=plan.object, text=plan.text)


@implements(contract.show)
def show(ctx: Context, request: contract.OneDeployment) -> contract.Deployment:
    """Show a deployment."""
    return shown(ctx, find(ctx.session, ctx.tenant, request.deployment))


@implements(contract.logs)
def logs(ctx: Context, request: contract.DeployLog) -> LogLines:
    """Read the end of the servers' log."""
    row = find(ctx.session, ctx.tenant, request.deployment)
    path = Path(ctx.home.deployments / row["id"] / "server.log")
    try:
        lines = path.read_text(errors="replace").splitlines()[-request.lines :]
    except FileNotFoundError:
        lines = []
    return LogLines(lines=lines, last=len(lines))


@implements(contract.replay)
class ReplayTraffic:
    """Send a data set as live traffic; a worker does."""

    def plan(self, ctx: Context, request: contract.Replay) -> Plan:
        """Find the deployment and the data."""
        row = find(ctx.session, ctx.tenant, request.deployment)
        found = {
            name: resolve_data(ctx.session, ctx.tenant, reference)
            for name, reference in (("data", request.data), ("labels", request.labels))
            if reference
        }
        files = {
            name: {"digest": one["digest"], "format": one["format"], "data": data_label(one)}
            for name, one in found.items()
        }
        body = {
            "deployment": row["id"], "name": row["name"], "files": files, "label_column": request.label_column, "id_column": request.id_column,
            "where": request.where, "rows": request.rows, "rate": request.rate, "batch": request.batch, "label_delay_s": request.label_delay_s,
            "prefix": request.prefix,
        }  # fmt: skip
        text = f"replay {files['data']['data']} to {row['name']}" + (f" where {request.where}" if request.where else "")
        return Plan(operation="deploy.replay", object=f"deploy:{row['name']}", text=text, data=body)

    def apply(self, ctx: Context, request: contract.Replay, plan: Plan) -> Started:
        """Queue the worker. It is not begun again by itself: requests would be sent twice."""
        job = start_job(
            ctx,
            kind="deploy.replay",
            name=plan.data["name"],
            module="mlops_tui.deploy.replay",
            request=plan.data,
            retries=0,
        )
        return Started(job=job, text=plan.text)


def shown(ctx: Context, row: dict[str, Any]) -> contract.Deployment:
    """Return a deployment with its revisions and their figures."""
    now = traffic.current(ctx.session, row["id"])
    weights = {share.no: share for share in now.split.shares} if now else {}
    figures = {
        no: (count, errors, p50, p95)
        for no, count, errors, p50, p95 in ctx.session.rows(
            """SELECT revision_no, count(DISTINCT request_id), count(DISTINCT request_id) FILTER (WHERE status >= 2),
                      quantile_cont(latency, 0.5) / 1000, quantile_cont(latency, 0.95) / 1000
               FROM inference WHERE deployment_id = ? GROUP BY 1""",
            [row["id"]],
        )
    }
    revisions = []
    for one in ctx.session.dicts(
        """SELECT r.id, r.no, r.label, m.name AS model, v.version FROM revision r JOIN model_version v ON v.id = r.version_id
           JOIN model m ON m.id = v.model_id WHERE r.deployment_id = ? ORDER BY r.no""",
        [row["id"]],
    ):
        share = weights.get(one["no"])
        count, errors, p50, p95 = figures.get(one["no"], (0, 0, None, None))
        revisions.append(
            contract.Revision(
                **one,
                role=share.role if share else "idle",
                weight=share.weight if share else 0.0,
                status="serving" if share else "idle",
                requests=count,
                errors=errors,
                p50_ms=p50,
                p95_ms=p95,
            )  # fmt: skip
        )
    rollout = ctx.session.value(
        """SELECT r.id FROM rollout r JOIN rollout_event e ON e.rollout_id = r.id WHERE r.deployment_id = ?
           QUALIFY row_number() OVER (PARTITION BY r.id ORDER BY e.seq DESC) = 1 AND e.state NOT IN ('Succeeded', 'RolledBack', 'Aborted', 'Superseded')""",
        [row["id"]],
    )
    return contract.Deployment(
        id=row["id"], name=row["name"], target=row["target"], environment=row["environment"], status=row["status"],
        url=f"http://{row['host']}:{row['port']}", pid=row["pid"], created=row["created_us"], actor=row["actor"],
        generation=now.generation if now else 0, acknowledged=row["acknowledged"], revisions=revisions, rollout=rollout, text=row["text"],
    )  # fmt: skip
