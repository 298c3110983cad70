"""Online features: a view computed over a data set and kept as one file in which servers look entities up."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import data as contract
from mlops_tui.contracts.operation import Change, Done, Plan, Started
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.data.features import view
from mlops_tui.data.online.transform import FeatureFile, FeatureSet
from mlops_tui.data.versions import WORKER, label, resolve
from mlops_tui.door import Context, implements
from mlops_tui.door.registry import refers
from mlops_tui.jobs import start_job
from mlops_tui.store.session import Session

KEPT = 3
"""Newest tables of a view whose artifacts are kept: servers may still be going over to the last."""

refers("SELECT digest FROM online_features")


@implements(contract.materialize)
class Materialize:
    """Compute a view's features for serving; a worker does."""

    def plan(self, ctx: Context, request: contract.Materialize) -> Plan:
        """Find the view and the data set."""
        row = view(ctx.session, ctx.tenant, request.view)
        record = msgspec.json.decode(row["record"])
        FeatureSet(msgspec.convert(record, FeatureFile), request.features)  # every feature wanted must be there
        found = resolve(ctx.session, ctx.tenant, request.data)
        columns = {one["name"] for one in msgspec.json.decode(found["columns"])}
        if request.time and request.time not in columns:
            raise BadInput(f"{label(found)} has no column {request.time}", f"it has {', '.join(sorted(columns))}")
        before = newest(ctx.session, ctx.tenant, row["name"])
        body = {
            "work": "materialize", "view": row["name"], "record": record, "picked": request.features,
            "digest": found["digest"], "format": found["format"], "data": label(found), "time": request.time,
            "made_us": found["created_us"],
        }  # fmt: skip
        return Plan(
            operation="feature.materialize",
            object=f"view:{row['name']}",
            text=f"materialise {row['name']} over {label(found)}",
            changes=[
                Change(
                    object=f"view:{row['name']}", field="online", before=before and before["data"], after=label(found)
                )
            ],
            data=body,
        )

    def apply(self, ctx: Context, request: contract.Materialize, plan: Plan) -> Started:
        """Queue the worker."""
        body = plan.data
        job = start_job(ctx, kind="feature.materialize", name=body["view"], module=WORKER, request=body)
        return Started(job=job, text=plan.text)


@implements(contract.online)
class TakeOnline:
    """Make a table that a worker wrote the newest of its view."""

    def plan(self, ctx: Context, request: contract.Online) -> Plan:
        """Look whether it is here."""
        if not ctx.blobs.exists(request.digest):
            raise NotFound(f"the artifact {request.digest[:12]} is not in this home")
        text = f"{request.view} online: {request.entities:,} entities of {request.data}"
        changes = [Change(object=f"view:{request.view}", field="online", after=request.data)]
        return Plan(operation="feature.online", object=f"view:{request.view}", text=text, changes=changes)

    def apply(self, ctx: Context, request: contract.Online, plan: Plan) -> Done:
        """Insert it; of older ones few are kept. Deployments that look up there follow."""
        facts = msgspec.to_builtins(request)
        newest_us = facts.pop("newest")
        ctx.session.insert(
            "online_features",
            seq=ctx.next("online_features"),
            tenant=ctx.tenant,
            newest_us=newest_us,
            actor=ctx.caller.name,
            ts_us=ctx.now,
            **facts,
        )
        ctx.session.execute(
            """DELETE FROM online_features WHERE tenant = $tenant AND view = $view AND seq NOT IN (
                 SELECT seq FROM online_features WHERE tenant = $tenant AND view = $view
                 ORDER BY seq DESC LIMIT $kept)""",
            {"tenant": ctx.tenant, "view": request.view, "kept": KEPT},
        )
        ctx.emit("feature", request.view, "materialised", plan.text, "feature:")
        ctx.wake("deploy.reconcile")
        return Done(object=plan.object, text=plan.text)


def newest(session: Session, tenant: str, name: str) -> dict[str, Any] | None:
    """Return the newest online table of a view, or None."""
    return session.dict(
        "SELECT * FROM online_features WHERE tenant = ? AND view = ? ORDER BY seq DESC LIMIT 1", [tenant, name]
    )
