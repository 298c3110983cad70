"""Finding on a page, and what was deleted: experiments as well as runs."""

from __future__ import annotations

import pytest

from mlops_tui.agent.ingest import Ingestor
from mlops_tui.core.ids import uuid7
from mlops_tui.spool.writer import Writer
from mlops_tui.tui.widgets.curve import Curve
from mlops_tui.tui.widgets.table import Table


@pytest.fixture
def runs(house, house_door):
    """A run with two hundred metrics in one experiment, and one in another."""
    many = Writer(house.home.spool, uuid7(), run={"experiment": "wide", "name": "many", "params": {"layer150": "7"}})
    for step in range(2):
        many.metrics({f"layer{i:03d}/norm": float(i + step) for i in range(200)}, step=step)
    many.end("done")
    Writer(house.home.spool, uuid7(), run={"experiment": "other", "name": "one"}).end("done")
    ingestor = Ingestor(house)
    while ingestor.turn():
        continue
    return house_door


async def test_a_metric_of_two_hundred_is_found_and_n_goes_on_to_other_panels(runs, open_app, settle, until):
    async with open_app(runs, link="run:many") as (app, pilot):
        await until(pilot, lambda: getattr(app.face, "run_shown", None))
        await settle(pilot)
        await pilot.press("n")  # nothing has been searched for: says so, goes nowhere
        await pilot.press("slash", *"layer150", "enter")
        await settle(pilot)
        metrics = app.face.lines("metrics")
        assert app.focused is metrics and metrics.current.link == "layer150/norm"
        assert metrics.top <= metrics.cursor < metrics.top + metrics.room[1]
        await pilot.press("n")
        await settle(pilot)
        assert app.focused is app.face.lines("params") and app.focused.current.value == "7"
        await pilot.press("n")
        await settle(pilot)
        assert app.focused is metrics  # from the top again


async def test_keys_of_charts_hold_wherever_the_focus_is(runs, open_app, settle, until):
    async with open_app(runs, link="run:many") as (app, pilot):
        await until(pilot, lambda: getattr(app.face, "run_shown", None))
        await settle(pilot)
        for panel in (app.face.lines("params"), app.face.query(Curve).first()):
            panel.focus()
            await pilot.press("l", "o", "plus", "v")
            await settle(pilot)
        chart = app.face.query(Curve).first()
        assert (chart.log_y, chart.shared.lens.smoothing, chart.shared.lens.part) == (False, 0.9, 0.25)
        assert app.face.axis == "step"  # to the time since the start, and back
        await pilot.press("v")
        await settle(pilot)
        assert app.face.axis == "elapsed" and chart.axis == "elapsed" and "time" in chart.note()


async def test_the_focus_comes_back_after_a_terminal_was_too_small(runs, open_app, settle):
    async with open_app(runs) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        table = app.face.query_one("#runs", Table)
        assert app.focused is table
        await pilot.resize_terminal(60, 15)
        await settle(pilot)
        assert app.focused is None
        await pilot.resize_terminal(120, 36)
        await settle(pilot)
        assert app.focused is table


async def test_an_experiment_is_deleted_listed_restored_and_undone(runs, open_app, settle, screen_text, until):
    async with open_app(runs) as (app, pilot):
        await pilot.press("2")
        await settle(pilot, 0.4)
        table = app.face.query_one("#experiments", Table)
        table.focus()
        await until(pilot, lambda: table.total == 2)
        doomed = table.value("name")
        await pilot.press("delete")
        await until(pilot, lambda: getattr(app.screen, "plan", None))
        await pilot.press("right", "enter")
        await until(pilot, lambda: app.screen is app.face and table.total == 1)
        await pilot.press("d")
        await until(pilot, lambda: table.total == 1 and table.value("name") == doomed)
        assert "Deleted experiments (1)" in "\n".join(screen_text(app)) and "del restore" in "\n".join(screen_text(app))
        await pilot.press("delete")
        await until(pilot, lambda: getattr(app.screen, "plan", None))
        assert app.screen.operation == "experiment.restore"
        await pilot.press("right", "enter")
        await until(pilot, lambda: app.screen is app.face and table.total == 0)
        await pilot.press("d")
        await until(pilot, lambda: table.total == 2)
        await pilot.press("u")
        await until(pilot, lambda: getattr(app.screen, "plan", None))
        await pilot.press("right", "enter")
        await until(pilot, lambda: app.screen is app.face and table.total == 1)
