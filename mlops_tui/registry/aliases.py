"""Aliases: names such as ``champion`` that point at a version. Each move is one more row; nothing is overwritten."""

from __future__ import annotations

import re
import shlex
from typing import Any

from mlops_tui.contracts import model as contract
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.door import Context, implements
from mlops_tui.registry.versions import find_model, label, latest_gates, resolve_version
from mlops_tui.store.session import Session

_RESERVED = re.compile(r"latest|v?\d+", re.ASCII | re.IGNORECASE)
"""Words after an ``@`` that mean the newest version, or one by its number."""


@implements(contract.alias)
class SetAlias:
    """Point an alias at a version, or remove it."""

    def plan(self, ctx: Context, request: contract.SetAlias) -> Plan:
        """Find what it points at now, and refuse when that is not what the caller expects."""
        if _RESERVED.fullmatch(request.alias) and not request.remove:
            raise BadInput(
                f"an alias cannot be called {request.alias}",
                "that word means the newest version, or one by its number",
                "choose another name, such as champion",
            )
        model, version = _target(ctx, request)
        now = current(ctx.session, model["id"], request.alias)
        if request.expect and request.expect != (now["version"] if now else None):
            found = f"it points at version {now['version']}" if now else "it does not exist"
            raise Conflict(
                f"{model['name']}@{request.alias} does not point at version {request.expect}",
                found,
                f"mlops model show {model['name']}",
            )
        if version is None:
            return _removal(model, request.alias, now)
        return _move(ctx, "model.alias", request.alias, now, version, back=False)

    def apply(self, ctx: Context, request: contract.SetAlias, plan: Plan) -> Done:
        """Insert the move."""
        return _moved(ctx, plan)


@implements(contract.rollback)
class Rollback:
    """Move an alias back. A second rollback goes further back, never forward to what was rolled back."""

    def plan(self, ctx: Context, request: contract.RollbackAlias) -> Plan:
        """Find the version before."""
        model = find_model(ctx.session, ctx.tenant, request.model)
        now = current(ctx.session, model["id"], request.alias)
        before = _before(ctx.session, model["id"], request.alias)
        if before is None:
            why = f"it has always pointed at version {now['version']}" if now else "it never pointed anywhere"
            raise Conflict(
                f"{model['name']}@{request.alias} cannot be rolled back", why, f"mlops model show {model['name']}"
            )
        version = resolve_version(ctx.session, ctx.tenant, before)
        return _move(ctx, "model.rollback", request.alias, now, version, back=True)

    def apply(self, ctx: Context, request: contract.RollbackAlias, plan: Plan) -> Done:
        """Insert the older value."""
        return _moved(ctx, plan)


def current(session: Session, model: str, alias: str) -> dict[str, Any] | None:
    """Return ``version_id`` and ``version`` that an alias points at, or None."""
    return session.dict(
        """SELECT a.version_id, v.version FROM alias a JOIN model_version v ON v.id = a.version_id
           WHERE a.model_id = ? AND a.alias = ?""",
        [model, alias],
    )


def _before(session: Session, model: str, alias: str) -> str | None:
    """Return the version that a rollback leads to: the moves are a stack, and each rollback took one off."""
    stack: list[str | None] = []
    moves = session.rows(
        """SELECT a.version_id, a.back FROM alias_event a LEFT JOIN model_version v ON v.id = a.version_id
           WHERE a.model_id = ? AND a.alias = ? AND v.deleted IS NULL ORDER BY a.seq""",
        [model, alias],
    )
    for version, back in moves:
        while back and stack and stack[-1] != version:
            stack.pop()
        if not stack or stack[-1] != version:
            stack.append(version)
    now = stack.pop() if stack else None
    while stack and stack[-1] in (None, now):
        stack.pop()
    return stack[-1] if stack else None


def drop(ctx: Context, version: str) -> list[str]:
    """Remove every alias that points at a version, and return their names."""
    rows = ctx.session.rows("SELECT model_id, alias FROM alias WHERE version_id = ? ORDER BY alias", [version])
    for model, alias in rows:
        ctx.session.insert(
            "alias_event", seq=ctx.next("alias_event"), model_id=model, alias=alias, version_id=None,
            actor=ctx.caller.name, reason=ctx.caller.reason, ts_us=ctx.now,
        )  # fmt: skip
    return [alias for _, alias in rows]


def _target(ctx: Context, request: contract.SetAlias) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the model, and the version to point at unless the alias shall go.

    Raises:
        BadInput: no version is said; a bare model name would mean whichever is newest at the moment.
    """
    reference = request.model.strip().removeprefix("model:")
    if request.remove:
        return find_model(ctx.session, ctx.tenant, reference), None
    version = resolve_version(ctx.session, ctx.tenant, reference)
    if "@" not in reference and reference != version["id"]:
        raise BadInput(
            "say which version the alias shall point at", f"{reference} names a model", f"{label(version)}, for example"
        )
    return find_model(ctx.session, ctx.tenant, version["model"]), version


def _move(
    ctx: Context, operation: str, alias: str, now: dict[str, Any] | None, version: dict[str, Any], *, back: bool
) -> Plan:
    name, before = f"model:{version['model']}@{alias}", now["version"] if now else None
    same = before == version["version"]
    gates = latest_gates(ctx.session, version["run_id"] or "", version["digest"])
    warnings = [f"the gate {one.gate} failed: {one.text}" for one in gates if not one.passed]
    words = [version["model"], alias] if back else [label(version), alias]
    verb = "back to" if back else "at"
    return Plan(
        operation=operation,
        object=name,
        text=f"{alias} points at {label(version)} already" if same else f"point {alias} {verb} {label(version)}",
        changes=[] if same else [Change(object=name, field="version", before=before, after=version["version"])],
        warnings=warnings if gates else ["no gate has run over this version"],
        cli=shlex.join(["mlops", "model", operation.partition(".")[2], *words]),
        data={
            "model": version["model_id"], "alias": alias, "version": version["id"], "back": back,
            "action": "rolled back" if back else "pointed",
        },
    )  # fmt: skip


def _removal(model: dict[str, Any], alias: str, now: dict[str, Any] | None) -> Plan:
    if now is None:
        raise NotFound(f"{model['name']} has no alias {alias}", "", f"mlops model show {model['name']}")
    name = f"model:{model['name']}@{alias}"
    return Plan(
        operation="model.alias",
        object=name,
        text=f"remove the alias {alias} from {model['name']}@{now['version']}",
        changes=[Change(object=name, field="version", before=now["version"], after=None)],
        cli=shlex.join(["mlops", "model", "alias", model["name"], alias, "--remove"]),
        data={"model": model["id"], "alias": alias, "version": None, "back": False, "action": "unset"},
    )


def _moved(ctx: Context, plan: Plan) -> Done:
    if plan.changes:
        data = plan.data
        ctx.session.insert(
            "alias_event", seq=ctx.next("alias_event"), model_id=data["model"], alias=data["alias"],
            version_id=data["version"], actor=ctx.caller.name, reason=ctx.caller.reason, ts_us=ctx.now,
            back=data["back"],
        )  # fmt: skip
        ctx.emit("model", data["model"], data["action"], plan.text, plan.object)
    return Done(object=plan.object, text=plan.text)
