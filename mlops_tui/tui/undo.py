"""Taking changes back: what was done in this window, newest last, each with what takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mlops_tui.contracts import Plan


class Undo(NamedTuple):
    """What takes a change back: an operation with its fields, and what the change was."""

    operation: str
    fields: dict[str, Any]
    text: str


def inverse(operation: str, fields: dict[str, Any], plan: Plan) -> Undo | None:
    """Return what takes a change back, or None: see :func:`mlops_tui.contracts.inverse.inverse`."""
    from mlops_tui.contracts import OPERATIONS
    from mlops_tui.contracts import inverse as contract

    subject = str(fields.get(OPERATIONS[operation].request.__struct_fields__[0], ""))
    back = contract.inverse(operation, subject, plan.changes)
    return None if back is None else Undo(back.operation, back.fields, plan.text)
