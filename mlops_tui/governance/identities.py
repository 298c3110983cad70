"""Identities, roles and questions about them."""

from __future__ import annotations

from mlops_tui.contracts import govern as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.door import Caller, Context, implements
from mlops_tui.governance.guard import RoleGuard
from mlops_tui.governance.roles import HOME_TENANT, ROLES, roles_for
from mlops_tui.store.listing import Listing, lists

NOBODY = -2
"""The uid of a name that was only typed: it owns no home."""

lists(
    Listing(
        noun="identity",
        source="identity",
        columns=[
            Column(name="name", label="name", kind="id"),
            Column(name="role", label="role"),
            Column(name="created", label="since", kind="time"),
            Column(name="actor", label="given by"),
        ],
        expressions={"name": "name", "role": "role", "created": "epoch_us(created)", "actor": "actor"},
        sort="name",
        tenant="tenant",
        where="revoked IS NULL",
    )
)


def _role(ctx: Context, name: str) -> str | None:
    found: str | None = ctx.session.value(
        "SELECT role FROM identity WHERE name = ? AND tenant = ? AND revoked IS NULL", [name, ctx.tenant]
    )
    return found


def _administrators(ctx: Context) -> int:
    """Count who may give roles in the caller's tenant: its administrators and those of the home."""
    found: int = ctx.session.value(
        "SELECT count(DISTINCT name) FROM identity WHERE tenant IN (?, ?) AND role = 'admin' AND revoked IS NULL",
        [ctx.tenant, HOME_TENANT],
    )
    return found


@implements(contract.identity_create)
class CreateIdentity:
    """Give a name a role; who had one gets the new one instead."""

    def plan(self, ctx: Context, request: contract.CreateIdentity) -> Plan:
        """Check the role, and that somebody remains who may give roles."""
        if request.role not in ROLES:
            raise BadInput(f"there is no role {request.role!r}", "", "one of: " + ", ".join(ROLES))
        before = _role(ctx, request.name)
        first = (ctx.caller.name, "admin", HOME_TENANT)
        if not _administrators(ctx) and (request.name, request.role, ctx.tenant) != first:
            raise BadInput(
                "the first identity must be you as admin" + (f" of {HOME_TENANT}" if ctx.tenant != HOME_TENANT else ""),
                "from then on only identities with a role may act",
                f"mlops identity create {ctx.caller.name} admin",
            )
        if before == "admin" and request.role != "admin" and _administrators(ctx) == 1:
            raise BadInput(
                "the last admin cannot give up the role",
                "nobody could give roles any more",
                "make somebody else admin first",
            )
        change = Change(object=f"identity:{request.name}", field="role", before=before, after=request.role)
        return Plan(
            operation="identity.create",
            object=f"identity:{request.name}",
            text=f"{request.name} becomes {request.role}",
            changes=[change],
        )

    def apply(self, ctx: Context, request: contract.CreateIdentity, plan: Plan) -> Done:
        """End the old role and begin the new one."""
        ctx.session.execute(
            "UPDATE identity SET revoked = make_timestamp(?) WHERE name = ? AND tenant = ? AND revoked IS NULL",
            [ctx.now, request.name, ctx.tenant],
        )
        ctx.session.insert(
            "identity",
            name=request.name,
            tenant=ctx.tenant,
            role=request.role,
            created_us=ctx.now,
            actor=ctx.caller.name,
        )
        ctx.emit("identity", request.name, "changed", plan.text, f"identity:{request.name}")
        return Done(object=plan.object, text=plan.text)


@implements(contract.identity_revoke)
class RevokeIdentity:
    """Take a role away."""

    def plan(self, ctx: Context, request: contract.OneIdentity) -> Plan:
        """Check that the role is there and not the last admin's."""
        before = _role(ctx, request.name)
        if before is None:
            raise NotFound(f"{request.name} has no role", "", "mlops identity list")
        if before == "admin" and _administrators(ctx) == 1:
            raise BadInput(
                "the last admin cannot be revoked", "nobody could give roles any more", "make somebody else admin first"
            )
        change = Change(object=f"identity:{request.name}", field="role", before=before)
        return Plan(
            operation="identity.revoke",
            object=f"identity:{request.name}",
            text=f"{request.name} is {before} no more",
            changes=[change],
        )

    def apply(self, ctx: Context, request: contract.OneIdentity, plan: Plan) -> Done:
        """End the role; its history stays."""
        ctx.session.execute(
            "UPDATE identity SET revoked = make_timestamp(?) WHERE name = ? AND tenant = ? AND revoked IS NULL",
            [ctx.now, request.name, ctx.tenant],
        )
        ctx.emit("identity", request.name, "revoked", plan.text, f"identity:{request.name}")
        return Done(object=plan.object, text=plan.text)


@implements(contract.policy_check)
def check(ctx: Context, request: contract.CheckPolicy) -> contract.PolicyVerdict:
    """Tell whether an identity may do something, and by which rule."""
    other = request.identity not in ("", ctx.caller.name)
    who = Caller(request.identity, NOBODY, ctx.tenant) if other else ctx.caller
    guard = ctx.house.guard
    assert isinstance(guard, RoleGuard)
    role, rule = guard.ruling(ctx.session, who, request.permission)
    return contract.PolicyVerdict(
        identity=who.name,
        role=role or "none",
        permission=request.permission,
        allowed=rule is not None,
        rule=rule.id if rule else "R-NONE",
        roles=roles_for(request.permission),
    )
