"""Taking back what one did last."""

from __future__ import annotations

from mlops_tui.contracts.operation import Done, Empty, operation

last = operation(
    "undo.last",
    Empty,
    Done,
    effect="change",
    help="Take back your last change of a note, of tags, or a deletion.",
    example="mlops undo --dry-run",
)
