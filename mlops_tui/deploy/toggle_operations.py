"""Operations and list of feature toggles, and the kill switch, which is one of them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import orjson

from mlops_tui.contracts import deploy as deploy_contract
from mlops_tui.contracts import toggle as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.deploy import toggles
from mlops_tui.deploy.find import find_deployment, labels_of
from mlops_tui.deploy.targets import LOCAL
from mlops_tui.door import Context, implements
from mlops_tui.door.files import callers_file
from mlops_tui.serving.deployment import TOGGLES
from mlops_tui.store.listing import Listing, lists
from mlops_tui.toggles import content_of, defined, parsed
from mlops_tui.toggles.binding import ANSWERS, REVISION, binding
from mlops_tui.toggles.checking import nearest
from mlops_tui.toggles.definition import Toggle

_ON_OFF = {"on": True, "off": False}
_LIVE = "rollout:control"
"""What a toggle needs that moves live traffic."""
_NOTHING = "none"

lists(
    Listing(
        noun="toggle",
        source="toggle",
        columns=[
            Column(name="key", label="toggle"),
            Column(name="enabled", label="asked", kind="flag"),
            Column(name="default", label="default"),
            Column(name="rule", label="rule", kind="flag"),
            Column(name="deployment", label="deployment"),
            Column(name="controls", label="controls"),
            Column(name="changed", label="changed", kind="time"),
            Column(name="actor", label="by"),
        ],
        expressions={
            "key": "key",
            "enabled": "definition->>'state' = 'ENABLED'",
            "default": "coalesce(definition->>'defaultVariant', '')",
            "rule": "json_array_length(json_keys(definition, '$.targeting')) > 0",
            "deployment": "coalesce(definition->'metadata'->>'deployment', '')",
            "controls": "coalesce(definition->'metadata'->>'controls', '')",
            "changed": "epoch_us(ts)",
            "actor": "actor",
        },
        sort="key",
        tenant="tenant",
        where="key NOT LIKE '$%'",
    )
)


@implements(contract.set_)
class SetToggle:
    """Make or change a toggle."""

    def plan(self, ctx: Context, request: contract.SetToggle) -> Plan:
        """Say each field before and after."""
        if request.key.startswith("$"):
            raise BadInput(f"a toggle cannot be called {request.key}", "keys with $ belong to the file")
        before = toggles.rows(ctx.session, ctx.tenant).get(request.key)
        words = [request.key, *([request.variant] if request.variant else [])]
        return _plan(ctx, "toggle.set", {request.key: _asked(before, request)}, _words("set", words), request.key)

    def apply(self, ctx: Context, request: contract.SetToggle, plan: Plan) -> Done:
        """Write it."""
        return _apply(ctx, plan, "set")


def _asked(before: Mapping[str, Any] | None, request: contract.SetToggle) -> dict[str, Any]:
    """Return the definition that a request asks for."""
    flag = dict(before or {"state": "ENABLED", "variants": _ON_OFF})
    if request.variants:
        flag["variants"] = _json(request.variants, "--variants")
    if request.rule:
        flag["targeting"] = _json(request.rule, "--rule")
        if not flag["targeting"]:
            flag.pop("targeting")
    if request.state:
        flag["state"] = {"on": "ENABLED", "off": "DISABLED"}[request.state]
    if request.variant == "-":
        flag.pop("defaultVariant", None)
    elif request.variant:
        flag["defaultVariant"] = request.variant
    said = {**request.metadata, "deployment": request.deployment, "controls": request.controls}
    if any(said.values()):
        flag["metadata"] = {**flag.get("metadata", {}), **{key: value for key, value in said.items() if value}}
    return flag


def _json(text: str, what: str) -> Any:
    return parsed(text, what)


@implements(contract.remove)
class RemoveToggle:
    """Remove a toggle; who asks it gets his own default."""

    def plan(self, ctx: Context, request: contract.OneToggle) -> Plan:
        """Find it."""
        _found(ctx, request.key)
        return _plan(ctx, "toggle.remove", {request.key: None}, _words("remove", [request.key]), request.key)

    def apply(self, ctx: Context, request: contract.OneToggle, plan: Plan) -> Done:
        """Write that it is gone."""
        return _apply(ctx, plan, "removed")


@implements(contract.patch)
class PatchToggles:
    """Put fields back: the way in which a change of toggles is undone."""

    def plan(self, ctx: Context, request: contract.PatchToggles) -> Plan:
        """Say each field before and after."""
        before = toggles.rows(ctx.session, ctx.tenant)
        after = {
            key: {name: one for name, one in {**before.get(key, {}), **fields}.items() if one is not None} or None
            for key, fields in request.toggles.items()
        }
        return _plan(ctx, "toggle.patch", after, "mlops undo", next(iter(after), ""))

    def apply(self, ctx: Context, request: contract.PatchToggles, plan: Plan) -> Done:
        """Write them."""
        return _apply(ctx, plan, "put back")


@implements(contract.import_)
class ImportToggles:
    """Take in a definition file."""

    def plan(self, ctx: Context, request: contract.ImportToggles) -> Plan:
        """Read and check the file; say what comes, changes and goes."""
        path = callers_file(ctx, request.path)
        whole = defined(content_of(path))
        after: dict[str, Any] = {key: _kept(toggle) for key, toggle in whole.toggles.items()}
        if whole.evaluators:
            after[toggles.EVALUATORS] = {"rules": dict(whole.evaluators)}
        if whole.metadata:
            after[toggles.METADATA] = {"metadata": dict(whole.metadata)}
        if request.replace:
            gone = toggles.rows(ctx.session, ctx.tenant).keys() - after.keys()
            after |= dict.fromkeys(sorted(gone))
        words = [str(path), *(["--replace"] if request.replace else [])]
        return _plan(ctx, "toggle.import", after, _words("import", words), path.name)

    def apply(self, ctx: Context, request: contract.ImportToggles, plan: Plan) -> Done:
        """Write them."""
        return _apply(ctx, plan, "imported")


def _kept(toggle: Toggle) -> dict[str, Any]:
    """Return a flag without what other tools put beside it."""
    return {key: value for key, value in toggle.source.items() if key in toggles.FIELDS and value is not None}


@implements(contract.show)
def show(ctx: Context, request: contract.OneToggle) -> contract.Toggle:
    """Show a toggle and its history."""
    flag = _found(ctx, request.key)
    history = ctx.session.dicts(
        """SELECT epoch_us(ts) AS ts, actor, reason, definition->>'state' = 'ENABLED' AS enabled,
                  coalesce(definition->>'defaultVariant', '') AS default
           FROM toggle_event WHERE tenant = ? AND key = ? ORDER BY seq DESC""",
        [ctx.tenant, request.key],
    )
    said = flag.get("metadata", {})
    return contract.Toggle(
        key=request.key,
        enabled=flag["state"] == "ENABLED",
        kind=toggles.current(ctx.session, ctx.tenant).toggles[request.key].kind,
        default=str(flag.get("defaultVariant") or ""),
        variants=flag["variants"],
        rule=flag.get("targeting"),
        deployment=str(said.get("deployment", "")),
        controls=str(said.get("controls", "")),
        metadata={key: value for key, value in said.items() if key not in ("deployment", "controls")},
        file=str(ctx.home.toggles / f"{ctx.tenant}.json"),
        versions=[contract.ToggleVersion(**one) for one in history],
    )


@implements(contract.ask)
def ask(ctx: Context, request: contract.AskToggle) -> contract.Asked:
    """Evaluate a toggle."""
    context: dict[str, Any] = {}
    for path, text in request.context.items():
        *outer, last = path.split(".")
        inner = context
        for name in outer:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise BadInput(f"{path}: {name} has a value already", "", "give each path once")
        inner[last] = _value(text)
    if request.targeting_key:
        context["targetingKey"] = request.targeting_key
    found = toggles.current(ctx.session, ctx.tenant).resolve(request.key, context)
    return contract.Asked(
        key=request.key, value=found.value, variant=found.variant or "", reason=found.reason.value, error=found.error
    )


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return text


@implements(contract.export)
def export(ctx: Context, request: contract.ExportToggles) -> contract.Definitions:
    """Write a definition file; importing it gives the same toggles."""
    if request.deployment:
        find_deployment(ctx.session, ctx.tenant, request.deployment)
    made = toggles.content(toggles.rows(ctx.session, ctx.tenant), request.deployment)
    text = orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return contract.Definitions(name="flags.json", content=text, toggles=len(made["flags"]))


# The kill switch.


class _Switch:
    """Stop or resume a deployment's answers by the toggle that controls them."""

    verb, variant, action = "kill", "off", "killed"

    def plan(self, ctx: Context, request: deploy_contract.Kill) -> Plan:
        """Say which toggle is switched, and what clients get from now on."""
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        name, label = row["name"], request.revision
        if label and label not in (known := labels_of(ctx.session, row["id"]).values()):
            raise NotFound(f"{name} has no revision {label!r}", "", nearest(label, known))
        key = f"{name}.{label}.{ANSWERS}" if label else f"{name}.{ANSWERS}"
        bound = {"deployment": name, "controls": ANSWERS, **({"revision": label} if label else {})}
        if ctx.caller.reason and self.variant == "off":
            bound["why"] = ctx.caller.reason
        flag = {"state": "ENABLED", "variants": _ON_OFF, "defaultVariant": self.variant, "metadata": bound}
        words = ["mlops", "deploy", self.verb, name, *(["--revision", label] if label else [])]
        plan = _plan(ctx, f"deploy.{self.verb}", {key: flag}, shlex.join(words), name)
        whom = f"revision {label} of {name}" if label else name
        plan.object, plan.text = f"deploy:{name}", self.said(whom)
        if row["target"] != LOCAL:
            plan.warnings.append(
                f"its servers stand at {row['target']}: they follow when that brings {TOGGLES} to them"
            )
        return plan

    def apply(self, ctx: Context, request: deploy_contract.Kill, plan: Plan) -> Done:
        """Switch it; the servers follow within a second, without the agent."""
        done = _apply(ctx, plan, self.action)
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        ctx.emit("deploy", row["id"], self.action, plan.text, plan.object)
        return done

    def said(self, whom: str) -> str:
        """Return the plan in a sentence."""
        return f"{whom} gives no answers from now on: clients get 503, or the fallback"


