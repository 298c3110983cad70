"""Without Unicode: whatever the screens draw is ASCII, and series are told apart by their marks."""

from __future__ import annotations

import pytest

from mlops_tui.tui import keys
from mlops_tui.tui.drawing.plot import Look, draw
from mlops_tui.tui.drawing.raster import series
from mlops_tui.tui.drawing.text import plain as text_of


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=str)
async def test_every_mode_is_ascii(open_app, written, screen_text, settle, size):
    async with open_app(written, size=size, ascii=True) as (app, pilot):
        for number, mode in enumerate(keys.MODES, 1):
            await pilot.press(str(number))
            await settle(pilot, 0.1)
            rows = screen_text(app)
            assert app.current_mode == mode and "\n".join(rows).isascii(), [row for row in rows if not row.isascii()]
            assert all(len(row) == size[0] for row in rows)
        for way in (("2", "enter"), ("question_mark",), ("2", "f"), ("escape", "space", "space", "c")):
            await pilot.press(*way)
            await settle(pilot, 0.1)
            assert "\n".join(screen_text(app)).isascii()


async def test_the_setting_asks_for_it_too(open_app, scripted, screen_text, monkeypatch):
    monkeypatch.setenv("MLOPS_ASCII", "1")
    async with open_app(scripted()) as (app, _):
        assert "\n".join(screen_text(app)).isascii()
    monkeypatch.delenv("MLOPS_ASCII")
    async with open_app(scripted()) as (app, _):
        assert not "\n".join(screen_text(app)).isascii()


def test_lines_that_no_colour_tells_apart_are_drawn_by_their_marks():
    lines = [series(name, range(40), [float(base)] * 40) for name, base in (("a", 1), ("b", 2))]
    drawn = [text_of(row) for row in draw(lines, (), Look(plain=True), 60, 12).rows]
    assert sum("●●●●" in row for row in drawn) == sum("◆◆◆◆" in row for row in drawn) == 1
