"""The analysis of runs over a real store: grouped, unfolded, selected, narrowed, and found again in the list."""

from __future__ import annotations

import pytest

from mlops_tui.agent.ingest import Ingestor
from mlops_tui.core.ids import uuid7
from mlops_tui.spool.writer import Writer
from mlops_tui.tui.screens.runs.analysis import Analysis
from mlops_tui.tui.screens.runs.compare import Compare
from mlops_tui.tui.widgets.parallel import Parallel
from mlops_tui.tui.widgets.table import Table


@pytest.fixture
def sweep(house, house_door):
    """Two depths of three seeds each, at two rates: the loss hangs on the depth."""
    for i in range(12):
        depth, seed, rate = (2, 8)[i % 2], i // 4, ("0.1", "it's")[i // 2 % 2]
        facts = {"experiment": "vision", "name": f"r{i}", "params": {"depth": depth, "seed": seed, "rate": rate}}
        writer = Writer(house.home.spool, uuid7(), run=facts)
        writer.metrics({"loss": 1.0 / depth + seed / 100, "other": float(i)}, step=0)
        writer.end("done")
    bare = Writer(house.home.spool, uuid7(), run={"experiment": "bare", "name": "nothing"})
    bare.end("done")
    ingestor = Ingestor(house)
    while ingestor.turn():
        continue
    return house_door


@pytest.fixture
def analysed(sweep, open_app, settle):
    """Open the analysis of a filter: ``async with analysed("experiment:vision") as (app, pilot)``."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def opened(filter="", size=(120, 36)):
        async with open_app(sweep, size=size, link=f"analysis {filter}") as (app, pilot):
            for _ in range(100):
                if isinstance(app.face, Analysis) and (panel := app.face.query_one(Parallel)).told | bool(
                    panel.problem
                ):
                    break
                await settle(pilot, 0.05)
            await settle(pilot)
            yield app, pilot

    return opened


async def test_groups_have_means_over_seeds_and_unfold_to_their_runs(analysed, settle, lines_of):
    async with analysed() as (app, pilot):
        head, best, *_ = lines_of(app, "#groups")
        assert app.face.keys == ["depth"] and head.split()[:4] == ["depth", "runs", "mean", "±"]
        assert best.split()[:6] == ["+", "8", "6", "0.1350", "±", "0.0089"]
        await pilot.press("down", "enter")
        await settle(pilot)
        rows = lines_of(app, "#groups")
        assert len(rows) == 9 and rows[1].startswith("- 8") and "✔" in rows[2]
        assert rows[2].split()[2] == "0.1250"  # of its runs the best comes first
        await pilot.press("enter")
        await settle(pilot)
        assert len(lines_of(app, "#groups")) == 3


async def test_what_matters_is_ranked_and_enter_groups_by_it(analysed, settle, lines_of):
    async with analysed() as (app, pilot):
        rows = lines_of(app, "#importance")
        assert rows[1].startswith("depth  ████") and "▼ 0.8" in rows[1] and rows[1].endswith("8")
        await pilot.press("tab", "down", "down", "enter")
        await settle(pilot)
        assert app.face.keys == [rows[2].split()[0]]
        assert app.face.cli() == "mlops run importance loss"


async def test_runs_are_selected_in_groups_and_compared(analysed, settle):
    async with analysed() as (app, pilot):
        await pilot.press("c")
        assert isinstance(app.face, Analysis)  # nothing is selected yet
        await pilot.press("down", "space")
        await settle(pilot)
        assert len(app.face.selected) == 6
        await pilot.press("down", "space", "space")  # the first run is let go, and taken back by its group
        await settle(pilot)
        assert len(app.face.selected) == 4
        await pilot.press("c")
        await settle(pilot)
        assert isinstance(app.face, Compare) and len(app.face.runs) == 4


async def test_a_range_narrows_groups_and_importance_and_goes_along_to_the_list(analysed, settle, lines_of, until):
    async with analysed("experiment:vision") as (app, pilot):
        panel = app.face.query_one(Parallel)
        panel.focus()
        await settle(pilot)
        assert panel.here.name == "depth" and panel.runs == 12
        await pilot.press("space", "space")  # its head: 8
        assert panel.narrowing == ["params.`depth` in ('8')"] and panel.kept == 6
        await until(pilot, lambda: len(lines_of(app, "#groups")) == 2)
        await until(pilot, lambda: "few runs" in app.face.lines("importance").empty)
        await pilot.press("delete")
        await until(pilot, lambda: panel.kept == 12 and len(lines_of(app, "#groups")) == 3)
        await pilot.press("end", "space", "up", "space")  # both ends: nothing is left out
        await settle(pilot)
        assert panel.kept == 12
        await pilot.press("right", "home", "space", "space", "f")
        await settle(pilot)
        table = app.face.query_one("#runs", Table)
        assert table.filter == "(experiment:vision) params.`depth` in ('8', '2') params.`rate` in ('it''s')"
        await until(pilot, lambda: table.total == 6)


async def test_what_is_selected_in_the_list_is_what_is_analysed(sweep, open_app, settle):
    async with open_app(sweep) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("down", "space", "space", "space", "a")
        await settle(pilot, 0.4)
        assert isinstance(app.face, Analysis) and len(app.face.trials.runs) == 3 == len(app.face.selected)
        assert "too few runs" in app.face.lines("importance").empty


async def test_another_metric_and_other_parameters_are_chosen(analysed, settle, lines_of):
    async with analysed() as (app, pilot):
        await pilot.press("m")
        await settle(pilot)
        await pilot.press("down", "enter")
        await settle(pilot, 0.4)
        assert app.face.metric == "metrics.`other`" and app.face.lines("groups").title.startswith("other by")
        await pilot.press("b")
        await settle(pilot)
        await pilot.press("end", "space", "enter")
        await settle(pilot)
        assert len(app.face.keys) == 2 and len(lines_of(app, "#groups")) > 3


@pytest.mark.parametrize("filter", ["experiment:bare", "nope:1"])
async def test_what_cannot_be_analysed_says_so(analysed, screen_text, filter):
    async with analysed(filter, size=(80, 24)) as (app, _):
        text = " ".join("\n".join(screen_text(app)).split())
        assert ("no run here has a metric yet" if filter == "experiment:bare" else "there is no column 'nope'") in text
