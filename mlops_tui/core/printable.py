"""Text from elsewhere, made harmless before a terminal sees it."""

from __future__ import annotations

import unicodedata

_UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def clean(text: str) -> str:
    """Return text from elsewhere without what could move the cursor or turn the reading direction."""
    if text.isprintable():
        return text
    return "".join(" " if c in "\n\t" else c for c in text if c in "\n\t" or unicodedata.category(c) not in _UNSAFE)
