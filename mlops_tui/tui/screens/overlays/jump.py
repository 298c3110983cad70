"""Jump: a letter on every panel, one key to be there."""

from __future__ import annotations

from textual import events
from textual.screen import ModalScreen

from mlops_tui.tui.screens.frame.base import Face
from mlops_tui.tui.widgets.panel import Panel

_LETTERS = "asdfghjklqwertyuiop"


class Jump(ModalScreen[None]):
    """Shows the letters on the screen below and takes one key."""

    DEFAULT_CSS = "Jump { background: transparent; }"

    def __init__(self, face: Face) -> None:
        super().__init__()
        panels = [widget for widget in face.focus_chain_of_panels() if isinstance(widget, Panel)]
        self.places = dict(zip(_LETTERS, panels, strict=False))

    def on_mount(self) -> None:
        """Put the letters on."""
        for letter, panel in self.places.items():
            panel.badge = letter

    async def on_key(self, event: events.Key) -> None:
        """Take the letters off, and go where the key says."""
        event.stop()
        for panel in self.places.values():
            panel.badge = ""
        self.dismiss(None)
        if panel_ := self.places.get(event.character or ""):
            panel_.focus()
