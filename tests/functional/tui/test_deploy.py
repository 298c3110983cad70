"""Deploy mode over written answers: where its keys lead, what production asks, and what is said when nobody answers."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from mlops_tui.core.errors import NotFound, Unreachable
from mlops_tui.tui.screens.deploy.deployment import DeploymentScreen
from mlops_tui.tui.screens.deploy.rollout import RolloutScreen
from mlops_tui.tui.widgets.charts import Charts
from mlops_tui.tui.widgets.form import Form
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.plan import PlanDialog
from mlops_tui.tui.widgets.table import Table


async def test_from_environments_to_a_rollout_and_back(written, open_app, settle):
    async with open_app(written) as (app, pilot):
        await pilot.press("5")
        await settle(pilot)
        environments = app.screen.query_one("#environments", Lines)
        environments.focus()
        await pilot.press("down", "enter")  # prod is the first
        await settle(pilot)
        assert app.screen.query_one("#deployments", Table).source.always == 'environment:"prod"'
        assert app.screen.query_one("#deployments", Table).title.startswith("Deployments · prod")
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(app.screen, DeploymentScreen) and app.face.cli() == "mlops deploy show employment"
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(app.screen, RolloutScreen) and app.face.crumb == "canary v1 → v2"
        charts = app.screen.query_one(Charts)
        assert [one.place for one in charts.charts[0].series] == [0, 1]
        await pilot.press("m")
        await settle(pilot)
        assert charts.page[0] == "harm e-value" and charts.charts[0].log_y
        (needed,) = charts.charts[0].levels
        assert needed.value == pytest.approx(40) and {one.name for one in charts.charts[0].series} == {"error", "wrong"}
        await pilot.press("escape", "escape")
        assert app.face.SCOPE == "deploy"


STEERED = {
    "P": ("rollout.promote", {"rollout": "employment"}),
    "H": ("rollout.pause", {"rollout": "employment"}),
    "A": ("rollout.abort", {"rollout": "employment"}),
    "B": ("rollout.rollback", {"deployment": "employment"}),
    "K": ("deploy.kill", {"deployment": "employment"}),
}


@pytest.mark.parametrize("key", STEERED)
async def test_each_key_plans_its_change_and_production_asks_for_its_name(key, written, open_app, settle):
    async with open_app(written, link="rollout:employment") as (app, pilot):
        await settle(pilot, 0.4)
        assert isinstance(app.screen, RolloutScreen)
        await pilot.press(key)
        await settle(pilot)
        dialog = app.screen
        assert isinstance(dialog, PlanDialog) and (dialog.operation, dialog.fields) == STEERED[key]
        assert dialog.prod and dialog.query_one("#confirm", Input).display
        await pilot.press("right", "enter")
        assert written.applied == [] and app.screen is dialog


async def test_what_is_held_goes_on_what_waits_is_approved_and_what_is_off_is_let_answer(written, open_app, settle):
    status = written.answers["rollout.status"]
    switch = next(row for row in written.lists["toggle"][1] if row[0] == "employment.answers")
    async with open_app(written, link="rollout:employment") as (app, pilot):
        await settle(pilot, 0.4)
        switch[2], status.state = "off", "Paused"
        for key, state, operation in (
            ("H", "Paused", "rollout.resume"), ("P", "Holding", "rollout.approve"), ("K", "Holding", "deploy.revive"),
        ):  # fmt: skip
            status.state = state
            app.face.reload()
            await settle(pilot)
            await pilot.press(key)
            await settle(pilot)
            assert app.screen.operation == operation
            await pilot.press("escape")
        switch[0] = "employment.v2.answers"
        app.face.reload()
        await settle(pilot)
        await pilot.press("K")
        await settle(pilot)
        assert app.screen.fields == {"deployment": "employment", "revision": "v2"}


async def test_a_new_rollout_is_asked_for_planned_and_begun(written, open_app, settle):
    written.answers["deploy.show"].environment = "local"
    async with open_app(written, link="deploy:employment") as (app, pilot):
        await settle(pilot, 0.4)
        app.restate(environment="local")
        await pilot.press("N")
        await settle(pilot)
        form = app.screen
        assert isinstance(form, Form) and form.query_one("#field-model", Input).value == "employment@2"
        form.query_one("#field-steps", Input).value = "10 50"
        form.query_one("#field-min_requests", Input).focus()
        await pilot.press("enter", "right", "enter")
        await settle(pilot)
        dialog = app.screen
        assert dialog.operation == "rollout.start"
        assert dialog.fields == {"deployment": "employment", "model": "employment@2", "steps": [10.0, 50.0]}


async def test_the_toggle_under_the_cursor_is_switched(written, open_app, settle):
    async with open_app(written, link="deploy:employment") as (app, pilot):
        await settle(pilot, 0.4)
        await pilot.press("T")
        assert not isinstance(app.screen, PlanDialog)
        app.screen.query_one("#toggles", Lines).focus()
        await pilot.press("down", "down", "T")
        await settle(pilot)
        assert (app.screen.operation, app.screen.fields) == ("toggle.set", {"key": "employment.rules", "variant": "on"})


async def test_a_new_token_is_shown_whole_until_it_was_read(written, open_app, settle, screen_text):
    from mlops_tui.contracts.token import NewToken

    made = NewToken(id="t1", deployment="employment", client="app", token="mlops_" + "x" * 90, expires=None)
    async with open_app(written, link="deploy:employment") as (app, pilot):
        await settle(pilot, 0.4)
        app.face._show_once("token.add", made)
        await settle(pilot)
        text = "".join(row.strip("│ ") for row in "\n".join(screen_text(app)).splitlines())
        assert "Give a client a token" in text and text.count("x" * 70) == 1
        await pilot.press("Y")
        assert app.clipboard == made.token
        await pilot.press("enter")
        assert isinstance(app.screen, DeploymentScreen)


async def test_nothing_served_and_no_rollout_say_what_begins_them(written, open_app, settle, screen_text, lines_of):
    written.answers["rollout.status"] = NotFound("there is no rollout", "", "")
    async with open_app(written) as (app, pilot):
        await pilot.press("5")
        await settle(pilot, 0.4)
        assert any("N begins one" in row for row in lines_of(app, "#rollout"))
        await pilot.press("P")
        assert not isinstance(app.screen, PlanDialog)
        written.lists["deploy"][1].clear()
        await pilot.press("r")
        await settle(pilot, 0.4)
        assert "mlops deploy create NAME MODEL@champion" in "\n".join(screen_text(app))


async def test_a_lost_agent_is_told_and_what_was_shown_stays(written, open_app, settle, lines_of):
    async with open_app(written, link="rollout:employment") as (app, pilot):
        await settle(pilot, 0.4)
        before = lines_of(app, "#analysis")
        written.problem = Unreachable("the agent is gone", "it was stopped", "mlops agent start")
        written.answers.clear()
        written.lists.clear()
        app.face.reload()
        await settle(pilot, 0.4)
        assert lines_of(app, "#analysis") == before
        assert app.screen.query_one("#analysis", Lines).problem is not None
        await pilot.press("m", "tab", "escape")


async def test_a_plan_of_many_fields_says_each_of_them_whole(written, open_app, settle, screen_text, monkeypatch):
    from mlops_tui.contracts import Change, Plan

    judged = "error ≤ 1.25 × stable, latency ≤ 1.25 × stable; together wrong in at most 5.0% of harmless versions"
    fields = {"serves": "v2 by 5 %", "step 1": "5 % for 60 s", "judged by": judged, "on harm": "rollback"}
    changes = [Change(object="deploy:employment", field=name, after=after) for name, after in fields.items()]

    async def plan(operation, request=None):
        return Plan(operation=operation, object="deploy:employment", text="bring it in", changes=changes)

    monkeypatch.setattr(written, "plan", plan)
    async with open_app(written, link="rollout:employment", size=(80, 24)) as (app, pilot):
        await settle(pilot, 0.4)
        await pilot.press("A")
        await settle(pilot)
        text = " ".join("\n".join(screen_text(app)).replace("│", " ").split())
        assert judged in text and text.count("deploy:employment") == 1
