"""Who may do what: the owner alone, then only who was given a role."""

from __future__ import annotations

import os

import pytest

from mlops_tui.core.errors import BadInput, NotAllowed, NotFound
from mlops_tui.governance.roles import ROLES, RULES, roles_for, ruling


def test_the_owner_of_a_home_without_an_administrator_may_do_everything(call):
    verdict = call("amal", "policy.check", permission="identity:write")
    assert (verdict.role, verdict.allowed, verdict.rule) == ("owner", True, "R-OWNER")
    assert call("amal", "identity.create", name="amal", role="admin").text == "amal becomes admin"


def test_another_user_of_the_machine_owns_nothing(call):
    with pytest.raises(NotAllowed, match="amal may not audit read") as caught:
        call("amal", "audit.list", uid=os.getuid() + 1)
    assert "R-NONE" in caught.value.why and "viewer or engineer or operator or admin may" in caught.value.fix


def test_the_first_identity_is_its_maker_as_administrator(call):
    for request in ({"name": "noor", "role": "admin"}, {"name": "amal", "role": "engineer"}):
        with pytest.raises(BadInput, match="the first identity must be you as admin") as caught:
            call("amal", "identity.create", **request)
        assert caught.value.fix == "mlops identity create amal admin"
    with pytest.raises(BadInput, match="as admin of default"):
        call("amal", "identity.create", tenant="acme", name="amal", role="admin")
    with pytest.raises(BadInput, match="there is no role 'king'"):
        call("amal", "identity.create", name="amal", role="king")


@pytest.fixture
def staffed(call):
    """A home that amal administers."""
    call("amal", "identity.create", name="amal", role="admin")
    return call


def test_with_an_administrator_only_identities_with_a_role_may_act(staffed):
    with pytest.raises(NotAllowed, match="noor may not data read"):
        staffed("noor", "data.list")
    staffed("amal", "identity.create", name="noor", role="viewer")
    assert staffed("noor", "data.list").total == 0
    with pytest.raises(NotAllowed, match="noor may not identity write"):
        staffed("noor", "identity.create", name="noor", role="admin")


def test_roles_are_changed_listed_and_revoked(staffed):
    staffed("amal", "identity.create", name="noor", role="viewer")
    staffed("amal", "identity.create", name="noor", role="operator")
    assert [row[:2] for row in staffed("amal", "identity.list").rows] == [["amal", "admin"], ["noor", "operator"]]
    plan = staffed("amal", "identity.revoke", dry_run=True, name="noor")
    assert [(one.before, one.after) for one in plan.changes] == [("operator", None)]
    staffed("amal", "identity.revoke", name="noor")
    with pytest.raises(NotAllowed):
        staffed("noor", "data.list")
    with pytest.raises(NotFound, match="noor has no role"):
        staffed("amal", "identity.revoke", name="noor")


def test_the_last_administrator_stays(staffed):
    with pytest.raises(BadInput, match="the last admin cannot be revoked"):
        staffed("amal", "identity.revoke", name="amal")
    with pytest.raises(BadInput, match="the last admin cannot give up"):
        staffed("amal", "identity.create", name="amal", role="viewer")
    staffed("amal", "identity.create", name="noor", role="admin")
    staffed("noor", "identity.revoke", name="amal")
    with pytest.raises(NotAllowed):
        staffed("amal", "data.list")
    with pytest.raises(BadInput):
        staffed("noor", "identity.revoke", name="noor")


def test_a_tenant_that_nobody_administers_makes_no_owner(staffed):
    staffed("amal", "identity.create", name="noor", role="viewer")
    for who in ("noor", "stranger"):
        with pytest.raises(NotAllowed):
            staffed(who, "agent.status", tenant="empty")


def test_administrators_of_the_home_administer_every_tenant(staffed):
    staffed("amal", "identity.create", tenant="acme", name="zed", role="admin")
    staffed("zed", "identity.create", tenant="acme", name="noor", role="viewer")
    assert staffed("noor", "data.list", tenant="acme").total == 0
    with pytest.raises(NotAllowed):
        staffed("noor", "data.list")
    with pytest.raises(NotAllowed):
        staffed("zed", "identity.create", name="zed", role="admin")


def test_policy_check_tells_role_and_rule(staffed):
    staffed("amal", "identity.create", name="noor", role="engineer")
    asked = {
        "data:write": (True, "R-ENG-WRITE"),
        "model:register": (True, "R-ENG-REGISTER"),
        "model:promote": (False, "R-NONE"),
        "identity:write": (False, "R-NONE"),
    }
    for permission, expected in asked.items():
        verdict = staffed("amal", "policy.check", permission=permission, identity="noor")
        assert (verdict.identity, verdict.role) == ("noor", "engineer")
        assert (verdict.allowed, verdict.rule) == expected
    assert staffed("noor", "policy.check", permission="model:promote").roles == ["operator", "admin"]
    assert staffed("amal", "policy.check", permission="data:read", identity="nobody").role == "none"


def test_a_name_that_was_only_typed_owns_no_home(call):
    assert call("amal", "policy.check", permission="data:read", identity="noor").role == "none"
    assert call("amal", "policy.check", permission="data:read", identity="amal").role == "owner"


def test_rules_have_ids_of_their_own_and_roles_that_exist():
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert {rule.role for rule in RULES} == set(ROLES)
    assert all(ruling("admin", permission) for permission in ("identity:write", "anything:at-all"))
    assert roles_for("identity:write") == ["admin"]
    assert roles_for("data:read") == list(ROLES)
