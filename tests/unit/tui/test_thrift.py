"""What the terminal is told: read back by a terminal of a few lines, it is what should be seen, and it is short."""

from __future__ import annotations

import io
import random
import re

import pytest
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from mlops_tui.tui.changed import stretches
from mlops_tui.tui.thrift import thrifty

WIDE, HIGH = 24, 4
STYLES = [
    Style(color="#d7dde5", bgcolor="#141920"),
    Style(color="#6cb6ff", bgcolor="#141920"),
    Style(color="#6cb6ff", bgcolor="#1b222b", bold=True),
    Style(color="red"),
    Style(reverse=True),
    Style(dim=True, color="bright_black", bgcolor="default"),
    None,
]
_TOLD = re.compile(r"\x1b\[(\d+);(\d+)H|\x1b\[([\d;]*)m|([^\x1b])")


def screen(told, before=None):
    """Return the cells that a terminal shows: (character, codes that are on) by place."""
    cells, codes, x, y = dict(before or {}), {}, 0, 0
    for row, column, sgr, char in _TOLD.findall(told):
        if row:
            x, y = int(column) - 1, int(row) - 1
        elif char:
            cells[x, y] = (char, tuple(sorted(codes.items())))
            x += cell_len(char)
        else:
            codes = turned(codes, [int(one) for one in sgr.split(";")])
    return cells


def turned(codes, given):
    codes = dict(codes)
    while given:
        one, *given = given
        kind = "ink" if 30 <= one < 40 or 90 <= one < 98 else "ground" if 40 <= one < 50 or one >= 100 else str(one)
        if one == 0:
            codes = {}
        elif one in (38, 48):
            codes[kind], given = tuple(given[:4]), given[4:]
        elif one in (39, 49):
            codes.pop(kind, None)
        else:
            codes[kind] = one
    return codes


def line(rng, words="ab ·⣿"):
    segments, left = [], WIDE
    while left:
        taken = rng.randint(1, min(9, left))
        segments.append(Segment("".join(rng.choice(words) for _ in range(taken)), rng.choice(STYLES)))
        left -= taken
    return Strip(segments, WIDE)


def sent(update, system="truecolor"):
    return thrifty(update).render_segments(Console(file=io.StringIO(), color_system=system, force_terminal=True))


def full(lines):
    return LayoutUpdate([[one] for one in lines], Region(0, 0, WIDE, HIGH))


def usual(lines):
    """Return what a terminal shows of the lines as Textual tells them."""
    return screen("".join(f"\x1b[{y + 1};1H{fresh(one)}" for y, one in enumerate(lines)))


def fresh(strip):
    return "".join(
        text if style is None else f"\x1b[{Strip.render_ansi(style, ColorSystem.TRUECOLOR)}m{text}\x1b[0m"
        for text, style, _ in strip
    )


@pytest.mark.parametrize("seed", range(20))
def test_what_is_told_is_what_is_seen_and_only_what_changed_is_told(seed):
    rng = random.Random(seed)
    before = [line(rng) for _ in range(HIGH)]
    after = [rng.choice([old, line(rng), Strip([*old.crop(0, 20), *line(rng).crop(20, WIDE)], WIDE)]) for old in before]
    shown = screen(sent(full(before)))
    assert shown == usual(before)
    spans = [(y, x, x + n) for y in range(HIGH) for x, n in stretches(before[y], after[y])]
    if spans:
        update = ChopsUpdate([{0: one} for one in after], spans, [[WIDE]] * HIGH)
        told = sent(update)
        shown = screen(told, shown)
        assert len(told) < len(update.render_segments(Console(file=io.StringIO(), color_system="truecolor")))
    assert shown == usual(after)


def test_fragments_of_a_line_join_and_a_stretch_that_lies_in_two_is_told_in_both():
    plain = Strip([Segment("x" * 12, STYLES[0])], 12)
    update = ChopsUpdate([{0: plain, 12: plain}], [(0, 10, 14)], [[12, WIDE]])
    assert sent(update) == f"\x1b[1;11H\x1b[{Strip.render_ansi(STYLES[0], ColorSystem.TRUECOLOR)}mxxxx\x1b[0m"


def test_lines_with_wide_characters_are_told_whole():
    old, new = (Strip([Segment(text, STYLES[0])], 10) for text in ("日本ab  cd", "日本ab  ce"))
    assert stretches(old, new) == [(0, 10)] and stretches(old, old) == []
    assert stretches(old, Strip([Segment("日本ab  cd", STYLES[0])], 10)) == []


def test_near_changes_are_one_stretch_and_far_ones_two():
    old, near, far = (Strip([Segment(t.ljust(40), STYLES[0])], 40) for t in ("a", "b   b", "b" + " " * 20 + "b"))
    assert stretches(old, near) == [(0, 5)] and stretches(old, far) == [(0, 1), (21, 1)]


def test_sixteen_colours_stay_sixteen():
    told = sent(full([line(random.Random(1))] * HIGH), "standard")
    assert "38;2" not in told and "48;2" not in told
