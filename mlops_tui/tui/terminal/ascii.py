"""The last thing before the terminal: every line that any widget drew, in plain ASCII."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from mlops_tui.core.glyphs import plain


class Ascii(LineFilter):
    """Writes what is drawn by its likeness; frames, bars and scroll bars of Textual's own widgets too."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments of a line in ASCII, each as wide as it was."""
        return [
            segment if segment.control or segment.text.isascii() else Segment(_fitted(segment.text), segment.style)
            for segment in segments
        ]


def _fitted(text: str) -> str:
    cells, simple = cell_len(text), plain(text)
    return simple[:cells].ljust(cells)
