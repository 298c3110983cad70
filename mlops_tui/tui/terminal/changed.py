"""Which cells of a line differ from those on the screen: over a slow line only they are told to the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from rich.cells import split_graphemes
from rich.style import Style
from textual.strip import Strip

_COLOUR, _MOVE = 18, 9
"""Bytes that a change of colour costs, and to go elsewhere in the line."""

Cell = tuple[str, Style | None]


def cells_of(strip: Strip) -> list[Cell]:
    """Return a strip cell by cell; of a wide character the second cell has no text."""
    return [(cell, style) for text, style, _ in strip for cell in _cells(text)]


@lru_cache(maxsize=16_384)
def _cells(text: str) -> Sequence[str]:
    """Return a text cell by cell; an accent, or what joins pictures, stands in the cell of what it belongs to."""
    if text.isascii() and text.isprintable():
        return text
    spans, _ = split_graphemes(text)
    return [cell for start, end, width in spans if width for cell in (text[start:end], *[""] * (width - 1))]


def stretches(old: Sequence[Cell | None], new: Sequence[Cell]) -> list[tuple[int, int]]:
    """Return where two lines of the same width differ, as first cells and lengths; None is what nobody knows.

    Cells that are alike between two that differ belong to the stretch where it is cheaper to tell them once more. No
    stretch begins or ends within a wide character. Where letters are of several code points all is told: terminals
    do not agree on how wide these are.
    """
    if old == new:
        return []
    if any(len(cell) > 1 for cell, _ in new):
        return [(0, len(new))]
    found: list[tuple[int, int]] = []
    for x in [x for x, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]:
        if found and (x <= (end := sum(found[-1])) or _cost(new[end - 1 : x + 1]) < _MOVE):
            found[-1] = (found[-1][0], max(end, x + 1) - found[-1][0])
        else:
            found.append((x, 1))
    return [_whole(new, start, start + count) for start, count in found]


def _whole(cells: Sequence[Cell], start: int, end: int) -> tuple[int, int]:
    while start and not cells[start][0]:
        start -= 1
    while end < len(cells) and not cells[end][0]:
        end += 1
    return start, end - start


def _cost(cells: Sequence[Cell]) -> int:
    """Return about how many bytes the cells between the first and the last cost."""
    changes = sum(one[1] is not other[1] for one, other in pairwise(cells))
    lasting = cells[0][1] is not cells[-1][1]
    return len(cells) - 2 + _COLOUR * (changes - lasting)
