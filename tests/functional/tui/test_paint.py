"""What a key paints: the rows that changed, and of them what Textual would have painted."""

from __future__ import annotations

import random

import pytest
from textual._compositor import Compositor
from textual.geometry import Region
from textual.widget import Widget

from mlops_tui.tui.screens.frame import browser
from mlops_tui.tui.terminal.thrift import Looker
from mlops_tui.tui.widgets.panel import Panel


@pytest.fixture
def asked(monkeypatch):
    """Lines that panels drew, and how many each widget was asked for."""
    drawn, lines = [], []
    draw, give = Panel.render_line, Widget.render_lines
    monkeypatch.setattr(Panel, "render_line", lambda self, y: drawn.append((self.id, y)) or draw(self, y))
    monkeypatch.setattr(
        Widget, "render_lines", lambda self, crop: lines.append((self.id, crop.height)) or give(self, crop)
    )
    return drawn, lines


async def test_a_cursor_key_draws_two_rows_and_asks_no_other_panel(open_app, scripted, asked, monkeypatch):
    monkeypatch.setattr(browser, "_PAUSE_S", 60.0)  # nothing is previewed meanwhile, however slow the machine is
    drawn, lines = asked
    async with open_app(scripted(), link="runs") as (app, pilot):
        await pilot.press("down")
        table = app.screen.query_one("#runs")
        before = table.cursor
        drawn.clear(), lines.clear()
        await pilot.press("down")
        await pilot.pause()
        assert table.cursor == before + 1
        assert drawn == [("runs", y + table.head + 1) for y in (before, before + 1)]
        assert {ident for ident, _ in lines if ident in ("experiments", "figures", "curve")} == set()
        assert {height for _, height in lines} == {2}


async def test_a_part_of_the_screen_is_composed_as_textual_composes_it(open_app, scripted, monkeypatch):
    rng = random.Random(26)
    async with open_app(scripted(), link="runs") as (app, pilot):
        app.notify("a toast lies over the panels")
        await pilot.press("end", "up")
        width, height = app.size
        for _ in range(20):
            x, y = rng.randrange(width), rng.randrange(height)
            crop = Region(x, y, rng.randint(1, width - x), rng.randint(1, height - y))
            ours = seen(app.screen._compositor, crop)
            with monkeypatch.context() as usual:
                usual.setattr(Looker, "_get_renders", Compositor._get_renders)
                assert ours == seen(app.screen._compositor, crop)


def seen(compositor, crop):
    """Return what lies in a part of the screen, by place; of whole fragments of lines, as paints are made of them."""
    chops = compositor._render_chops(crop, crop.line_range.__contains__)
    fragments = ((x, y, strip) for y in crop.line_range for x, strip in chops[y].items())
    return {(x, y): strip for x, y, strip in fragments if strip and x < crop.right and x + strip.cell_length > crop.x}
