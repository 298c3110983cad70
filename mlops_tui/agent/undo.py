"""Undo: the audit chain says what a person changed last and what was there before; the opposite change brings it back.

Asked again it goes further back. What somebody has changed since is left alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from mlops_tui.contracts import undo as contract
from mlops_tui.contracts.inverse import REVERSIBLE, Inverse, inverses
from mlops_tui.contracts.operation import Change, Done, Empty, Plan, Request, find
from mlops_tui.core.errors import Conflict, NotFound
from mlops_tui.door import Context, implements
from mlops_tui.door.registry import IMPLEMENTATIONS

LOOKED_AT = 1000
"""Records of the chain, the newest of a person's, among which something to undo is looked for."""
_MARK = "undoes"


class Past(NamedTuple):
    """A change that was made: its record in the chain, what it did, and what takes it back, object by object."""

    seq: int
    text: str
    changes: list[Change]
    back: list[Inverse]


@implements(contract.last)
class UndoLast:
    """Take back the last change of a note, of tags, or a deletion."""

    def plan(self, ctx: Context, request: Empty) -> Plan:
        """Find it, and ask the opposite change for its plan."""
        past = _last(ctx)
        inner = [_planned(ctx, past, back) for back in past.back]
        mark = Change(object=f"audit:{past.seq}", field=_MARK, before=past.text, after=past.seq)
        return Plan(
            operation=contract.last.name, object=inner[0].plan.object, text=f"take back: {past.text}",
            changes=[*(change for one in inner for change in one.plan.changes), mark],
            warnings=[warning for one in inner for warning in one.plan.warnings],
            cli="mlops undo", data={"inner": inner},
        )  # fmt: skip

    def apply(self, ctx: Context, request: Empty, plan: Plan) -> Done:
        """Make the opposite change, of each object that was changed."""
        for one in plan.data["inner"]:
            one.code.apply(ctx, one.request, one.plan)
        return Done(object=plan.object, text=plan.text)


class _Planned(NamedTuple):
    """An opposite change, ready to be made."""

    code: Any
    request: Request
    plan: Plan


def _planned(ctx: Context, past: Past, back: Inverse) -> _Planned:
    operation, code = find(back.operation), IMPLEMENTATIONS[back.operation]
    ctx.house.guard.check(ctx.session, ctx.caller, operation.permission)
    request = msgspec.convert(back.fields, operation.request)
    plan: Plan = code.plan(ctx, request)
    _refuse_moved(past, plan)
    return _Planned(code, request, plan)


def _last(ctx: Context) -> Past:
    """Return the newest change of the caller that can be taken back and was not."""
    rows = ctx.session.dicts(
        """SELECT seq, action, object, detail FROM audit
           WHERE actor = ? AND tenant = ? AND outcome = 'done' ORDER BY seq DESC LIMIT ?""",
        [ctx.caller.name, ctx.tenant, LOOKED_AT],
    )
    undone: set[Any] = set()
    for row in rows:
        detail = msgspec.json.decode(row["detail"])
        changes = msgspec.convert(detail.get("changes", []), list[Change])
        if row["action"] == contract.last.name:
            undone.update(change.after for change in changes if change.field == _MARK)
        elif row["seq"] not in undone and "sha256" in detail and row["action"].partition(".")[2] in REVERSIBLE:
            raise Conflict("the last change is too large to be taken back", row["action"], "mlops audit list shows it")
        elif row["seq"] not in undone and changes:
            back = inverses(row["action"], row["object"].partition(":")[2], changes)
            if back:
                return Past(row["seq"], detail["text"], changes, back)
    raise NotFound(
        "there is nothing to take back",
        "of what you did, notes, tags and deletions can be",
        "mlops audit list shows it",
    )


def _refuse_moved(past: Past, plan: Plan) -> None:
    """Refuse when what the change left is not what is there now."""
    left = {(change.object, change.field): change.after for change in past.changes}
    for change in plan.changes:
        place = (change.object, change.field)
        if place in left and (left[place] or None) != (change.before or None):
            raise Conflict(
                f"{change.field} of {change.object} was changed since", past.text, "set it by its own command"
            )
