"""What stands against a version before it is loaded: it is looked at again when the rollout begins in earnest."""

from __future__ import annotations

from typing import Any

from mlops_tui.contracts.rollout_file import Spec
from mlops_tui.core.errors import MlopsError
from mlops_tui.registry.versions import latest_gates, refuse_unservable, resolve_version
from mlops_tui.store.session import Session

PRODUCTION = "prod"


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
    if why := differs(version, spec.digest):
        return why
    environment = session.value("SELECT environment FROM deployment WHERE id = ?", [row["deployment_id"]])
    return "" if spec.override_gates else unpassed(session, version, environment)


def unpassed(session: Session, version: dict[str, Any], environment: str) -> str:
    """Return which gates a version did not pass; empty when nothing is against it.

    The newest verdict of each gate over this very file counts. Production takes only what has verdicts at all.

    Args:
        session: of the store.
        version: row of the version, as the registry resolves it.
        environment: of the deployment.
    """
    gates = latest_gates(session, version["run_id"] or "", version["digest"])
    if failed := [one for one in gates if not one.passed]:
        return "; ".join(f"the gate {one.gate} failed: {one.text}" for one in failed)
    if not gates and environment == PRODUCTION:
        return "no gate has run over its file, and production takes only versions that passed their gates"
    return ""


def differs(version: dict[str, Any], pinned: str) -> str:
    """Return how a version's file differs from the one that was pinned; empty when it is the same."""
    wanted = pinned.rpartition(":")[2]
    if not wanted or version["digest"] == wanted:
        return ""
    return f"its file is {version['digest'][:12]}…, not the pinned {wanted[:12]}…"
