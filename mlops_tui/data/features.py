"""Feature definitions in the store, and training sets made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.contracts import data as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan, Started
from mlops_tui.core.errors import Conflict, NotFound
from mlops_tui.data.online.transform import FeatureSet
from mlops_tui.data.versions import WORKER, label, resolve
from mlops_tui.door import Context, implements
from mlops_tui.jobs import start_job
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

lists(
    Listing(
        noun="feature",
        source="feature",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="name", label="name"),
            Column(name="version", label="version", kind="int"),
            Column(name="entity", label="entity"),
            Column(name="dtype", label="type"),
            Column(name="expr", label="definition"),
            Column(name="description", label="description"),
            Column(name="created", label="created", kind="time"),
            Column(name="actor", label="by"),
        ],
        expressions={
            "id": "name || '@' || version",
            "name": "name",
            "version": "version",
            "entity": "entity",
            "dtype": "dtype",
            "expr": "expr",
            "description": "description",
            "created": "epoch_us(created)",
            "actor": "actor",
        },
        sort="name",
        tenant="tenant",
    )
)


@implements(contract.feature_apply)
class ApplyFeatures:
    """Register the definitions of a file; a definition never changes under its version."""

    def plan(self, ctx: Context, request: contract.ApplyFeatures) -> Plan:
        """Read and check the file, and say which definitions are new."""
        path = Path(ctx.caller.cwd or "/", request.path)
        if not path.is_file():
            raise NotFound(f"there is no file {path}", "", "give its path from where you are")
        features = FeatureSet.load(path)
        known = {
            (row["name"], row["version"]): row["digest"]
            for row in ctx.session.dicts("SELECT * FROM feature WHERE tenant = ?", [ctx.tenant])
        }
        changes = []
        for one in features.definitions:
            before = known.get((one.name, one.version))
            if before not in (None, one.digest):
                raise Conflict(
                    f"feature {one.name}@{one.version} is registered with another definition",
                    "a version never changes",
                    f"give it version {one.version + 1}",
                )
            if before is None:
                changes.append(Change(object=f"feature:{one.name}@{one.version}", field="expr", after=one.expr))
        name = request.name or path.stem
        text = f"apply {path.name}: {len(changes)} new of {len(features.definitions)} features"
        data = {
            "name": name,
            "digest": features.digest,
            "record": features.record(),
            "new": [change.object for change in changes],
        }
        return Plan(operation="feature.apply", object=f"view:{name}", text=text, changes=changes, data=data)

    def apply(self, ctx: Context, request: contract.ApplyFeatures, plan: Plan) -> Done:
        """Insert what is new, and the view as a whole."""
        record, fresh = plan.data["record"], set(plan.data["new"])
        for one in record["features"]:
            if f"feature:{one['name']}@{one['version']}" in fresh:
                ctx.session.insert(
                    "feature", name=one["name"], version=one["version"], tenant=ctx.tenant, entity=one["entity"] or record["entity"], dtype=one["dtype"],
                    expr=one["expr"], description=one["description"], digest=one["digest"], created_us=ctx.now, actor=ctx.caller.name,
                )  # fmt: skip
        ctx.session.insert(
            "feature_view", seq=ctx.next("feature_view"), tenant=ctx.tenant, name=plan.data["name"], digest=plan.data["digest"],
            record=msgspec.json.encode(record).decode(), created_us=ctx.now, actor=ctx.caller.name,
        )  # fmt: skip
        ctx.emit("feature", plan.data["name"], "applied", plan.text, "feature:")
        return Done(object=plan.object, text=plan.text)


@implements(contract.feature_show)
def show(ctx: Context, request: contract.OneFeature) -> contract.Feature:
    """Show a feature and the views that use it."""
    name, _, version = request.feature.partition("@")
    row = ctx.session.dict(
        """SELECT *, epoch_us(created) AS created_us FROM feature WHERE tenant = ? AND name = ? AND (? = '' OR version = TRY_CAST(? AS INTEGER))
           ORDER BY version DESC LIMIT 1""",
        [ctx.tenant, name, version, version],
    )
    if row is None:
        raise NotFound(f"there is no feature {request.feature}", "", "mlops feature list shows them")
    definition = contract.FeatureDef(
        name=row["name"], version=row["version"], dtype=row["dtype"], expr=row["expr"], entity=row["entity"], description=row["description"],
        digest=row["digest"], created=row["created_us"],
    )  # fmt: skip
    users = ctx.session.column(
        "SELECT DISTINCT 'view:' || name FROM feature_view WHERE tenant = ? AND contains(record, ?)",
        [ctx.tenant, row["digest"]],
    )
    return contract.Feature(definition=definition, consumers=users)


def view(session: Session, tenant: str, name: str) -> dict[str, Any]:
    """Return the newest state of a feature view; the newest of all when no name is given.

    Raises:
        NotFound: no feature file was applied under that name.
    """
    row = session.dict(
        "SELECT * FROM feature_view WHERE tenant = ? AND (? = '' OR name = ?) ORDER BY seq DESC LIMIT 1",
        [tenant, name, name],
    )
    if row is None:
        raise NotFound(f"there is no feature view {name}".rstrip(), "", "mlops feature apply features.yaml")
    return row


@implements(contract.view_read)
def read_view(ctx: Context, request: contract.Resolve) -> contract.FeatureView:
    """Read a view for a worker."""
    row = view(ctx.session, ctx.tenant, request.view)
    return contract.FeatureView(name=row["name"], digest=row["digest"], record=msgspec.json.decode(row["record"]))


@implements(contract.training_set)
class MakeTrainingSet:
    """Compute features over data sets; a worker does."""

    def plan(self, ctx: Context, request: contract.MakeTrainingSet) -> Plan:
        """Find the view and every data set."""
        row = view(ctx.session, ctx.tenant, request.view)
        sources = []
        for reference in request.data:
            data, _, labels = reference.partition("+")
            found = [resolve(ctx.session, ctx.tenant, one) for one in (data, labels) if one]
            sources.append([{"data": label(one), "digest": one["digest"], "format": one["format"]} for one in found])
        body = {
            "work": "training-set",
            "name": request.name,
            "record": msgspec.json.decode(row["record"]),
            "picked": request.features,
            "sources": sources,
            "where": request.where,
        }
        text = f"compute {row['name']} over {', '.join(request.data)} as {request.name}"
        return Plan(operation="feature.training-set", object=f"data:{request.name}", text=text, data=body)

    def apply(self, ctx: Context, request: contract.MakeTrainingSet, plan: Plan) -> Started:
        """Queue the worker."""
        return Started(
            job=start_job(ctx, kind="feature.training-set", name=request.name, module=WORKER, request=plan.data),
            text=plan.text,
        )
