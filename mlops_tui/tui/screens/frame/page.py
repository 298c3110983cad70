"""Finding on a page: what is typed is looked for in all panels of lines, and ``n`` goes on to the next place."""

from __future__ import annotations

from mlops_tui.tui.drawing.text import plain
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.screens.frame.base import Face
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.prompt import Prompt


class Page(Face):
    """A screen of panels whose lines are searched as one text, from the cursor on and from the top again."""

    BINDINGS = bindings("page")

    def __init__(self) -> None:
        super().__init__()
        self._needle = ""

    def action_find(self) -> None:
        """Ask what to find."""
        self.mount(Prompt("/", self._needle, self._search, hint="find on this page; n goes to the next match"))

    def _search(self, text: str) -> None:
        self._needle = text.strip().lower()
        self.action_next_match()

    def action_next_match(self) -> None:
        """Go to the next line that has what was searched for."""
        if not self._needle:
            self.complain("/ finds something first")
            return
        panels = [panel for panel in self.focus_chain_of_panels() if isinstance(panel, Lines)]
        places = [
            (at, index)
            for at, panel in enumerate(panels)
            for index, row in enumerate(panel.rows)
            if self._needle in plain(row.line).lower() or self._needle in row.value.lower()
        ]
        if not places:
            self.complain(f"{self._needle!r} is not on this page")
            return
        here = (panels.index(self.focused), self.focused.cursor) if isinstance(self.focused, Lines) else (-1, 0)
        at, index = next((place for place in places if place > here), places[0])
        panels[at].focus()
        panels[at].reach(index)
