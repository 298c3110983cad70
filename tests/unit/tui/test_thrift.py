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

from mlops_tui.tui.terminal.changed import cells_of, stretches
from mlops_tui.tui.terminal.thrift import Shown

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
            if cell_len(char) == 2:
                cells[x + 1, y] = ("", tuple(sorted(codes.items())))
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
        text = "".join(rng.choice(words) for _ in range(rng.randint(1, 9)))
        text = text if cell_len(text) <= left else " " * left
        segments.append(Segment(text, rng.choice(STYLES)))
        left -= cell_len(text)
    return Strip(segments, WIDE)


def sent(update, system="truecolor", shown=None):
    paint = (shown or Shown()).thrifty(update, (WIDE, HIGH))
    return paint.render_segments(Console(file=io.StringIO(), color_system=system, force_terminal=True))


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


@pytest.mark.parametrize("words", ["ab ·⣿", "a日 b"])
@pytest.mark.parametrize("seed", range(12))
def test_what_is_told_is_what_is_seen_and_only_what_changed_is_told(seed, words):
    rng, shown, seen = random.Random(seed), Shown(), {}
    lines = [line(rng, words) for _ in range(HIGH)]
    for _ in range(6):
        told = sent(full(lines), shown=shown)
        seen = screen(told, seen)
        assert seen == usual(lines)
        assert sent(full(lines), shown=shown) == ""  # the same once more costs nothing
        y, x1, x2 = rng.randrange(HIGH), *sorted(rng.sample(range(WIDE + 1), 2))
        lines[y] = new = rng.choice([line(rng, words), Strip([Segment(" " * WIDE, STYLES[0])], WIDE)])
        update = ChopsUpdate([{0: new}] * HIGH, [(y, x1, x2)], [[WIDE]] * HIGH)
        told = sent(update, shown=shown)
        seen = screen(told, seen)
        assert len(told) <= len(update.render_segments(Console(file=io.StringIO(), color_system="truecolor")))


def test_after_another_size_or_when_something_else_wrote_there_all_is_told():
    shown, paint = Shown(), full([line(random.Random(1))] * HIGH)
    first = sent(paint, shown=shown)
    assert sent(paint, shown=shown) == ""
    shown.forget()
    assert sent(paint, shown=shown) == first
    shown.thrifty(None, (WIDE + 1, HIGH))
    assert sent(paint, shown=shown) == first


def test_fragments_of_a_line_join_and_a_stretch_that_lies_in_two_is_told_in_both():
    plain = Strip([Segment("x" * 12, STYLES[0])], 12)
    update = ChopsUpdate([{0: plain, 12: plain}], [(0, 10, 14)], [[12, WIDE]])
    assert sent(update) == f"\x1b[1;11H\x1b[{Strip.render_ansi(STYLES[0], ColorSystem.TRUECOLOR)}mxxxx\x1b[0m"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("a", "b   b", [(0, 5)]),
        ("a", "b" + " " * 20 + "b", [(0, 1), (21, 22)]),
        ("日本", "日木", [(2, 4)]),
        ("日本", "日本", []),
        ("日", "ab", [(0, 2)]),
        ("e\u0301", "e\u0301", []),
    ],
)
def test_near_changes_are_one_stretch_and_a_wide_character_is_told_whole(old, new, found):
    cells = [cells_of(Strip([Segment(text.ljust(30), STYLES[0])]))[:28] for text in (old, new)]
    assert stretches(*cells) == found


@pytest.mark.parametrize(
    "text", ["e\u0301x", "👨\u200d👩\u200d👧", "❤\ufe0f", "\u200bab", "نص عربي", "क्षि", "🇦🇪", "\u0301a"]
)
def test_whatever_people_write_has_as_many_cells_as_textual_says(text):
    strip = Strip([Segment(text)])
    assert len(cells_of(strip)) == strip.cell_length


def test_a_paint_over_the_edge_of_a_terminal_that_became_narrower_is_sent_whole():
    wider, shown = Strip([Segment("x" * (WIDE + 4), STYLES[0])], WIDE + 4), Shown()
    for _ in range(2):
        assert "x" * (WIDE + 4) in sent(LayoutUpdate([[wider]], Region(0, 0, WIDE + 4, 1)), shown=shown)


def test_sixteen_colours_stay_sixteen():
    told = sent(full([line(random.Random(1))] * HIGH), "standard")
    assert "38;2" not in told and "48;2" not in told


def test_a_link_is_opened_and_closed_where_its_letters_are():
    style = Style(color="red", link="https://example.org")
    strip = Strip([Segment("see "), Segment("there", style), Segment(" now")])
    told = sent(LayoutUpdate([[strip]], Region(0, 0, WIDE, 1)))
    lead = "\x1b]8;;https://example.org\x1b\\"
    assert told == f"\x1b[1;1Hsee {lead}\x1b[31mthere\x1b]8;;\x1b\\\x1b[0m now"


def test_what_follows_words_is_at_its_place_however_wide_a_terminal_draws_their_letters():
    line = Strip([Segment("i ❤\ufe0f e\u0301 you  ab".ljust(WIDE))])
    told = sent(LayoutUpdate([[line]], Region(0, 0, WIDE, 1)))
    assert told == f"\x1b[1;1H{' ' * 12}\x1b[1;1Hi ❤\ufe0f e\u0301 you\x1b[1;13H{' ' * 11}\x1b[1;13Hab\x1b[1;24H"


def test_a_line_on_which_such_letters_are_or_were_is_told_whole():
    shown, there = Shown(), ["e\u0301", "x", "x"]
    lines = [Strip([Segment(text + " " * (WIDE - 1))]) for text in there]
    told = [sent(LayoutUpdate([[one]], Region(0, 0, WIDE, 1)), shown=shown) for one in lines]
    assert told[1] == f"\x1b[1;1Hx{' ' * (WIDE - 1)}" and told[2] == ""
