"""An error that a person can act on: what happened, why, what to do, and its code."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from mlops_tui.core.errors import MlopsError
from mlops_tui.tui.drawing.text import Line, line, wrap
from mlops_tui.tui.widgets.dialog import Choice, Choices, Dialog, Prose


def told(problem: MlopsError, cells: int) -> list[Line]:
    """Return an error as lines, its parts set apart."""
    lines = wrap(f"✖ {problem.what}", cells, "fail")
    if problem.why:
        lines += [(), line(("why", "dim")), *(row for part in problem.why.split("\n") for row in wrap(part, cells))]
    if problem.fix:
        lines += [(), line(("what to do", "dim")), *wrap(problem.fix, cells, "accent")]
    return [*lines, (), line((problem.code, "faint"), ("   Y copies this", "faint"))]


class ProblemDialog(Dialog[None]):
    """Shows an error until it has been read."""

    def __init__(self, problem: MlopsError) -> None:
        super().__init__()
        self.problem = problem

    def compose(self) -> ComposeResult:
        """Lay out text and the one answer."""
        with Vertical(id="box") as box:
            box.border_title = "That did not work"
            yield Prose(lambda cells: told(self.problem, cells))
            yield Choices(Choice("close"))

    def copied(self) -> str:
        """Return the report."""
        return f"{self.problem.code}\n{self.problem}"

    def on_choices_picked(self) -> None:
        """Leave."""
        self.dismiss(None)
