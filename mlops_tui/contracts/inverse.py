"""What takes a change back: worked out from what its plan said was there before, by whoever wants to undo it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mlops_tui.contracts.operation import OPERATIONS, Change

_OTHER = {"delete": "restore", "restore": "delete"}


class Inverse(NamedTuple):
    """An operation with the fields of its request."""

    operation: str
    fields: dict[str, Any]


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
