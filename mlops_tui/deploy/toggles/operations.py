"""Operations and list of feature toggles."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import orjson

from mlops_tui.contracts import toggle as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Done, Plan
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.deploy.find import find_deployment
from mlops_tui.deploy.toggles import toggles
from mlops_tui.deploy.toggles.changes import apply, plan_of
from mlops_tui.door import Context, implements
from mlops_tui.door.files import callers_file
from mlops_tui.store.listing import Listing, lists
from mlops_tui.toggles import content_of, defined, parsed
from mlops_tui.toggles.checking import nearest
from mlops_tui.toggles.definition import Toggle

_ON_OFF = {"on": True, "off": False}

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
        return plan_of(ctx, "toggle.set", {request.key: _asked(before, request)}, _words("set", words), request.key)

    def apply(self, ctx: Context, request: contract.SetToggle, plan: Plan) -> Done:
        """Write it."""
        return apply(ctx, plan, "set")


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
        return plan_of(ctx, "toggle.remove", {request.key: None}, _words("remove", [request.key]), request.key)

    def apply(self, ctx: Context, request: contract.OneToggle, plan: Plan) -> Done:
        """Write that it is gone."""
        return apply(ctx, plan, "removed")


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
        return plan_of(ctx, "toggle.patch", after, "mlops undo", next(iter(after), ""))

    def apply(self, ctx: Context, request: contract.PatchToggles, plan: Plan) -> Done:
        """Write them."""
        return apply(ctx, plan, "put back")


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
        return plan_of(ctx, "toggle.import", after, _words("import", words), path.name)

    def apply(self, ctx: Context, request: contract.ImportToggles, plan: Plan) -> Done:
        """Write them."""
        return apply(ctx, plan, "imported")


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


def _found(ctx: Context, key: str) -> dict[str, Any]:
    known = toggles.rows(ctx.session, ctx.tenant)
    if key not in known or key.startswith("$"):
        near = nearest(key, [one for one in known if not one.startswith("$")])
        raise NotFound(f"there is no toggle {key!r}", "", near or "mlops toggle list")
    flag: dict[str, Any] = known[key]
    return flag


def _words(verb: str, words: list[str]) -> str:
    return shlex.join(["mlops", "toggle", verb, *words])
