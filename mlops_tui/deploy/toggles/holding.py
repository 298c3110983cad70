"""Toggles that keep a rollout from its requests, in a sentence: what they take away no look ever counts."""

from __future__ import annotations

from mlops_tui.core.errors import MlopsError
from mlops_tui.deploy.toggles.toggles import current
from mlops_tui.store.session import Session
from mlops_tui.toggles.binding import ANSWERS, FALLBACK, LOG, REVISION, SHADOW, Binding, binding
from mlops_tui.toggles.definition import Toggle

_TAKES = {ANSWERS: False, FALLBACK: True, SHADOW: False, LOG: False}
"""The value by which a toggle takes requests away; of one that picks a revision every value does."""
_DOES = {
    ANSWERS: "switches {whom} off",
    REVISION: "picks who answers {which} requests, which then count for neither side",
    FALLBACK: "lets the fallback answer {which} requests",
    SHADOW: "keeps {which} requests from being copied",
    LOG: "keeps {which} requests out of the log",
}


def holding(session: Session, tenant: str, deployment: str, canary: str, shadows: bool) -> str:
    """Return what toggles take from a rollout, by their names; empty when they take nothing.

    Args:
        session: of the store.
        tenant: whose toggles.
        deployment: its name.
        canary: label of the new version.
        shadows: it is asked by copies of requests now.
    """
    found = []
    for toggle in current(session, tenant).toggles.values():
        try:
            bound = binding(toggle)
        except MlopsError:  # servers leave it out, too
            continue
        if bound is None or bound.deployment != deployment or not _takes(toggle, bound, canary, shadows):
            continue
        whom = bound.revision or deployment
        does = _DOES[bound.controls].format(whom=whom, which="some" if toggle.rule is not None else "all")
        for_some = " for some requests" if bound.controls == ANSWERS and toggle.rule is not None else ""
        found.append(f"{toggle.key} {does}{for_some}")
    if not found:
        return ""
    return f"toggle{'s' if len(found) > 1 else ''} in its way: {', '.join(sorted(found))}"


def _takes(toggle: Toggle, bound: Binding, canary: str, shadows: bool) -> bool:
    """Tell whether a toggle takes requests from a rollout; one with a rule may always."""
    if not toggle.enabled or bound.revision not in ("", canary) or (bound.controls == SHADOW and not shadows):
        return False
    if toggle.rule is not None:
        return True
    value = toggle.resolve({}).value
    return bool(value) if bound.controls == REVISION else value is _TAKES[bound.controls]
