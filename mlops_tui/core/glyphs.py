"""What is drawn, in plain ASCII, cell for cell: for terminals without Unicode, screen readers and old logs.

One table for the screens and the command line. Text from elsewhere loses its accents; what has no likeness is ``?``.
"""

from __future__ import annotations

import codecs
import unicodedata
from functools import lru_cache

_DRAWN = {
    "─━═╌": "-",
    "│┃║▐‖": "|",
    "┈░▁▂▏▎▍": ".",
    "┌┐└┘├┤┬┴┼╭╮╯╰◆": "+",
    "▃▒": ":",
    "▄▌▋▊▉–—−": "-",
    "▅": "=",
    "▆★": "*",
    "▇█■": "#",
    "▓": "%",
    "▀“”″": '"',
    "●°": "o",
    "○": "0",
    "▲↑": "^",
    "▼↓✔✓": "v",
    "✚×": "x",
    "✖✗": "X",
    "▸▶→≥": ">",
    "←≤": "<",
    "…±≈": "~",
    "↻": "@",
    "·•": ".",
    "≠": "!",
    "Δ": "d",
    "‘’′": "'",
    "✎": "e",
    "╲": "\\",
    "⊞": "+",
}
_ASCII = {glyph: plain for glyphs, plain in _DRAWN.items() for glyph in glyphs}
"""The likeness of each glyph that the house draws; all take one cell."""

_BRAILLE = 0x2800
_LEVELS = (0x01 | 0x08, 0x02 | 0x10, 0x04 | 0x20, 0x40 | 0x80)
"""The dots of a braille cell, row by row from the top."""

HANDLER = "mlops.ascii"
"""Name of the codec error handler that writes what an encoding lacks as its likeness."""


def plain(text: str) -> str:
    """Return a text in ASCII that takes as many cells."""
    return text if text.isascii() else "".join(map(_likeness, text))


@lru_cache(4096)
def _likeness(glyph: str) -> str:
    if glyph.isascii():
        return glyph
    if 0 <= (dots := ord(glyph) - _BRAILLE) < 256:
        return _stroke(dots)
    if glyph in _ASCII:
        return _ASCII[glyph]
    if unicodedata.category(glyph) in ("Mn", "Me", "Cf"):
        return ""
    cells = 2 if unicodedata.east_asian_width(glyph) in "WF" else 1
    simple = unicodedata.normalize("NFKD", glyph)[0]
    return simple.ljust(cells) if simple.isascii() and simple.isprintable() else "?" * cells


def _stroke(dots: int) -> str:
    """Return the stroke that lies where the dots of a braille cell lie."""
    rows = [level for level, bits in enumerate(_LEVELS) if dots & bits]
    if not rows:
        return " "
    if rows[-1] - rows[0] >= 2:
        return "|"
    return ("'", "-", "-", ".")[rows[0]] if len(rows) == 1 else ("'", "-", ".")[rows[0]]


def _encode(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end


codecs.register_error(HANDLER, _encode)
