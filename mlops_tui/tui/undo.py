"""Taking changes back: what a change would be undone by, from the plan that said what was there before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mlops_tui.contracts import Plan

_OTHER = {"delete": "restore", "restore": "delete"}


class Undo(NamedTuple):
    """What takes a change back: an operation with its fields, and what the change was."""

    operation: str
    fields: dict[str, Any]
    text: str


def inverse(operation: str, fields: dict[str, Any], plan: Plan) -> Undo | None:
    """Return what takes a change back, or None: only notes, tags and deletions are.

    A promotion has its own way back, which is asked for by its own name.
    """
    from mlops_tui.contracts import OPERATIONS

    noun, _, verb = operation.partition(".")
    names = OPERATIONS[operation].request.__struct_fields__
    subject = names[0]
    of = {subject: fields[subject]}
    match verb:
        case "note" if "text" in names and plan.changes:
            return Undo(operation, {**of, "text": plan.changes[0].before or ""}, plan.text)
        case "tag" if "tags" in names:
            before = {change.field: change.before for change in plan.changes}
            if "remove" not in names:
                return Undo(operation, {**of, "tags": {key: value or "" for key, value in before.items()}}, plan.text)
            kept = {key: value for key, value in before.items() if value is not None}
            gone = [key for key, value in before.items() if value is None]
            return Undo(operation, {**of, "tags": kept, "remove": gone}, plan.text)
        case "delete" | "restore" if (other := f"{noun}.{_OTHER[verb]}") in OPERATIONS:
            return Undo(other, of, plan.text)
    return None
