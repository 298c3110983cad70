"""Panels of plugins: shown in their mode where there is room, asked again with news, harmless when they break."""

from __future__ import annotations

import pytest

from mlops_tui.tui.widgets import plugin_panel


class Shown:
    name, title, mode = "mine", "My figures", "drift"

    def __init__(self):
        self.widths = []

    async def lines(self, call, width):
        self.widths.append(width)
        await call("drift.list", {"limit": 1})
        return [f"asked {len(self.widths)} times", "x" * 300]


class Broken:
    name, title, mode = "broken", "Broken", "drift"

    async def lines(self, call, width):
        raise ZeroDivisionError("of its own")


@pytest.fixture
def panels(monkeypatch):
    found = [Shown(), Broken()]
    monkeypatch.setattr(plugin_panel, "brought_to", lambda mode: [one for one in found if one.mode == mode])
    return found


@pytest.fixture
def door(written):
    written.answers["drift.list"] = lambda request: request
    return written


async def test_a_mode_shows_its_panels_and_asks_them_again_with_news(panels, door, open_app, settle, screen_text):
    async with open_app(door) as (app, pilot):
        await settle(pilot)
        assert panels[0].widths == [] and "My figures" not in "\n".join(screen_text(app))
        await pilot.press("6")
        await settle(pilot, 0.5)
        shown = "\n".join(screen_text(app))
        assert "My figures" in shown and "Features" in shown
        assert f"asked {len(panels[0].widths)} times" in shown and set(panels[0].widths) == {56}
        assert "✖ the plugin's panel broken broke" in shown and "ZeroDivisionError: of its own" in shown
        before = len(panels[0].widths)
        door.say("run")
        await settle(pilot, 0.3)
        assert len(panels[0].widths) == before
        door.say("drift", seq=0)
        await settle(pilot, 0.3)
        assert len(panels[0].widths) == before + 1
        assert f"asked {before + 1} times" in "\n".join(screen_text(app))


async def test_a_small_terminal_names_what_does_not_fit_and_asks_nobody(panels, door, open_app, settle, screen_text):
    async with open_app(door, size=(80, 24)) as (app, pilot):
        await pilot.press("6")
        await settle(pilot, 0.5)
        shown = "\n".join(screen_text(app))
        assert "⊞ My figures, Broken: shown from 100 columns and 30 lines on" in shown
        assert panels[0].widths == []


async def test_one_that_hangs_is_given_up(panels, door, open_app, settle, screen_text, monkeypatch):
    import asyncio

    async def hang(call, width):
        await asyncio.sleep(60)

    monkeypatch.setattr(plugin_panel, "LIMIT_S", 0.1)
    panels[1].lines = hang
    async with open_app(door) as (app, pilot):
        await pilot.press("6")
        await settle(pilot, 0.5)
        assert "the panel broken said nothing" in "\n".join(screen_text(app))
