"""What stands against a version before it is loaded: it is looked at again when the rollout begins in earnest."""

from __future__ import annotations

from typing import Any

from mlops_tui.contracts.rollout_file import Spec
from mlops_tui.core.errors import MlopsError
from mlops_tui.registry.versions import refuse_unservable, resolve_version
from mlops_tui.store.session import Session


def objection(session: Session, row: dict[str, Any], spec: Spec) -> str:
    """Return why a rollout's version may not come in; empty when it may.

    Args:
        session: of the store.
        row: the rollout.
        spec: with the model as ``model@version`` and the digest that it had when the rollout was started.
    """
    try:
        version = resolve_version(session, row["tenant"], spec.model)
        refuse_unservable(version)
    except MlopsError as error:
        return str(error)
    return differs(version, spec.digest)


def differs(version: dict[str, Any], pinned: str) -> str:
    """Return how a version's file differs from the one that was pinned; empty when it is the same."""
    wanted = pinned.rpartition(":")[2]
    if not wanted or version["digest"] == wanted:
        return ""
    return f"its file is {version['digest'][:12]}…, not the pinned {wanted[:12]}…"
