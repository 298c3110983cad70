"""One value that is too long for its panel, whole."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from mlops_tui.tui.drawing.text import wrap
from mlops_tui.tui.widgets.dialog import Plain
from mlops_tui.tui.widgets.lines import Lines

_HIGH = 24


class Whole(Plain[None]):
    """Shows a text until it is closed.

    Args:
        title: what it is.
        text: all of it.
    """

    DEFAULT_CSS = "Whole Lines { height: auto; max-height: 100%; }"

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title_of_text, self._text = title, text

    def compose(self) -> ComposeResult:
        """Lay out one panel, as high as the text wants."""
        with Vertical(id="box"):
            panel = Lines(self._title_of_text, "app.back=close")
            panel.styles.height = min(_HIGH, len(wrap(self._text, 80)) + 2)
            yield panel

    def on_mount(self) -> None:
        """Write the text for the width there is."""
        panel = self.query_one(Lines)
        panel.show(lambda cells: wrap(self._text, cells))
        panel.focus()

    def copied(self) -> str:
        """Return the text."""
        return self._text
