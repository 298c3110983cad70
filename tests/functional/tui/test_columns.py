"""Choosing the columns of a list, and keeping views of it."""

from __future__ import annotations

import pytest

from mlops_tui.contracts.listing import Column, View
from mlops_tui.contracts.run import Metric, Run
from mlops_tui.tui import memory
from mlops_tui.tui.drawing.cells import label
from mlops_tui.tui.news.views import quoted
from mlops_tui.tui.widgets.columns import Checklist, ColumnChooser, ViewMenu
from mlops_tui.tui.widgets.table import Table


def metric(key):
    return Metric(key=key, last=0.5, min=0.1, max=1.0, step=9, n=10)


@pytest.fixture
def door(scripted):
    """A door whose runs have a metric with a strange name, a parameter and a tag."""
    run = Run(
        id="r", name="r", experiment="e", kind="run", status="done", started=1, ended=2, heartbeat=2, host="h", pid=1,
        actor="a", command="", git_sha="", git_dirty=None, error="", note="", parent=None, job=None, deleted=False,
        params={"lr": "0.1"}, tags={"stage": "x"}, metrics=[metric("val loss")], system=[], artifacts=[],
        datasets=[], models=[],
    )  # fmt: skip
    made = scripted({"run.show": run})
    plain, page = made.rows.open, made.rows.row

    async def opened(filter, sort, columns=()):
        view = await plain(filter, sort)
        more = [Column(name=name.replace("`", ""), label=name.replace("`", ""), kind="float") for name in made.more()]
        return View(view=view.view, noun="run", total=view.total, columns=[*view.columns, *more])

    made.more = lambda: [name for name in made.asked if "." in name]
    made.asked = []
    real = made.call

    async def call(operation, request=None, *, digest=""):
        if operation == "view.open" and request["noun"] == "run":
            made.asked = request["columns"]
        return await real(operation, request, digest=digest)

    made.call, made.rows.open = call, opened
    made.rows.row = lambda i: [*page(i), *([0.25] * len(made.more()))]
    return made


async def test_a_chosen_metric_stands_before_the_others_and_is_remembered(open_app, door, screen_text, settle):
    async with open_app(door) as (app, pilot):
        await pilot.press("2", "f")
        await settle(pilot)
        assert isinstance(app.screen, ColumnChooser)
        await pilot.press("slash", *"loss", "enter", "space", "enter")
        await settle(pilot)
        table = app.screen.query_one("#runs", Table)
        assert table.shape.chosen[0] == "metrics.val loss" and "status" in table.shape.chosen
        assert door.asked[0] == "metrics.`val loss`"
        assert "val loss  status" in screen_text(app)[3] and "0.250" in screen_text(app)[4]
        assert memory.recall()["columns.runs.runs"][0] == "metrics.val loss"
    memory.remember("views.runs.runs", {"kept": {}})
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        assert "val loss" in screen_text(app)[3]
        await pilot.press("0")
        await settle(pilot)
        assert "val loss" not in screen_text(app)[3]
        assert memory.recall() == {"views.runs.runs": {"kept": {}}}, "what a person has named stays"


async def test_columns_are_hidden_and_change_places(open_app, door, screen_text, settle):
    async with open_app(door) as (app, pilot):
        await pilot.press("2", "f")
        await settle(pilot)
        checklist = app.screen.query_one(Checklist)
        assert checklist.on == ["status", "value", "started"]
        await pilot.press("right", "right", "up", "space", "enter")
        await settle(pilot)
        table = app.screen.query_one("#runs", Table)
        assert table.shape.chosen == ("value", "status")
        assert "auc  status" in screen_text(app)[3] and "started" not in screen_text(app)[3]


async def test_a_view_is_kept_shown_again_and_forgotten(open_app, door, screen_text, settle):
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        table = app.screen.query_one("#runs", Table)
        table.set_filter("status:done")
        await pilot.press("b", "enter")
        await settle(pilot)
        await pilot.press(*"mine", "enter")
        await settle(pilot)
        assert memory.recall()["views.runs.runs"]["mine"]["filter"] == "status:done"
        table.set_filter("")
        await pilot.press("b")
        await settle(pilot)
        assert isinstance(app.screen, ViewMenu) and "mine  /status:done" in "\n".join(screen_text(app))
        await pilot.press("enter")
        await settle(pilot)
        assert table.filter == "status:done" and door.rows.opened[-1][0] == "status:done"
        await pilot.press("b", "d")
        await settle(pilot)
        assert "views.runs.runs" not in memory.recall()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("status", "status"), ("-metrics.val/loss", "-metrics.val/loss"), ("-metrics.val loss", "-metrics.`val loss`")],
)
def test_strange_names_are_quoted_for_the_agent(name, wanted):
    assert quoted(name) == wanted


def test_headings_of_keys_are_their_names():
    headings = [label(Column(name=one, label=one)) for one in ("metrics.loss.curve", "params.lr", "git.sha")]
    assert headings == ["loss", "lr", "git.sha"]
