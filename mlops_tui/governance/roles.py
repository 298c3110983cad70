"""Roles and what they may do. A rule is ``noun:verb`` with ``*`` as a wildcard; each has a stable id for refusals."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple


class Rule(NamedTuple):
    """One line of the policy."""

    id: str
    role: str
    permission: str


RULES = (
    Rule("R-VIEW", "viewer", "*:read"),
    Rule("R-ENG-READ", "engineer", "*:read"),
    Rule("R-ENG-WRITE", "engineer", "*:write"),
    Rule("R-ENG-RUN", "engineer", "run:*"),
    Rule("R-ENG-JOB", "engineer", "job:*"),
    Rule("R-ENG-REGISTER", "engineer", "model:register"),
    Rule("R-ENG-INFER", "engineer", "deploy:infer"),
    Rule("R-OPS-READ", "operator", "*:read"),
    Rule("R-OPS-WRITE", "operator", "*:write"),
    Rule("R-OPS-JOB", "operator", "job:*"),
    Rule("R-OPS-MODEL", "operator", "model:*"),
    Rule("R-OPS-DEPLOY", "operator", "deploy:*"),
    Rule("R-OPS-ROLLOUT", "operator", "rollout:*"),
    Rule("R-OPS-AB", "operator", "ab:*"),
    Rule("R-OPS-AUTO", "operator", "automation:*"),
    Rule("R-OPS-AGENT", "operator", "agent:*"),
    Rule("R-ADMIN", "admin", "*"),
)
ROLES = ("viewer", "engineer", "operator", "admin")
HOME_TENANT = "default"
"""The tenant whose administrators are administrators of every tenant of the home."""
PROTECTED = ("identity:write",)
"""Permissions that no wildcard but an administrator's grants."""


def roles_for(permission: str) -> list[str]:
    """Return the roles that may do something."""
    return [role for role in ROLES if ruling(role, permission)]


def ruling(role: str, permission: str) -> Rule | None:
    """Return the first rule that lets a role do something, or None."""
    for rule in RULES:
        if rule.role == role and fnmatchcase(permission, rule.permission):
            if permission in PROTECTED and rule.permission != "*":
                continue
            return rule
    return None
