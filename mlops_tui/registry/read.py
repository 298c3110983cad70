"""Looking at models: whole, one version, two versions side by side."""

from __future__ import annotations

from typing import Any

from mlops_tui.contracts import model as contract
from mlops_tui.door import Context, implements
from mlops_tui.registry.versions import find_model, label, resolve_version, shown, versions_of
from mlops_tui.store.tags import tags_of
from mlops_tui.tracking.runs.read import params_of


@implements(contract.show)
def show(ctx: Context, request: contract.OneModel) -> contract.Model:
    """Show a model: its versions and every move of its aliases, newest first."""
    model, session = find_model(ctx.session, ctx.tenant, request.model), ctx.session
    history = session.dicts(
        """SELECT a.alias, v.version, a.actor, a.reason, epoch_us(a.ts) AS ts
           FROM alias_event a LEFT JOIN model_version v ON v.id = a.version_id
           WHERE a.model_id = ? ORDER BY a.seq DESC""",
        [model["id"]],
    )
    aliases = session.rows(
        "SELECT a.alias, v.version FROM alias a JOIN model_version v ON v.id = a.version_id WHERE a.model_id = ?",
        [model["id"]],
    )
    return contract.Model(
        id=model["id"],
        name=model["name"],
        created=model["created"],
        actor=model["actor"],
        aliases=dict(sorted(aliases)),
        versions=shown(session, versions_of(session, model["id"])),
        history=[contract.AliasEvent(**one) for one in history],
        description=model["description"],
        tags=tags_of(session, model["id"]),
        updated=model["updated"],
    )


@implements(contract.version_show)
def version_show(ctx: Context, request: contract.OneModel) -> contract.ModelVersion:
    """Show one version."""
    return shown(ctx.session, [resolve_version(ctx.session, ctx.tenant, request.model)])[0]


@implements(contract.compare)
def compare(ctx: Context, request: contract.CompareVersions) -> contract.VersionDiff:
    """Say what differs between two versions: file, data, features, gates, metrics and parameters."""
    rows = [resolve_version(ctx.session, ctx.tenant, reference) for reference in (request.base, request.other)]
    base, other = (_facts(ctx, row, version) for row, version in zip(rows, shown(ctx.session, rows), strict=True))
    return contract.VersionDiff(
        base=label(rows[0]),
        other=label(rows[1]),
        rows=[
            {"what": what, "base": base.get(what), "other": other.get(what)}
            for what in dict.fromkeys((*base, *other))
            if base.get(what) != other.get(what)
        ],
    )


def _facts(ctx: Context, row: dict[str, Any], version: contract.ModelVersion) -> dict[str, Any]:
    params = params_of(ctx.session, row["run_id"]) if row["run_id"] else {}
    return {
        "format": version.format,
        "size": version.size,
        "digest": version.digest[:12],
        "data": ", ".join(version.datasets),
        "features": ", ".join(version.features),
        **{f"{side}": _tensors(version.signature.get(side)) for side in ("inputs", "outputs")},
        **{f"gate {one.gate}": "passed" if one.passed else "failed" for one in version.gates},
        **{f"metric {key}": value for key, value in version.metrics.items()},
        **{f"param {key}": value for key, value in params.items()},
    }


def _tensors(found: Any) -> str:
    if not isinstance(found, list):
        return ""
    return ", ".join(
        f"{one.get('name')} {one.get('dtype', '')}{one.get('shape') or ''}" for one in found if isinstance(one, dict)
    )
