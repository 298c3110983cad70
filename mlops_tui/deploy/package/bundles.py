"""``deploy.bundle``: a deployment, or one model version, packed so that a machine without our store can serve it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.contracts import deploy as contract
from mlops_tui.contracts.operation import Plan, Started
from mlops_tui.core.errors import BadInput, Conflict
from mlops_tui.deploy import fallback, traffic
from mlops_tui.deploy.find import find_deployment
from mlops_tui.deploy.package import tuned
from mlops_tui.deploy.package.servable import features_of, place_of, varied
from mlops_tui.door import Context, implements
from mlops_tui.jobs import start_job
from mlops_tui.registry.versions import label, resolve_version
from mlops_tui.serving.deployment import Model, Revision
from mlops_tui.serving.models.bundle import Facts

WORKER = "mlops_tui.deploy.package.worker"


@implements(contract.bundle)
class MakeBundle:
    """Write a bundle; a worker does."""

    def plan(self, ctx: Context, request: contract.MakeBundle) -> Plan:
        """Find what is to be served, and refuse a place that is taken."""
        target = Path(request.folder)
        if not target.is_absolute():
            raise BadInput("a bundle needs an absolute path", f"{request.folder!r} is none")
        if target.exists():
            raise Conflict(f"{target} exists", "nothing is written over", "give another name")
        body = _deployment(ctx, request.name) if "@" not in request.name else _version(ctx, request.name)
        table = body["features"]
        names = ", ".join(one["label"] for one in body["about"].values())
        return Plan(
            operation="deploy.bundle",
            object=f"deploy:{body['name']}",
            text=f"write {names} as a bundle to {target}",
            warnings=[f"it holds the features of {table['entities']:,} entities, unsealed"] if table else [],
            cli=shlex.join(["mlops", "deploy", "bundle", request.name, request.folder]),
            data={**body, "target": str(target), "sign": request.sign},
        )

    def apply(self, ctx: Context, request: contract.MakeBundle, plan: Plan) -> Started:
        """Queue the worker."""
        body = plan.data
        job = start_job(ctx, kind="deploy.bundle", name=body["name"], module=WORKER, request=body, retries=0)
        return Started(job=job, text=plan.text)


def _deployment(ctx: Context, name: str) -> dict[str, Any]:
    """Return the split in force, with what each revision of it is."""
    row = find_deployment(ctx.session, ctx.tenant, name)
    now = traffic.current(ctx.session, row["id"])
    assert now is not None
    known = {
        one["no"]: one
        for one in ctx.session.dicts(
            "SELECT no, id, label, version_id, variant FROM revision WHERE deployment_id = ?", [row["id"]]
        )
    }
    revisions, about = [], {}
    spare = fallback.current(ctx.session, row["id"])
    for share in fallback.shares(now.split.shares, spare):
        revision = known[share.no]
        version = resolve_version(ctx.session, ctx.tenant, revision["version_id"])
        place = varied(ctx.blobs, place_of(ctx.session, ctx.blobs, version), revision["variant"] or "")
        revisions.append(_revision(revision["id"], share.no, revision["label"], place, share.weight, share.role))
        about[revision["label"]] = _about(version)
    stable = known[now.split.stable if spare.to is None else spare.to]["id"]
    table = features_of(ctx.session, row)
    asked = msgspec.json.decode(row["facts"] or "{}")
    facts = {"workers": row["workers"], **tuned.facts_of(row["tuned"] or "")}
    facts |= {name: asked[name] for name in Facts.__struct_fields__ if name in asked}
    return {
        "name": row["name"], "revisions": revisions, "about": about, "sticky": now.split.sticky, "fallback": stable,
        "facts": facts, "rescue": fallback.rescue(spare),
        "features": {key: table[key] for key in ("digest", "entities", "missing")} if table else None,
    }  # fmt: skip


def _version(ctx: Context, reference: str) -> dict[str, Any]:
    version = resolve_version(ctx.session, ctx.tenant, reference)
    name = f"v{version['version']}"
    revision = _revision(version["id"], 1, name, place_of(ctx.session, ctx.blobs, version), 100.0, "stable")
    about = {name: _about(version)}
    return {
        "name": version["model"],
        "revisions": [revision],
        "about": about,
        "sticky": None,
        "fallback": None,
        "facts": {},
        "rescue": {},
        "features": None,
    }


def _revision(identifier: str, no: int, name: str, model: Model, weight: float, role: str) -> dict[str, Any]:
    made = Revision(identifier, no, name, model, weight, role)
    found: dict[str, Any] = msgspec.to_builtins(made)
    return found


def _about(version: dict[str, Any]) -> dict[str, Any]:
    """Return what people want to know of a version where nobody can ask its store."""
    signature = msgspec.json.decode(version["signature"])
    return {
        "label": label(version),
        "model": version["model"],
        "version": version["version"],
        "id": version["id"],
        "run": version["run_id"],
        "digest": version["digest"],
        "format": version["format"],
        "registered_us": version["created"],
        "metrics": msgspec.json.decode(version["metrics"]),
        "signature": signature,
    }
