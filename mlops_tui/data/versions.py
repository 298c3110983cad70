"""Data set versions: taken in by a worker, committed once, never changed."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import data as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan, Started
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.data import profile
from mlops_tui.data.labels import check_labels
from mlops_tui.door import Context, implements, refers
from mlops_tui.door.files import callers_file
from mlops_tui.jobs import start_job
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

WORKER = "mlops_tui.data.worker"
refers("SELECT digest FROM dataset_version")

lists(
    Listing(
        noun="data",
        source="dataset_version v JOIN dataset d ON d.id = v.dataset_id",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="name", label="name"),
            Column(name="version", label="version", kind="int"),
            Column(name="rows", label="rows", kind="int"),
            Column(name="size", label="size", kind="bytes"),
            Column(name="columns", label="columns", kind="int"),
            Column(name="checks", label="checks", kind="status"),
            Column(name="classification", label="class"),
            Column(name="residency", label="residency"),
            Column(name="created", label="created", kind="time"),
            Column(name="actor", label="by"),
            Column(name="digest", label="digest"),
        ],
        expressions={
            "id": "v.id",
            "name": "d.name",
            "version": "v.version",
            "rows": "v.n_rows",
            "size": "v.size",
            "columns": "json_array_length(v.columns)",
            "checks": """CASE WHEN v.checks IS NULL THEN 'none'
                           WHEN (v.checks::JSON->>'passed')::BOOLEAN THEN 'ok' ELSE 'failed' END""",
            "classification": "v.classification",
            "residency": "v.residency",
            "created": "epoch_us(v.created)",
            "actor": "v.actor",
            "digest": "v.digest",
        },
        sort="-created",
        tenant="d.tenant",
    )
)


def resolve(session: Session, tenant: str, reference: str) -> dict[str, Any]:
    """Return the row of a version named ``census`` (newest), ``census@3``, ``data:census@3`` or by its id.

    Raises:
        NotFound: there is no such version.
    """
    name, _, version = reference.removeprefix("data:").partition("@")
    row = session.dict(
        """SELECT v.*, d.name, epoch_us(v.created) AS created_us
           FROM dataset_version v JOIN dataset d ON d.id = v.dataset_id
           WHERE d.tenant = $tenant AND (v.id = $name OR
             (d.name = $name AND ($version = '' OR v.version = TRY_CAST($version AS INTEGER))))
           ORDER BY v.version DESC LIMIT 1""",
        {"tenant": tenant, "name": name, "version": version},
    )
    if row is None:
        raise NotFound(f"there is no data set {reference}", "", "mlops data list shows them")
    return row


def label(row: dict[str, Any]) -> str:
    """Return what people call a version: ``census@3``."""
    return f"{row['name']}@{row['version']}"


@implements(contract.add)
class AddData:
    """Take in a file: a worker reads it, and commits what it found."""

    def plan(self, ctx: Context, request: contract.AddData) -> Plan:
        """Check files, labels and parent, before a job is spent on them."""
        check_labels(request.classification, request.residency)
        parent = label(resolve(ctx.session, ctx.tenant, request.parent)) if request.parent else ""
        path = callers_file(ctx, request.path)
        checks = callers_file(ctx, request.checks) if request.checks else None
        body = {**msgspec.to_builtins(request), "path": str(path), "checks": str(checks or ""), "parent": parent}
        change = Change(
            object=f"data:{request.name}", field="version", before=_latest(ctx, request.name), after="the next"
        )
        return Plan(
            operation="data.add",
            object=f"data:{request.name}",
            text=f"take in {path.name} as {request.name}",
            changes=[change],
            data=body,
        )

    def apply(self, ctx: Context, request: contract.AddData, plan: Plan) -> Started:
        """Queue the worker."""
        job = start_job(ctx, kind="data.add", name=request.name, module=WORKER, request={"work": "add", **plan.data})
        return Started(job=job, text=plan.text)


@implements(contract.commit)
class CommitData:
    """Make a version; the same content under the same name again is the version that it was."""

    def plan(self, ctx: Context, request: contract.CommitData) -> Plan:
        """Number the version."""
        if not ctx.blobs.exists(request.digest):
            raise BadInput(
                f"the artifact {request.digest[:12]} is not in this home",
                "a version needs its content",
                "mlops data add",
            )
        check_labels(request.classification, request.residency)
        parents = [resolve(ctx.session, ctx.tenant, one) for one in request.parent.split(",") if one]
        same = ctx.session.value(
            """SELECT max(v.version) FROM dataset_version v JOIN dataset d ON d.id = v.dataset_id
               WHERE d.tenant = ? AND d.name = ? AND v.digest = ?""",
            [ctx.tenant, request.name, request.digest],
        )
        if same:
            known = f"{request.name}@{same}"
            text = f"{request.name} is unchanged: its content is {known}"
            return Plan(operation="data.commit", object=f"data:{known}", text=text, data={"same": known})
        before = _latest(ctx, request.name)
        version = (before or 0) + 1
        return Plan(
            operation="data.commit",
            object=f"data:{request.name}@{version}",
            text=f"data set {request.name}@{version}: {request.rows:,} rows",
            changes=[Change(object=f"data:{request.name}", field="version", before=before, after=version)],
            data={"same": None, "version": version, "parents": parents},
        )

    def apply(self, ctx: Context, request: contract.CommitData, plan: Plan) -> contract.DataVersion:
        """Insert it with its lineage."""
        if plan.data["same"]:
            return _shown(ctx, resolve(ctx.session, ctx.tenant, plan.data["same"]))
        identifier, parents = uuid7(), plan.data["parents"]
        ctx.session.insert(
            "dataset_version",
            id=identifier,
            dataset_id=_dataset(ctx, request.name),
            version=plan.data["version"],
            digest=request.digest,
            size=request.size,
            n_rows=request.rows,
            format=request.format,
            origin=request.path,
            columns=_json(request.schema),
            profile=_json(request.profile),
            checks=_json(request.checks) if request.checks else None,
            parent=",".join(label(parent) for parent in parents),
            residency=request.residency,
            classification=request.classification,
            created_us=ctx.now,
            actor=ctx.caller.name,
            made_by=request.made_by,
        )
        ctx.session.execute(
            """INSERT INTO blob SELECT $digest, $size, 'data', make_timestamp($now)
               WHERE NOT EXISTS (SELECT 1 FROM blob WHERE digest = $digest)""",
            {"digest": request.digest, "size": request.size, "now": ctx.now},
        )
        for parent in parents:
            ctx.link(f"dataset_version:{identifier}", "made_from", f"dataset_version:{parent['id']}")
        ctx.emit("data", identifier, "added", plan.text, plan.object)
        return _shown(ctx, resolve(ctx.session, ctx.tenant, identifier))


@implements(contract.show)
def show(ctx: Context, request: contract.OneData) -> contract.DataVersion:
    """Show a version."""
    return _shown(ctx, resolve(ctx.session, ctx.tenant, request.data))


@implements(contract.diff)
def diff(ctx: Context, request: contract.DiffData) -> contract.DataDiff:
    """Compare the profiles of two versions."""
    base, other = (resolve(ctx.session, ctx.tenant, reference) for reference in (request.base, request.other))
    profiles = [msgspec.json.decode(row["profile"], type=profile.Profile) for row in (base, other)]
    changes = [msgspec.to_builtins(change) for change in profile.diff(*profiles)]
    return contract.DataDiff(
        base=label(base), other=label(other), rows=other["n_rows"] - base["n_rows"], columns=changes
    )


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


@implements(contract.tag)
class TagData:
    """Set or remove tags of a version."""

    def plan(self, ctx: Context, request: contract.TagData) -> Plan:
        """Say each tag before and after."""
        row = resolve(ctx.session, ctx.tenant, request.data)
        before = _tags(ctx.session, row["id"])
        changes = [
            Change(object=f"data:{label(row)}", field=key, before=before.get(key), after=value or None)
            for key, value in request.tags.items()
            if before.get(key, "") != value
        ]
        return Plan(
            operation="data.tag",
            object=f"data:{label(row)}",
            text=f"tag {label(row)}",
            changes=changes,
            data={"id": row["id"]},
        )

    def apply(self, ctx: Context, request: contract.TagData, plan: Plan) -> Done:
        """Write them."""
        for change in plan.changes:
            gone = "DELETE FROM tag WHERE object = ? AND key = ?"
            ctx.session.change("tag", [plan.data["id"]], gone, [plan.data["id"], change.field])
            if change.after:
                ctx.session.insert("tag", object=plan.data["id"], key=change.field, value=change.after, ts_us=ctx.now)
        ctx.emit("data", plan.data["id"], "tagged", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


def _dataset(ctx: Context, name: str) -> str:
    """Return the id of the data set of a name, making it when it is new."""
    known = ctx.session.value("SELECT id FROM dataset WHERE tenant = ? AND name = ?", [ctx.tenant, name])
    if known is not None:
        return str(known)
    made = uuid7()
    ctx.session.insert("dataset", id=made, tenant=ctx.tenant, name=name, created_us=ctx.now, actor=ctx.caller.name)
    return made


def _latest(ctx: Context, name: str) -> int | None:
    found: int | None = ctx.session.value(
        """SELECT max(v.version) FROM dataset_version v JOIN dataset d ON d.id = v.dataset_id
           WHERE d.tenant = ? AND d.name = ?""",
        [ctx.tenant, name],
    )
    return found


def _tags(session: Session, identifier: str) -> dict[str, str]:
    return dict(session.rows("SELECT key, value FROM tag WHERE object = ? ORDER BY key", [identifier]))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _shown(ctx: Context, row: dict[str, Any]) -> contract.DataVersion:
    consumers = ctx.session.column("SELECT DISTINCT src FROM link WHERE dst = ?", [f"dataset_version:{row['id']}"])
    same = (
        "id",
        "name",
        "version",
        "digest",
        "size",
        "format",
        "origin",
        "actor",
        "residency",
        "classification",
        "parent",
    )
    return contract.DataVersion(
        **{key: row[key] for key in same},
        rows=row["n_rows"],
        created=row["created_us"],
        schema=msgspec.json.decode(row["columns"]),
        profile=msgspec.json.decode(row["profile"]),
        checks=msgspec.json.decode(row["checks"]) if row["checks"] else None,
        tags=_tags(ctx.session, row["id"]),
        consumers=consumers,
    )
