"""Before a change: what may simply be done, what a person has to agree to, and how."""

from __future__ import annotations

import re
import shlex
import sys
from typing import Any

from mlops_tui.cli.answers.shapes import blocks_of
from mlops_tui.cli.options import Wishes
from mlops_tui.client import Client
from mlops_tui.contracts.operation import Operation, Plan, Request
from mlops_tui.core.errors import BadInput, NotAllowed, Refused
from mlops_tui.core.ids import short

ASKED = frozenset(("delete", "remove", "stop", "abort", "rollback", "promote", "alias", "revoke", "trust", "kill"))
"""Verbs that take something away, move live traffic or let foreign code in. All others are done without asking."""

PRODUCTION = frozenset(("prod", "production"))


def agree(client: Client, operation: Operation[Any, Any], request: Request, wishes: Wishes) -> str:
    """Return the digest of the plan that a person agreed to, or "" where nobody needs to be asked.

    Raises:
        NotAllowed: ``readonly`` is set.
        BadInput: a yes is needed and nobody can be asked; the message is the command to type.
        Refused: the person said no.
    """
    if wishes.config.get("readonly"):
        raise NotAllowed("this session is read-only", "readonly is set", "mlops config show --origin says where")
    plan = client.plan(operation, request, reason=wishes.reason)
    asked_for = str(getattr(request, "environment", ""))
    in_production = PRODUCTION & {str(wishes.config.get("environment")), asked_for, plan.environment}
    if in_production or wishes.confirm:
        _agree_by_name(plan, request, wishes)
    elif wishes.yes or operation.verb not in ASKED:
        return ""
    elif not wishes.can_ask:
        raise BadInput(f"this needs a yes: {plan.text}", "nobody can be asked here", _command(wishes, "--yes"))
    else:
        _show(plan)
        if _answer("go on? [y/N] ").lower() not in ("y", "yes"):
            raise Refused("nothing was changed", "you did not say yes")
    return plan.digest


def name_of(plan: Plan, request: Request) -> str:
    """Return what a person types for a plan's object: its name, or, where that is an id, the word they used for it."""
    name = plan.object.partition(":")[2] or plan.object
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name):
        return name
    typed = getattr(request, request.positional[0], "") if request.positional else ""
    return typed if isinstance(typed, str) and typed else short(name)


def _agree_by_name(plan: Plan, request: Request, wishes: Wishes) -> None:
    name = name_of(plan, request)
    typed = wishes.confirm
    if not typed and wishes.can_ask:
        _show(plan)
        typed = _answer(f"this is production; type {name} to go on: ")
    if not typed:
        raise BadInput(
            f"this changes production: {plan.text}", "it needs the object's name", _command(wishes, "--confirm", name)
        )
    if typed not in (name, plan.object):
        raise Refused("nothing was changed", f"{typed!r} is not {name!r}", f"confirm with the name {name}")


def _show(plan: Plan) -> None:
    from mlops_tui.cli.answers.formats import as_table

    print(as_table(blocks_of(plan)), end="", file=sys.stderr)


def _answer(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _command(wishes: Wishes, *more: str) -> str:
    """Return the command that was typed with something put in, before a ``--`` if there is one."""
    words = list(wishes.argv)
    end = words.index("--") if "--" in words else len(words)
    return shlex.join(["mlops", *words[:end], *more, *words[end:]])
