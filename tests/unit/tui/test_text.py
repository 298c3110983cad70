from __future__ import annotations

import pytest

from mlops_tui.tui.drawing.text import cut, grid, join, line, pad, plain, spread, strip, width, wrap
from mlops_tui.tui.drawing.theme import Ink


def test_line_takes_strings_spans_and_lines():
    made = line("a", ("b", "fail"), line(("c", "ok"), "d"), "")
    assert made == (("a", "text"), ("b", "fail"), ("c", "ok"), ("d", "text"))
    assert line(("x", "ok")) == (("x", "ok"),)


@pytest.mark.parametrize("cells", range(0, 12))
def test_cut_never_exceeds_its_room(cells):
    made = cut(line("漢字", ("abcdef", "ok")), cells)
    assert width(made) <= cells
    assert plain(made).endswith("…") or cells >= 10 or cells == 0


@pytest.mark.parametrize("align", ["left", "right"])
@pytest.mark.parametrize("text", ["", "ab", "漢字漢字漢字", "abcdefghij"])
def test_pad_is_exact(text, align):
    assert width(pad(line(text), 7, align)) == 7


def test_pad_right_puts_the_room_before():
    assert plain(pad(line("12"), 4, "right")) == "  12"


def test_spread_gives_the_left_away_first():
    assert plain(spread(line("abcdef"), line("xyz"), 9)) == "abc…  xyz"
    assert width(spread(line("abc"), line("xyz"), 20)) == 20


def test_join_leaves_empty_lines_out():
    assert plain(join([line("a"), (), line("b")], " · ")) == "a · b"


def test_grid_aligns_and_the_widest_gives_way():
    rows = [["name", "n"], ["a-very-long-name-indeed", "7"], ["b", "1,234"]]
    made = grid(rows, "lr")
    assert plain(made[0]).index("n", 4) == plain(made[2]).rindex("4")
    assert all(width(row) <= 16 for row in grid(rows, "lr", room=16))
    assert "1,234" in plain(grid(rows, "lr", room=16)[2])


def test_wrap_breaks_at_blanks_and_long_words():
    assert [plain(row) for row in wrap("ab cd efghijkl", 5)] == ["ab cd", "efghi", "jkl"]


def test_strip_tells_each_colour_once():
    ink = Ink("mlops-dark")
    made = strip(line("  ", ("a", "ok"), "   ", ("b", "ok"), ("c", "fail")), ink, cells=12)
    assert made.text == "  a   bc    "
    assert [segment.text for segment in made] == ["  a   b", "c    "]


def test_a_name_is_shortened_in_its_middle():
    from mlops_tui.tui.drawing.text import middle

    assert middle("block0/layer4/weight", 20) == "block0/layer4/weight"
    for cells in (9, 10, 15, 19):
        short = middle("block0/layer4/weight", cells)
        assert len(short) == cells and short.startswith("bloc") and short.endswith("ght") and "…" in short
