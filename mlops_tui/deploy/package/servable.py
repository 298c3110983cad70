"""What the servers need of a model version: where its files lie, and what runs it."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.blobs import Blobs
from mlops_tui.contracts import deploy as contract
from mlops_tui.data.online_features import newest
from mlops_tui.deploy.package import tuned
from mlops_tui.door import Context, implements
from mlops_tui.registry.sources import files_of
from mlops_tui.registry.versions import engine_of, label, resolve_version
from mlops_tui.serving.deployment import Model, Part
from mlops_tui.serving.models.lookup import REFUSE
from mlops_tui.store.session import Session


@implements(contract.servable)
def servable(ctx: Context, request: contract.ServeVersion) -> contract.Servable:
    """Tell where a version lies, and how it is best served here."""
    row = resolve_version(ctx.session, ctx.tenant, request.model)
    found, note = tuned.wanted(ctx.session, request.profile, row["digest"], label(row))
    model = varied(ctx.blobs, place_of(ctx.session, ctx.blobs, row), found.variant if found else "")
    return contract.Servable(
        id=row["id"],
        name=row["model"],
        label=f"v{row['version']}",
        model=msgspec.to_builtins(model),
        facts=tuned.facts(found.setting) | {"workers": found.setting.workers} if found else {},
        profile=f"tuned for {found.name}: {found.setting.name}" if found else note,
    )


def place_of(session: Session, blobs: Blobs, row: dict[str, Any]) -> Model:
    """Return where the model of a version lies, and what runs it.

    Args:
        session: where to look.
        blobs: the store's artifacts.
        row: of the version.

    Raises:
        Refused: nothing runs it.
    """
    engine = engine_of(row)
    if row["format"] != "mlflow":
        return Model(str(blobs.place(row["digest"])), row["digest"], engine)
    parts = tuple(
        Part(one["path"], str(blobs.place(one["digest"])), one["digest"]) for one in files_of(session, row["id"])
    )
    return Model(label(row), row["digest"], engine, parts)


def model_of(session: Session, blobs: Blobs, version: str, variant: str = "") -> dict[str, Any]:
    """Return the same for a version's id, deleted or not, as it stands in a routes file.

    Args:
        session: where to look.
        blobs: the store's artifacts.
        version: id of the version.
        variant: artifact that is served in place of the version's file; empty: the file itself.
    """
    row = session.dict(
        "SELECT v.*, m.name AS model FROM model_version v JOIN model m ON m.id = v.model_id WHERE v.id = ?", [version]
    )
    assert row is not None
    found: dict[str, Any] = msgspec.to_builtins(varied(blobs, place_of(session, blobs, row), variant))
    return found


def varied(blobs: Blobs, model: Model, variant: str) -> Model:
    """Return a model with the artifact that is served in its place; empty: the model itself."""
    if not variant or model.engine != "onnx":
        return model
    return msgspec.structs.replace(model, file=str(blobs.place(variant)), digest=variant)


def features_of(session: Session, row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the newest online table that a deployment looks features up in, with ``missing``; None: it does not.

    Args:
        session: where to look.
        row: of the deployment.
    """
    facts = msgspec.json.decode(row["facts"] or "{}")
    if not facts.get("features"):
        return None
    found = newest(session, row["tenant"], facts["features"])
    return {**found, "missing": facts.get("missing", REFUSE)} if found is not None else None
