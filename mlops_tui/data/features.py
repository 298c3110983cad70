"""Feature definitions in the store, and training sets made of them."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import msgspec

from mlops_tui.contracts import data as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan, Started
from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.data.labels import joined
from mlops_tui.data.online.transform import FeatureFile, FeatureSet
from mlops_tui.data.versions import WORKER, label, resolve
from mlops_tui.door import Context, implements
from mlops_tui.door.files import callers_file
from mlops_tui.jobs import start_job
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

MAX_BYTES = 1_000_000
"""A feature file is read by the agent itself: none that a person writes is larger."""

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
        path = callers_file(ctx, request.path)
        if path.stat().st_size > MAX_BYTES:
            raise BadInput(f"{path} is not a feature file", f"it is larger than {MAX_BYTES:,} bytes")
        features = FeatureSet.load(path)
        definitions = _every(features)
        fresh = _new(ctx, definitions)
        name = request.name or path.stem
        record = {**features.record(), "features": msgspec.to_builtins(definitions)}
        return Plan(
            operation="feature.apply",
            object=f"view:{name}",
            text=f"apply {path.name}: {len(fresh)} new of {len(definitions)} features",
            changes=[Change(object=f"feature:{one.name}@{one.version}", field="expr", after=one.expr) for one in fresh],
            data={"name": name, "digest": features.digest, "record": record, "new": fresh},
        )

    def apply(self, ctx: Context, request: contract.ApplyFeatures, plan: Plan) -> Done:
        """Insert what is new, and the view as a whole."""
        made: dict[str, Any] = {"tenant": ctx.tenant, "created_us": ctx.now, "actor": ctx.caller.name}
        for one in plan.data["new"]:
            fields = msgspec.to_builtins(one)
            del fields["created"]
            ctx.session.insert("feature", **fields, **made)
        ctx.session.insert(
            "feature_view",
            seq=ctx.next("feature_view"),
            name=plan.data["name"],
            digest=plan.data["digest"],
            record=msgspec.json.encode(plan.data["record"]).decode(),
            **made,
        )
        ctx.emit("feature", plan.data["name"], "applied", plan.text, "feature:")
        return Done(object=plan.object, text=plan.text)


def _every(features: FeatureSet) -> list[contract.FeatureDef]:
    """Return every definition of a file, checked, in its order: also the versions that newer ones have replaced."""
    checked = {(one.name, one.version): one for one in features.definitions}
    older: dict[str, list[str]] = {}
    for one in features.file.features:
        if (one.name, one.version) not in checked:
            older.setdefault(one.name, []).append(f"{one.name}@{one.version}")
    for picked in zip_longest(*older.values()):
        more = FeatureSet(features.file, [reference for reference in picked if reference])
        checked.update({(one.name, one.version): one for one in more.definitions})
    return [checked[one.name, one.version] for one in features.file.features]


def _new(ctx: Context, definitions: list[contract.FeatureDef]) -> list[contract.FeatureDef]:
    """Return the definitions that are not registered yet.

    Raises:
        Conflict: one is registered with another expression.
    """
    rows = ctx.session.rows("SELECT name, version, digest FROM feature WHERE tenant = ?", [ctx.tenant])
    known = {(name, version): digest for name, version, digest in rows}
    for one in definitions:
        if known.get((one.name, one.version), one.digest) != one.digest:
            raise Conflict(
                f"feature {one.name}@{one.version} is registered with another definition",
                "a version never changes",
                f"give it version {one.version + 1}",
            )
    return [one for one in definitions if (one.name, one.version) not in known]


@implements(contract.feature_show)
def show(ctx: Context, request: contract.OneFeature) -> contract.Feature:
    """Show a feature and the views that use it."""
    name, _, version = request.feature.partition("@")
    row = ctx.session.dict(
        """SELECT * EXCLUDE (tenant, actor) REPLACE (epoch_us(created) AS created) FROM feature
           WHERE tenant = ? AND name = ? AND (? = '' OR version = TRY_CAST(? AS INTEGER))
           ORDER BY version DESC LIMIT 1""",
        [ctx.tenant, name, version, version],
    )
    if row is None:
        raise NotFound(f"there is no feature {request.feature}", "", "mlops feature list shows them")
    users = ctx.session.column(
        "SELECT DISTINCT 'view:' || name FROM feature_view WHERE tenant = ? AND contains(record, ?)",
        [ctx.tenant, row["digest"]],
    )
    return contract.Feature(definition=contract.FeatureDef(**row), consumers=users)


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
        record = msgspec.json.decode(row["record"])
        FeatureSet(msgspec.convert(record, FeatureFile), request.features)  # every feature wanted must be there
        found = [
            [resolve(ctx.session, ctx.tenant, one) for one in reference.split("+", 1)] for reference in request.data
        ]
        files = [
            [{"data": label(one), "digest": one["digest"], "format": one["format"]} for one in group] for group in found
        ]
        body = {
            "work": "training-set",
            "name": request.name,
            "record": record,
            "picked": request.features,
            "sources": files,
            "where": request.where,
            "parent": ",".join(file["data"] for group in files for file in group),
            **joined(one for group in found for one in group),
        }
        text = f"compute {row['name']} over {', '.join(request.data)} as {request.name}"
        return Plan(operation="feature.training-set", object=f"data:{request.name}", text=text, data=body)

    def apply(self, ctx: Context, request: contract.MakeTrainingSet, plan: Plan) -> Started:
        """Queue the worker."""
        return Started(
            job=start_job(ctx, kind="feature.training-set", name=request.name, module=WORKER, request=plan.data),
            text=plan.text,
        )
