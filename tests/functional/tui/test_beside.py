"""What stands beside: a pinned run on top of the list and on every chart, and panes that can be put away."""

from __future__ import annotations

import pytest

from mlops_tui.contracts.run import Curve, Curves, MadeModel, Metric, Run
from mlops_tui.tui import memory
from mlops_tui.tui.widgets.curve import Curve as Chart
from mlops_tui.tui.widgets.table import Table

PINNED, OTHER = (f"0193a000-0000-7000-8000-{i:012x}" for i in (2, 5))
WHOLE = {
    **dict.fromkeys(("experiment", "kind", "host", "actor", "command", "git_sha", "error", "note"), ""),
    **dict.fromkeys(("ended", "heartbeat", "pid", "git_dirty", "parent")),
    **{name: [] for name in ("system", "artifacts", "datasets", "models")},
    "started": 1,
    "deleted": False,
    "params": {},
    "tags": {},
}


def run_of(request):
    run = request["run"]
    loss = Metric(key="loss", last=4.0 if run == PINNED else 1.0, min=1.0, max=4.0, step=3, n=4)
    return Run(id=run, name=run[-4:], status="running", job="j1" if run == PINNED else None, metrics=[loss], **WHOLE)


def curves_of(request):
    level = [1.0, 2.0, 3.0, 4.0] if request["run"] == PINNED else [4.0, 3.0, 2.0, 1.0]
    one = Curve(key="loss", n=4, step=[0, 1, 2, 3], ts=[0, 1, 2, 3], min=level, max=level, mean=level)
    return Curves(owner=request["run"], curves=[one])


@pytest.fixture
def door(scripted):
    return scripted({"run.show": run_of, "run.curve": curves_of})


async def test_a_pinned_run_stays_on_top_and_is_drawn_beside_every_other(open_app, door, settle, screen_text):
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        table = app.face.query_one("#runs", Table)
        await pilot.press("down", "down", "asterisk")
        await settle(pilot)
        assert "★ " in screen_text(app)[4] and "resnet-000002" in screen_text(app)[4] and table.head == 2
        await pilot.press("end")
        await settle(pilot)
        assert "resnet-000002" in screen_text(app)[4] and table.current[1] == "resnet-000299"
        await pilot.press("home", "down", "down", "down", "down", "down", "enter")
        await settle(pilot)
        chart = app.screen.query(Chart).first()
        assert [one.place for one in chart.series] == [None, 5] and "★ 4" in "\n".join(screen_text(app))
        await pilot.press("escape", "c")
        await settle(pilot)
        assert app.face.runs == [PINNED, OTHER]
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        assert "resnet-000002" in screen_text(app)[4]
        await pilot.press("down", "down", "asterisk")
        await settle(pilot)
        assert app.pinned == "" and "★" not in "\n".join(screen_text(app))


async def test_panes_are_put_away_and_stay_so(open_app, door, settle):
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        high = app.face.query_one("#runs").size.height
        await pilot.press("left_square_bracket", "right_square_bracket")
        await settle(pilot)
        assert app.face.query_one("#runs").size.height > high + 8 and memory.recall()["sides.runs"] == [0, 1]
        await pilot.press("enter", "right_square_bracket")
        await settle(pilot)
        assert app.face.query_one("#curves").size.width == 120 and not app.face.query_one("#metrics").display
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        assert not app.face.query_one("#experiments").display and not app.face.query_one("#curve").display
        await pilot.press("0")
        await settle(pilot)
        assert app.face.query_one("#experiments").display and app.face.query_one("#runs").size.height == high


async def test_the_job_of_a_run_is_stopped_and_no_other_process(open_app, door, settle):
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("down", "X")
        await settle(pilot)
        assert any("stop it where it runs" in told.message for told in app._notifications)
        await pilot.press("down", "X")
        await settle(pilot)
        assert (app.screen.operation, app.screen.fields) == ("job.stop", {"job": "j1"})


async def test_a_value_too_long_for_its_panel_is_copied_and_seen_whole(open_app, scripted, settle, screen_text):
    whole = WHOLE | {"params": {"a": "1", "long": "word " * 1200}}
    door = scripted(
        {"run.show": lambda request: Run(id=PINNED, name="r", status="done", job=None, metrics=[], **whole)}
    )
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        params = app.face.query_one("#params")
        params.focus()
        await pilot.press("down")
        assert params.copied() == "word " * 1200
        await pilot.press("i")
        await settle(pilot)
        assert "\n".join(screen_text(app)).count("word") > 200 and app.screen.copied() == "word " * 1200
        await pilot.press("escape")
        assert app.face.crumb == "r"


@pytest.mark.parametrize("size", [(120, 36), (80, 24)], ids=str)
async def test_the_help_has_whole_lines_at_every_size(open_app, door, settle, screen_text, size):
    async with open_app(door, size=size) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("question_mark")
        await settle(pilot)
        text = "\n".join(screen_text(app)[1:-1])
        assert "filter: words and conditions, auc>0.9 status:done" in text and "…" not in text


async def test_a_model_is_registered_by_the_name_and_file_that_it_probably_has(open_app, scripted, settle):
    from textual.widgets import Input

    from mlops_tui.contracts.run import ArtifactRef

    files = [ArtifactRef(path=path, digest="", size=1) for path in ("a.txt", "model/net.onnx")]
    whole = WHOLE | {"artifacts": files, "experiment": "churn", "metrics": []}
    door = scripted({"run.show": lambda request: Run(id=request["run"], name="r", status="done", job=None, **whole)})
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("R")
        await settle(pilot)
        assert [one.value for one in app.screen.query(Input)][:2] == ["churn", "model/net.onnx"]
        whole |= {"artifacts": [], "logged": [MadeModel(name="classifier", id="m-1", status="ready")]}
        await pilot.press("escape", "R")
        await settle(pilot)
        assert app.screen.operation == "version.create" and app.screen.known["source"] == "models:/m-1"
        whole["logged"] = []
        await pilot.press("escape", "R")
        await settle(pilot)
        assert any("made no model" in told.message for told in app._notifications)
        await pilot.press("space", "space", "R")
        await settle(pilot)
        assert any("one run is registered at a time" in told.message for told in app._notifications)
