"""What is done with many runs at once: one plan, one command, one way back."""

from __future__ import annotations

import pytest

from mlops_tui.contracts.run import Run
from mlops_tui.tui.widgets.plan import PlanDialog
from mlops_tui.tui.widgets.table import Table

FIRST, SECOND = (f"0193a000-0000-7000-8000-{i:012x}" for i in range(2))
WHOLE = {
    **dict.fromkeys(("experiment", "kind", "status", "host", "actor", "command", "git_sha", "error", "note"), ""),
    **dict.fromkeys(("ended", "heartbeat", "pid", "git_dirty", "parent", "job")),
    **{name: [] for name in ("metrics", "system", "artifacts", "datasets", "models")},
    "started": 1,
    "deleted": False,
    "params": {},
    "tags": {},
}


@pytest.fixture
def door(scripted):
    return scripted({"run.show": lambda request: Run(id=request["run"], name=request["run"][-4:], **WHOLE)})


@pytest.mark.parametrize(
    ("keys", "operation", "more"),
    [
        (("delete",), "run.delete", {}),
        (("e", *"good", "enter"), "run.note", {"text": "good"}),
        (("number_sign", *"a=1", "enter"), "run.tag", {"tags": {"a": "1"}}),
    ],
)
async def test_what_is_selected_is_changed_by_one_plan(open_app, door, settle, keys, operation, more):
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("space", "space")
        for key in keys:
            await pilot.press(key)
            await settle(pilot, 0.05)
        await settle(pilot)
        dialog = app.screen
        assert isinstance(dialog, PlanDialog) and dialog.operation == operation
        assert dialog.fields == {"run": FIRST, "also": [SECOND], **more}
        await pilot.press("right", "enter")
        await settle(pilot)
        assert [name for name, _, _ in door.applied] == [operation]
        assert app.face.query_one("#runs", Table).selected == {}


async def test_the_menu_of_many_offers_what_can_be_done_with_many(open_app, door, settle, screen_text):
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("space", "space")
        await settle(pilot)
        assert "c compare · a analyse · e note · # tags · del delete · w write" in "\n".join(screen_text(app))
        await pilot.press("x")
        await settle(pilot)
        text = "\n".join(screen_text(app))
        assert "2 runs" in text and "run.delete" in text and "run.tag" in text
        assert "model.register" not in text and "run.update" not in text


async def test_deleted_runs_are_a_list_of_their_own_and_restored_from_it(open_app, door, settle, screen_text):
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("d")
        await settle(pilot)
        assert "Deleted runs (300)" in screen_text(app)[2] and app.face.cli() == "mlops run list deleted:yes"
        assert "del restore · d back" in "\n".join(screen_text(app))
        opened = [request for name, request in door.calls if name == "view.open" and request["noun"] == "run"]
        assert opened[-1]["within"] == "deleted:yes"
        await pilot.press("delete")
        await settle(pilot)
        assert (app.screen.operation, app.screen.fields) == ("run.restore", {"run": FIRST})
        await pilot.press("escape", "d")
        await settle(pilot)
        assert "Runs (300)" in screen_text(app)[2] and app.face.cli() == "mlops run list"


async def test_a_plan_for_a_thousand_leaves_its_answers_in_sight(open_app, door, settle, screen_text):
    from mlops_tui.contracts.operation import Change, Plan

    many = [Change(object=f"run:{FIRST}", field="deleted", before=False, after=True)] * 1000

    async def plan(operation, request=None):
        cli = "mlops run delete " + " ".join([FIRST] * 1000)
        return Plan(operation=operation, object=f"run:{FIRST}", text="delete 1000 runs", changes=many, cli=cli)

    door.plan = plan
    async with open_app(door, size=(80, 24)) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("delete")
        await settle(pilot)
        text = "\n".join(screen_text(app))
        assert "992 more changes" in text and "delete" in text and "cancel" in text and "run:00000000" in text
