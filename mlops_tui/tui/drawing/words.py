"""States as coloured words: their symbol says the same as their colour."""

from __future__ import annotations

from mlops_tui.core.states import SYMBOLS, spoken, tone
from mlops_tui.tui.drawing.text import Line, line


def symbol(state: str) -> Line:
    """Return a state's symbol alone."""
    found = tone(state)
    return line((SYMBOLS[found], found))


def state(word: str | None) -> Line:
    """Return a state as symbol and word in its colour."""
    if not word:
        return line(("–", "faint"))
    found = tone(word)
    return line((f"{SYMBOLS[found]} {spoken(word)}", found))