@implements(deploy_contract.kill)
class Kill(_Switch):
    """Stop answers."""


@implements(deploy_contract.revive)
class Revive(_Switch):
    """Let answers be given again."""

    verb, variant, action = "revive", "on", "revived"

    def said(self, whom: str) -> str:
        """Return the plan in a sentence."""
        return f"{whom} answers again"


# What all changes share.


def _found(ctx: Context, key: str) -> dict[str, Any]:
    known = toggles.rows(ctx.session, ctx.tenant)
    if key not in known or key.startswith("$"):
        near = nearest(key, [one for one in known if not one.startswith("$")])
        raise NotFound(f"there is no toggle {key!r}", "", near or "mlops toggle list")
    flag: dict[str, Any] = known[key]
    return flag


def _plan(ctx: Context, operation: str, after: Mapping[str, Any], cli: str, subject: str) -> Plan:
    """Return what new definitions change, once they are checked together with all others."""
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


def _apply(ctx: Context, plan: Plan, action: str) -> Done:
    for key, flag in plan.data["after"].items():
        toggles.write(ctx, key, flag)
        ctx.emit("toggle", key, action, plan.text, f"toggle:{key}")
    return Done(object=plan.object, text=plan.text)


def _words(verb: str, words: list[str]) -> str:
    return shlex.join(["mlops", "toggle", verb, *words])
