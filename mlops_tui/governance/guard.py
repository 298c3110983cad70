"""The guard of the door: who may do what, and the audit chain that tells who did."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from mlops_tui.contracts.operation import Operation, Plan
from mlops_tui.core.errors import NotAllowed
from mlops_tui.door.context import Caller, Context
from mlops_tui.governance import chain
from mlops_tui.governance.roles import HOME_TENANT, Rule, roles_for, ruling
from mlops_tui.store.session import Session

OWNER_RULE = Rule("R-OWNER", "admin", "*")
NOISE = frozenset({"job.finish"})
"""Changes of our own workers that follow from an audited one: kept as events, not as audit records."""


class RoleGuard:
    """Roles from the store. Until somebody is given a role, the owner of the home may do everything."""

    def check(self, session: Session, caller: Caller, permission: str) -> None:
        """Return when the caller may, raise NotAllowed with the rule otherwise."""
        role, rule = self.ruling(session, caller, permission)
        if rule is None:
            raise NotAllowed(
                f"{caller.name} may not {permission.replace(':', ' ')}",
                f"no rule lets the role {role or 'none'} do {permission} (R-NONE)",
                f"{' or '.join(roles_for(permission))} may; an administrator gives roles: mlops identity create",
            )

    def ruling(self, session: Session, caller: Caller, permission: str) -> tuple[str, Rule | None]:
        """Return the caller's role and the rule that lets them, or None."""
        if caller.name == "system" and caller.uid == -1:
            return "system", OWNER_RULE
        role = self.role(session, caller)
        return role, OWNER_RULE if role == "owner" else ruling(role, permission)

    def role(self, session: Session, caller: Caller) -> str:
        """Return the role in force: the one that was given, or owner of the home while it has no administrator.

        Tenants are named by the caller: one that nobody administers must not make an owner of everybody.
        """
        rows = session.rows(
            "SELECT name, tenant, role FROM identity WHERE revoked IS NULL AND (name = ? OR role = 'admin')",
            [caller.name],
        )
        given = {tenant: str(role) for name, tenant, role in rows if name == caller.name}
        if own := given.get(caller.tenant):
            return own
        if given.get(HOME_TENANT) == "admin":
            return "admin"
        alone = not any(role == "admin" for _, _, role in rows)
        return "owner" if alone and caller.uid in (os.getuid(), 0) else ""

    def record(self, ctx: Context, operation: Operation[Any, Any], plan: Plan, outcome: str) -> None:
        """Append a call to the audit chain, in the transaction of what is recorded."""
        if operation.name not in NOISE:
            detail = {"text": plan.text, "plan": plan.digest, "changes": msgspec.to_builtins(plan.changes)}
            _append(ctx, operation.name, plan.object, outcome, detail)

    def note(self, ctx: Context, action: str, object: str, outcome: str, text: str) -> None:
        """Append what the agent decided by itself."""
        _append(ctx, action, object, outcome, {"text": text})


def _append(ctx: Context, action: str, object: str, outcome: str, detail: dict[str, Any]) -> None:
    seq, prev = ctx.session.row("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1") or (0, chain.GENESIS)
    caller = ctx.caller
    record = chain.Record(
        seq=seq + 1,
        ts=ctx.now,
        actor=caller.name,
        on_behalf_of=caller.on_behalf_of,
        tenant=caller.tenant,
        action=action,
        object=object,
        request_id=caller.request_id,
        reason=caller.reason,
        outcome=outcome,
        detail=chain.detail_of(detail),
        prev=prev,
    )
    fields = msgspec.to_builtins(record)
    ctx.session.insert("audit", ts_us=fields.pop("ts"), hash=chain.link(prev, record), **fields)
