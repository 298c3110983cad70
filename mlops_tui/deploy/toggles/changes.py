"""Changes of toggles, whoever asks for them: checked as a whole, said field by field, written, told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import NotFound
from mlops_tui.deploy.find import find_deployment, labels_of
from mlops_tui.deploy.toggles import toggles
from mlops_tui.door import Context
from mlops_tui.toggles import defined
from mlops_tui.toggles.binding import REVISION, binding
from mlops_tui.toggles.checking import nearest
from mlops_tui.toggles.definition import Toggle

_LIVE = "rollout:control"
"""What a toggle needs that moves live traffic."""
_NOTHING = "none"


def plan_of(ctx: Context, operation: str, after: Mapping[str, Any], cli: str, subject: str) -> Plan:
    """Return what new definitions change, once they are checked together with all others.

    Args:
        ctx: the call.
        operation: that is planned.
        after: definitions by key; None: it goes.
        cli: the command line that does it.
        subject: what the plan is about.

    Raises:
        BadInput: the whole could not be read any more.
        NotFound: a revision that a toggle names is none of its deployment.
        NotAllowed: who asks may not move live traffic, and this would.
    """
    before = toggles.rows(ctx.session, ctx.tenant)
    whole = {**before, **after}
    ready = defined(toggles.content({key: flag for key, flag in whole.items() if flag is not None}))
    changes, warnings, environments = [], [], set()
    for key, flag in after.items():
        fields = _changes(key, before.get(key), flag)
        changes += fields
        if fields:
            noted, environment = _live(ctx, before.get(key), ready.toggles.get(key))
            warnings += noted
            environments.add(environment)
    kinds = [key for key in after if before.get(key) != after[key]]
    text = _said(operation, kinds, before, after)
    return Plan(
        operation=operation,
        object=f"toggle:{subject}",
        text=text,
        changes=changes,
        warnings=warnings,
        cli=cli,
        environment="prod" if "prod" in environments else "",
        data={"after": {key: after[key] for key in kinds}},
    )


def _changes(key: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Change]:
    old, new = before or {}, after or {}
    return [
        Change(object=f"toggle:{key}", field=name, before=old.get(name), after=new.get(name))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _live(ctx: Context, before: Mapping[str, Any] | None, after: Toggle | None) -> tuple[list[str], str]:
    """Check a toggle that moves live traffic, before or after: who may, and whether there is what it names.

    Returns:
        Warnings, and the environment of the deployment.
    """
    bound = binding(after) if after is not None else None
    name = bound.deployment if bound else str((before or {}).get("metadata", {}).get("deployment", ""))
    if not name:
        return [], ""
    ctx.house.guard.check(ctx.session, ctx.caller, _LIVE)
    try:
        row = find_deployment(ctx.session, ctx.tenant, name)
    except NotFound:
        return [f"there is no deployment {name} yet"], ""
    if bound and after is not None:
        _check_labels(ctx, row, bound.controls, bound.revision, after)
    return [], str(row["environment"])


def _check_labels(ctx: Context, row: Mapping[str, Any], controls: str, revision: str, toggle: Toggle) -> None:
    known = set(labels_of(ctx.session, row["id"]).values())
    named = {revision} - {""}
    if controls == REVISION:
        for value in toggle.variants.values():
            named |= set(value) if isinstance(value, dict) else {str(value)} - {""}
    if missing := sorted(named - known):
        raise NotFound(f"{row['name']} has no revision {missing[0]!r}", "", nearest(missing[0], sorted(known)))


def _said(operation: str, keys: list[str], before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if not keys:
        return "nothing changes"
    if len(keys) > 1:
        made = sum(key not in before for key in keys)
        gone = sum(after[key] is None for key in keys)
        return f"{made} new, {len(keys) - made - gone} changed, {gone} removed"
    (key,) = keys
    if after[key] is None:
        return f"remove the toggle {key}"
    new = f"{key}: {after[key].get('defaultVariant') or _NOTHING}" if "state" in after[key] else key
    return f"make the toggle {new}" if key not in before else f"set the toggle {new}"


def apply(ctx: Context, plan: Plan, action: str) -> Done:
    """Write what was planned, and tell everyone; ``action`` is one word for what happened."""
    for key, flag in plan.data["after"].items():
        toggles.write(ctx, key, flag)
        ctx.emit("toggle", key, action, plan.text, f"toggle:{key}")
    return Done(object=plan.object, text=plan.text)
