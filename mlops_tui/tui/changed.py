"""Which cells of a line differ from those on the screen: over a slow line only they are told to the terminal."""

from __future__ import annotations

from itertools import chain, pairwise, repeat

from rich.style import Style
from textual.strip import Strip

_COLOUR, _MOVE = 18, 9
"""Bytes that a change of colour costs, and to go elsewhere in the line."""

Cell = tuple[str, Style | None]


def stretches(old: Strip, new: Strip) -> list[tuple[int, int]]:
    """Return where two lines of the same width differ, as first cells and lengths; all of it where cells are wide.

    Cells that are alike between two that differ belong to the stretch where it is cheaper to tell them once more.
    """
    if old is new:
        return []
    before, after = _cells(old), _cells(new)
    width = new.cell_length
    if len(before) != width or len(after) != width:
        return [(0, width)] if before != after else []
    found: list[tuple[int, int]] = []
    for x in [x for x, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]:
        if found and (x == sum(found[-1]) or _cost(after[sum(found[-1]) - 1 : x + 1]) < _MOVE):
            found[-1] = (found[-1][0], x + 1 - found[-1][0])
        else:
            found.append((x, 1))
    return found


def _cells(strip: Strip) -> list[Cell]:
    return list(chain.from_iterable(zip(text, repeat(style)) for text, style, _ in strip))


def _cost(cells: list[Cell]) -> int:
    """Return about how many bytes the cells between the first and the last cost."""
    changes = sum(one[1] is not other[1] for one, other in pairwise(cells))
    lasting = cells[0][1] is not cells[-1][1]
    return len(cells) - 2 + _COLOUR * (changes - lasting)
