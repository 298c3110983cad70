"""A panel of lines by itself."""

from __future__ import annotations

from textual.app import App

from mlops_tui.tui.drawing.text import grid, line
from mlops_tui.tui.drawing.theme import textual_themes
from mlops_tui.tui.widgets.lines import Lines


class Host(App):
    """An app around one panel."""

    def __init__(self):
        super().__init__()
        for theme in textual_themes():
            self.register_theme(theme)
        self.theme = "mlops-dark"

    def compose(self):
        yield Lines("Widths")


async def test_what_is_laid_out_for_a_width_is_laid_out_anew_for_another(screen_text):
    async with Host().run_test(size=(40, 6)) as pilot:
        panel = pilot.app.query_one(Lines)
        panel.show(lambda cells: [line("x" * cells)])
        await pilot.pause()
        assert screen_text(pilot.app)[1] == "│ " + "x" * 36 + " │"
        await pilot.resize_terminal(20, 6)
        await pilot.pause()
        assert screen_text(pilot.app)[1] == "│ " + "x" * 16 + " │"
        panel.show(grid([["plain", "rows"]]))
        await pilot.resize_terminal(40, 6)
        await pilot.pause()
        assert "plain  rows" in screen_text(pilot.app)[1]


async def test_a_panel_that_is_not_seen_is_written_when_it_is(screen_text):
    async with Host().run_test(size=(40, 6)) as pilot:
        panel, widths = pilot.app.query_one(Lines), []
        panel.display = False
        await pilot.pause()
        panel.show(lambda cells: widths.append(cells) or [line("here")])
        assert widths == []
        panel.display = True
        await pilot.pause()
        assert widths == [36] and "here" in screen_text(pilot.app)[1]
