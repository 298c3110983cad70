"""Operations and list of monitors."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import monitor as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan, Started
from mlops_tui.core.clock import SECOND
from mlops_tui.core.errors import Conflict, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.data.versions import label, resolve
from mlops_tui.deploy import traffic
from mlops_tui.deploy.find import find_deployment
from mlops_tui.door import Context, implements
from mlops_tui.jobs import start_job
from mlops_tui.monitoring import watch
from mlops_tui.monitoring.reference import Monitor, monitor_of
from mlops_tui.store.listing import Listing, lists

EVALUATION = "evaluation.parquet"
"""How the artifact is called in which training leaves the held-out rows with the model's scores."""

lists(
    Listing(
        noun="monitor",
        source="monitor m JOIN deployment d ON d.id = m.deployment_id",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="deployment", label="deployment"),
            Column(name="reference", label="reference"),
            Column(name="judged", label="judged", kind="time"),
            Column(name="created", label="since", kind="time"),
            Column(name="actor", label="by"),
        ],
        expressions={
            "id": "m.id",
            "deployment": "d.name",
            "reference": "m.reference",
            "judged": "epoch_us(m.judged)",
            "created": "epoch_us(m.created)",
            "actor": "m.actor",
        },
        sort="deployment",
        tenant="m.tenant",
        where="m.removed IS NULL",
    )
)


def find_monitor(ctx: Context, deployment: str) -> tuple[Monitor, dict[str, Any]]:
    """Return the monitor of a deployment, by what people call it, and its row.

    Raises:
        NotFound: there is no such deployment, or nobody watches it.
    """
    found = find_deployment(ctx.session, ctx.tenant, deployment)
    row = watch.find(ctx.session, found["id"])
    if row is None:
        raise NotFound(f"nobody watches {found['name']}", "", f"mlops monitor add {found['name']}")
    return monitor_of(row), row


def _refuse_watched(ctx: Context, row: dict[str, Any]) -> None:
    if watch.find(ctx.session, row["id"]) is not None:
        raise Conflict(f"{row['name']} is watched already", "", f"mlops monitor remove {row['name']}")


@implements(contract.monitor_add)
class AddMonitor:
    """Watch a deployment; a worker profiles the reference first."""

    def plan(self, ctx: Context, request: contract.AddMonitor) -> Plan:
        """Find the deployment and the rows that are its reference."""
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        _refuse_watched(ctx, row)
        reference = self._reference(ctx, row, request.reference)
        what = f"window {request.window_s:g} s, against {reference['name']}"
        return Plan(
            operation="monitor.add",
            object=f"monitor:{row['name']}",
            text=f"watch {row['name']} against {reference['name']}",
            changes=[Change(object=f"deploy:{row['name']}", field="monitor", after=what)],
            data={
                "deployment": row["id"],
                "name": row["name"],
                "reference": reference,
                "spec": msgspec.to_builtins(request),
            },
        )

    def apply(self, ctx: Context, request: contract.AddMonitor, plan: Plan) -> Started:
        """Queue the worker."""
        job = start_job(
            ctx, kind="monitor.add", name=plan.data["name"], module="mlops_tui.monitoring.worker", request=plan.data
        )
        return Started(job=job, text=plan.text)

    def _reference(self, ctx: Context, row: dict[str, Any], asked: str) -> dict[str, str]:
        """Return name, digest and kind of the reference: what was asked for, or what the model was evaluated on."""
        if asked:
            data = resolve(ctx.session, ctx.tenant, asked)
            return {"name": label(data), "digest": data["digest"], "kind": "training set"}
        now = traffic.current(ctx.session, row["id"])
        found = ctx.session.row(
            """SELECT n.name, a.digest FROM revision r JOIN model_version v ON v.id = r.version_id
               JOIN run_artifact a ON a.run = v.run_id JOIN run n ON n.id = v.run_id
               WHERE r.deployment_id = ? AND r.no = ? AND ends_with(a.path, ?) ORDER BY a.ts DESC LIMIT 1""",
            [row["id"], now.split.stable if now else 1, EVALUATION],
        )
        if found is None:
            raise NotFound(
                f"there is nothing to compare {row['name']} with",
                f"the run of its model left no {EVALUATION}",
                f"mlops monitor add {row['name']} --reference TRAINING-SET@VERSION",
            )
        return {"name": f"evaluation of {found[0]}", "digest": found[1], "kind": "evaluation"}


@implements(contract.monitor_commit)
class CommitMonitor:
    """Begin the watch with the frozen reference; the window before now is counted too."""

    def plan(self, ctx: Context, request: contract.CommitMonitor) -> Plan:
        """Name the reference."""
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        _refuse_watched(ctx, row)
        return Plan(
            operation="monitor.commit",
            object=f"monitor:{row['name']}",
            text=f"{row['name']} is watched against {request.reference}",
            data={"id": row["id"]},
        )

    def apply(self, ctx: Context, request: contract.CommitMonitor, plan: Plan) -> Done:
        """Insert it."""
        spec = msgspec.convert(request.spec, contract.AddMonitor)
        since = ctx.now - int(spec.window_s * SECOND)
        ctx.session.insert(
            "monitor",
            id=uuid7(),
            tenant=ctx.tenant,
            deployment_id=plan.data["id"],
            spec=msgspec.json.encode(spec).decode(),
            reference=request.reference,
            profiles=msgspec.json.encode(request.profiles).decode(),
            created_us=ctx.now,
            actor=ctx.caller.name,
            counted=ctx.session.value(
                "SELECT coalesce(max(seq), 0) FROM inference WHERE ts < make_timestamp(?)", [since]
            ),
        )
        ctx.emit("monitor", plan.data["id"], "added", plan.text, plan.object)
        ctx.wake("monitoring.judge")
        return Done(object=plan.object, text=plan.text)


@implements(contract.monitor_remove)
class RemoveMonitor:
    """Stop watching; what was judged stays."""

    def plan(self, ctx: Context, request: contract.OneMonitor) -> Plan:
        """Find the monitor."""
        monitor, _ = find_monitor(ctx, request.deployment)
        return Plan(
            operation="monitor.remove",
            object=f"monitor:{monitor.name}",
            text=f"stop watching {monitor.name}",
            changes=[Change(object=f"deploy:{monitor.name}", field="monitor", before="watched", after="removed")],
            data={"id": monitor.id, "name": monitor.name},
        )

    def apply(self, ctx: Context, request: contract.OneMonitor, plan: Plan) -> Done:
        """End it, and its alerts."""
        watch.retire(ctx, plan.data["id"], plan.data["name"])
        ctx.emit("monitor", plan.data["id"], "removed", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)
