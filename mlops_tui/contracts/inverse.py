"""What takes a change back: worked out from what its plan said was there before, by whoever wants to undo it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mlops_tui.contracts.operation import OPERATIONS, Change

_TOGGLE = "toggle:"
REVERSIBLE = frozenset(("note", "tag", "delete", "restore"))
"""Verbs of the changes that can be taken back."""
_OTHER = {"delete": "restore", "restore": "delete"}


class Inverse(NamedTuple):
    """An operation with the fields of its request."""

    operation: str
    fields: dict[str, Any]


def inverses(operation: str, subject: str, changes: Sequence[Change]) -> list[Inverse]:
    """Return what takes a change back: one operation for each object that it changed, none if it cannot be.

    Toggles share one.

    Args:
        operation: name of the change.
        subject: what it changed first, as the operation is told it.
        changes: of its plan.
    """
    by_object: dict[str, list[Change]] = {}
    for change in changes:
        by_object.setdefault(change.object, []).append(change)
    if changes and all(name.startswith(_TOGGLE) for name in by_object):
        # Together: one may refer to what another brings.
        fields = {
            name.removeprefix(_TOGGLE): {one.field: one.before for one in some} for name, some in by_object.items()
        }
        return [Inverse("toggle.patch", {"toggles": fields})]
    if len(by_object) > 1:
        found = [inverse(operation, name.partition(":")[2], some) for name, some in by_object.items()]
    else:
        found = [inverse(operation, subject, changes)]
    return _together([one for one in found if one is not None])


def _together(found: Sequence[Inverse]) -> list[Inverse]:
    """Make one operation of those that differ in their object alone, where it takes many."""
    made: dict[str, Inverse] = {}
    for one in found:
        first, *names = OPERATIONS[one.operation].request.__struct_fields__
        if "also" not in names:
            return list(found)
        rest = {key: value for key, value in one.fields.items() if key != first}
        same = made.setdefault(repr((one.operation, rest)), one)
        if same is not one:
            same.fields.setdefault("also", []).append(one.fields[first])
    return list(made.values())


def inverse(operation: str, subject: str, changes: Sequence[Change]) -> Inverse | None:
    """Return what takes a change back, or None: only notes, tags and deletions are.

    A promotion has its own way back, which is asked for by its own name.

    Args:
        operation: name of the change.
        subject: what it changed, as the operation is told it.
        changes: of its plan.
    """
    if operation not in OPERATIONS:
        return None
    noun, _, verb = operation.partition(".")
    names = OPERATIONS[operation].request.__struct_fields__
    of = {names[0]: subject} if names else {}
    before = {change.field: change.before for change in changes}
    match verb:
        case "note" if "text" in names and changes:
            return Inverse(operation, {**of, "text": changes[0].before or ""})
        case "tag" if "tags" in names and "remove" not in names:
            return Inverse(operation, {**of, "tags": {key: value or "" for key, value in before.items()}})
        case "tag" if "tags" in names:
            kept = {key: value for key, value in before.items() if value is not None}
            return Inverse(operation, {**of, "tags": kept, "remove": [key for key in before if key not in kept]})
        case "delete" | "restore" if (other := f"{noun}.{_OTHER[verb]}") in OPERATIONS:
            return Inverse(other, of)
    return None
