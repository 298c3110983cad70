"""Which cells of a line differ from those on the screen: over a slow line only they are told to the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import compress, count, pairwise
from operator import itemgetter, ne
from typing import NamedTuple

from rich.cells import split_graphemes
from rich.color import Color, ColorSystem
from rich.style import Style
from textual.strip import Strip

_COLOUR, _MOVE = 18, 9
"""Bytes that a change of colour costs, and to go elsewhere in the line."""


class Look(NamedTuple):
    """How a terminal is told of a style: its attributes, its ink, its ground, and where it leads."""

    attributes: str
    ink: str
    ground: str
    link: str = ""


PLAIN = Look("", "39", "49")
"""The terminal's own ink on its own ground."""
Cell = tuple[str, Look]
text_of, look_of = itemgetter(0), itemgetter(1)


def cells_of(strip: Strip, system: ColorSystem = ColorSystem.TRUECOLOR) -> list[Cell]:
    """Return a strip cell by cell; of a wide character the second cell has no text."""
    cells: list[Cell] = []
    for text, style, _ in strip:
        look = _look(style, system)
        cells += [(cell, look) for cell in (text if text.isascii() and text.isprintable() else _cells(text))]
    return cells


@lru_cache(maxsize=16_384)
def _cells(text: str) -> Sequence[str]:
    """Return a text cell by cell; an accent, or what joins pictures, stands in the cell of what it belongs to."""
    spans, _ = split_graphemes(text)
    return [cell for start, end, width in spans if width for cell in (text[start:end], *[""] * (width - 1))]


@lru_cache(maxsize=4096)
def _look(style: Style | None, system: ColorSystem) -> Look:
    if style is None:
        return PLAIN
    ink, ground = _colour(style.color, system, True), _colour(style.bgcolor, system, False)
    plain = Strip.render_ansi(Style.combine([style, Style(color="default", bgcolor="default")]), ColorSystem.STANDARD)
    return Look(plain.removesuffix("39;49").rstrip(";"), ink, ground, style.link or "")


def _colour(colour: Color | None, system: ColorSystem, foreground: bool) -> str:
    if colour is None:
        return PLAIN.ink if foreground else PLAIN.ground
    return ";".join(colour.downgrade(system).get_ansi_codes(foreground))


def stretches(old: Sequence[Cell | None], new: Sequence[Cell]) -> list[tuple[int, int]]:
    """Return where two lines of the same width differ, as first cells and ends; None is what nobody knows.

    Cells that are alike between two that differ belong to the stretch where it is cheaper to tell them once more. No
    stretch begins or ends within a wide character.
    """
    if old == new:
        return []
    differing = compress(count(), map(ne, old, new))
    first = next(differing)
    found = [[first, first + 1]]
    for x in differing:
        end = found[-1][1]
        if x == end or (x - end < _MOVE and _cost(new[end - 1 : x + 1]) < _MOVE):
            found[-1][1] = x + 1
        else:
            found.append([x, x + 1])
    return [_whole(new, *one) for one in found]


def loose(cells: Sequence[Cell | None]) -> bool:
    """Tell whether any letter is of several code points: terminals do not agree on how wide these are."""
    return max(map(len, map(text_of, filter(None, cells))), default=0) > 1


def _whole(cells: Sequence[Cell], start: int, end: int) -> tuple[int, int]:
    while start and not cells[start][0]:
        start -= 1
    while end < len(cells) and not cells[end][0]:
        end += 1
    return start, end


def _cost(cells: Sequence[Cell]) -> int:
    """Return about how many bytes the cells between the first and the last cost."""
    looks = [look for _, look in cells]
    changes = sum(one != other for one, other in pairwise(looks))
    return len(cells) - 2 + _COLOUR * (changes - (looks[0] != looks[-1]))
