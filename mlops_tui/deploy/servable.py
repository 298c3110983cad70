"""What the servers need of a model version: where its files lie, and what runs it."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.blobs import Blobs
from mlops_tui.contracts import deploy as contract
from mlops_tui.door import Context, implements
from mlops_tui.registry.versions import refuse_unservable, resolve_version
from mlops_tui.serving.deployment import Model


@implements(contract.servable)
def servable(ctx: Context, request: contract.OneVersion) -> contract.Servable:
    """Tell where a version lies."""
    row = resolve_version(ctx.session, ctx.tenant, request.model)
    refuse_unservable(row)
    model = msgspec.to_builtins(place_of(ctx.blobs, row))
    return contract.Servable(id=row["id"], name=row["model"], label=f"v{row['version']}", model=model)


def place_of(blobs: Blobs, row: dict[str, Any]) -> Model:
    """Return where the model of a version lies.

    Args:
        blobs: the store's artifacts.
        row: of the version.
    """
    return Model(str(blobs.place(row["digest"])), row["digest"])
