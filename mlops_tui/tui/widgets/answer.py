"""What a change answered, where that is more than a sentence: shown until it has been read and copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical

from mlops_tui.tui.drawing.text import Line, grid, line, wrap
from mlops_tui.tui.widgets.dialog import Choice, Choices, Dialog, Prose


class AnswerDialog(Dialog[None]):
    """Shows the fields of an answer, the longest whole: it may never be seen again.

    Args:
        title: what was done.
        fields: what came of it, by name.
    """

    def __init__(self, title: str, fields: Mapping[str, Any]) -> None:
        super().__init__()
        self.title_of_answer, self.fields = title, fields

    def compose(self) -> ComposeResult:
        """Lay out the fields and the one answer."""
        with Vertical(id="box") as box:
            box.border_title = self.title_of_answer
            yield Prose(self._told)
            yield Choices(Choice("close"))

    def on_mount(self) -> None:
        """Enter leaves."""
        self.query_one(Choices).focus()

    def _told(self, cells: int) -> list[Line]:
        known = {name.replace("_", " "): str(value) for name, value in self.fields.items() if value not in (None, "")}
        short = {name: value for name, value in known.items() if len(value) <= cells // 2}
        lines = grid([[(name, "dim"), value] for name, value in short.items()], room=cells)
        for name in known.keys() - short.keys():
            lines += [(), line((name, "dim")), *wrap(known[name], cells, "accent")]
        return [*lines, (), line(("Y copies the longest of it", "faint"))]

    def copied(self) -> str:
        """Return the longest value: a token, an address."""
        return max((str(value) for value in self.fields.values() if value), key=len, default="")

    def on_choices_picked(self) -> None:
        """Leave."""
        self.dismiss(None)
