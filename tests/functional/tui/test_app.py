from __future__ import annotations

import asyncio
import json

import pytest
from textual.widgets import Input

from mlops_tui.core.errors import BadInput, Unreachable
from mlops_tui.tui import keys
from mlops_tui.tui.widgets.dialog import Choices, Dialog
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.panel import Panel
from mlops_tui.tui.widgets.plan import PlanDialog
from mlops_tui.tui.widgets.problem import ProblemDialog
from mlops_tui.tui.widgets.prompt import Prompt
from mlops_tui.tui.widgets.table import Table


async def test_the_skeleton_is_painted_before_any_answer(open_app, scripted, screen_text):
    door = scripted()
    never = asyncio.Event()

    async def wait():
        await never.wait()

    door.reach = wait
    async with open_app(door) as (app, _):
        text = "\n".join(screen_text(app))
        for title in ("Needs you", "Running now", "Hardware", "Drift", "Events", "1 Home", "q quit"):
            assert title in text
        assert "connecting" in text and door.calls == []


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 18), (200, 60)], ids=str)
async def test_every_mode_opens_at_every_size_whatever_the_agent_says(open_app, scripted, screen_text, settle, size):
    async with open_app(scripted(), size=size) as (app, pilot):
        for number, mode in enumerate(keys.MODES, 1):
            await pilot.press(str(number))
            await settle(pilot, 0.1)
            assert app.current_mode == mode
            rows = screen_text(app)
            assert len(rows) == size[1] and all(len(row) >= size[0] for row in rows)
            assert not isinstance(app.screen, ProblemDialog)


async def test_a_small_terminal_says_what_to_do_and_recovers(open_app, scripted, screen_text, settle):
    async with open_app(scripted(), size=(60, 24)) as (app, pilot):
        text = "\n".join(screen_text(app))
        assert "60 columns" in text and "mlops top --once" in text and "Needs you" not in text
        await pilot.resize_terminal(100, 30)
        await settle(pilot, 0.1)
        assert "Needs you" in "\n".join(screen_text(app))


async def test_the_present_mode_and_the_way_back_are_told(open_app, scripted, screen_text, settle):
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert screen_text(app)[0].startswith(" mlops ▸ runs ▸ 00000000")
        assert "esc back" in screen_text(app)[-1]
        await pilot.press("escape")
        await settle(pilot, 0.1)
        assert screen_text(app)[0].startswith(" mlops ▸ runs ")
        await pilot.press("enter")
        await settle(pilot, 0.1)
        await pilot.press("2")
        await settle(pilot, 0.1)
        assert len(app.screen_stack) == 1


async def test_colon_goes_where_a_link_leads(open_app, scripted, settle):
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("colon")
        await pilot.press(*"run:8f2c", "enter")
        await settle(pilot)
        assert app.current_mode == "runs" and app.face.crumb == "8f2c"
        assert ("run.show", {"run": "8f2c"}) in app.door.calls


async def test_a_link_given_at_the_start_is_opened(open_app, scripted):
    async with open_app(scripted(), link="version:churn@2") as (app, _):
        assert app.current_mode == "models" and app.face.crumb == "churn@2"


async def test_a_bad_link_is_a_dialog_and_escape_leaves_it(open_app, scripted, settle):
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("colon", *"nowhere", "enter")
        await settle(pilot, 0.1)
        assert isinstance(app.screen, ProblemDialog) and "nowhere" in app.screen.problem.what
        await pilot.press("escape")
        assert app.screen is app.face


async def test_the_prompt_takes_the_place_of_the_keys_and_gives_it_back(open_app, scripted, screen_text, settle):
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("slash", *"q1")
        await settle(pilot, 0.1)
        assert screen_text(app)[-1].strip() == "/ q1"
        await pilot.press("escape")
        await settle(pilot, 0.1)
        assert "q quit" in screen_text(app)[-1] and not app.screen.query(Prompt)


async def test_all_modes_are_seen_whatever_the_width(open_app, scripted, screen_text, settle):
    async with open_app(scripted(), size=(120, 24)) as (app, pilot):
        for columns in (120, 116, 100, 80):
            await pilot.resize_terminal(columns, 24)
            await settle(pilot, 0.05)
            row = screen_text(app)[1]
            assert "9" in row and "Gov" in row and "help" in row and "…" not in row, columns


async def test_the_focus_goes_back_where_it_was_when_a_prompt_goes(open_app, scripted, settle):
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        table = app.screen.query_one("#runs", Table)
        for answer in (("escape",), (*"theme mlops-dark", "enter")):
            await pilot.press("colon", *answer)
            await settle(pilot)
            assert app.screen.focused is table


async def test_a_filter_that_cannot_be_read_is_asked_again_with_a_caret(open_app, scripted, screen_text, settle):
    door = scripted()
    async with open_app(door, size=(80, 24)) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        table = app.face.query_one("#runs", Table)
        door.rows.fail = BadInput("cannot read the filter: '>' is not a number", "auc>>3\n    ^", "")
        await pilot.press("slash", *"auc>>3", "enter")
        await settle(pilot)
        foot = screen_text(app)[-2:]
        assert foot[0].startswith(" / auc>>3") and foot[1].startswith("       ^ '>' is not a number")
        assert table.filter == "" and table.total == 300 and app.screen.query_one(Input).cursor_position == 4
        door.rows.fail = None
        await pilot.press("backspace", "enter")
        await settle(pilot)
        assert table.filter == "auc>3" and not app.screen.query(Prompt)


async def test_slash_filters_the_list_and_escape_takes_the_filter_back(open_app, scripted, settle):
    door = scripted()
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("slash", *"auc>0.9", "enter")
        await settle(pilot)
        table = app.screen.query_one("#runs", Table)
        assert table.title == "Runs (300)  /auc>0.9" and app.screen.focused is table
        assert ("run", "auc>0.9") in [
            (asked["noun"], asked["filter"]) for name, asked in door.calls if name == "view.open"
        ]
        await pilot.press("escape")
        await settle(pilot)
        assert table.filter == ""


async def test_copies_go_to_the_clipboard_and_say_so(open_app, scripted, settle, monkeypatch):
    monkeypatch.delenv("TMUX", raising=False)
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("y")
        assert app.clipboard == "resnet-000000"
        await pilot.press("Y")
        assert app.clipboard == "mlops run list"
        await settle(pilot, 0.1)
        assert any("copied" in note.title for note in app._notifications)


async def test_help_tells_the_keys_of_the_screen(open_app, scripted, screen_text, settle):
    async with open_app(scripted(), size=(120, 84)) as (app, pilot):
        await pilot.press("5")
        await settle(pilot, 0.1)
        await pilot.press("question_mark")
        await settle(pilot, 0.1)
        text = "\n".join(screen_text(app))
        for key in keys.active("deploy"):
            assert key.id in text and key.help in text
        await pilot.press("escape")
        assert not isinstance(app.screen, Dialog)


async def test_footer_comes_from_the_table_of_keys(open_app, scripted, screen_text, settle):
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("5")
        await settle(pilot, 0.1)
        assert "P promote" in screen_text(app)[-1] and "B rollback" in screen_text(app)[-1]


async def test_hints_and_modes_can_be_clicked(open_app, scripted, screen_text, settle):
    async with open_app(scripted()) as (app, pilot):
        await pilot.click(offset=(screen_text(app)[1].index("Runs"), 1))
        await settle(pilot)
        assert app.face.MODE == "runs"
        row = next(y for y, text in enumerate(screen_text(app)) if "f columns" in text)
        await pilot.click(offset=(screen_text(app)[row].index("columns"), row))
        await settle(pilot)
        assert type(app.screen).__name__ == "ColumnChooser"
        await pilot.press("escape")
        await pilot.click(offset=(screen_text(app)[-1].index("help"), 35))
        await settle(pilot)
        assert "Keys in runs" in "\n".join(screen_text(app))


async def test_in_a_narrow_terminal_experiments_and_figures_take_turns(open_app, scripted, settle):
    def shown():
        return [app.screen.query_one(f"#{name}").size.width > 0 for name in ("experiments", "figures", "curve")]

    async with open_app(scripted(), size=(80, 24)) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        assert shown() == [False, True, True] and "experiments" in app.screen.query_one("#runs").hints
        await pilot.press("left_square_bracket")
        await settle(pilot)
        assert shown() == [True, False, True] and app.focused.id == "experiments"
        await pilot.resize_terminal(120, 36)
        await settle(pilot)
        assert shown() == [True, True, True]
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert shown() == [True, False, True]  # as it was left


async def test_read_only_takes_the_changing_keys_away(open_app, scripted, screen_text, settle):
    async with open_app(scripted(), readonly=True) as (app, pilot):
        assert "read-only" in screen_text(app)[0]
        await pilot.press("4")
        await settle(pilot)
        assert "promote" not in screen_text(app)[-1]
        await pilot.press("P", "x")
        await settle(pilot, 0.1)
        assert app.screen is app.face
        await pilot.press("question_mark")
        await settle(pilot, 0.1)
        assert "promote" not in "\n".join(screen_text(app))


async def open_plan(app, pilot, settle):
    await pilot.press("4")
    await settle(pilot)
    app.face.change("model.alias", {"model": "churn@2", "alias": "champion"}, "promote")
    await settle(pilot)
    assert isinstance(app.screen, PlanDialog)


async def test_the_safe_answer_is_marked_and_changes_nothing(open_app, scripted, screen_text, settle):
    door = scripted()
    async with open_app(door) as (app, pilot):
        await open_plan(app, pilot, settle)
        text = "\n".join(screen_text(app))
        for part in (
            "churn's champion becomes version 2",
            "mlops model alias churn@2 champion",
            "[ cancel ]",
            "plan d1g35t00",
        ):
            assert part in text
        assert "approval none needed" in text and "dry run ✔" in text
        await pilot.press("enter")
        await settle(pilot, 0.1)
        assert app.screen is app.face and door.applied == []


async def test_a_plan_is_applied_as_it_was_shown(open_app, scripted, settle):
    door = scripted()
    async with open_app(door) as (app, pilot):
        await open_plan(app, pilot, settle)
        await pilot.press("right", "enter")
        await settle(pilot)
        assert door.applied == [("model.alias", {"model": "churn@2", "alias": "champion"}, "d1g35t00")]
        assert any("model.alias was done" in note.message for note in app._notifications)


async def test_production_asks_to_type_the_name(open_app, scripted, screen_text, settle):
    door = scripted()
    async with open_app(door, environment="prod") as (app, pilot):
        assert "[PROD]" in screen_text(app)[0]
        await open_plan(app, pilot, settle)
        assert "type churn to confirm" in "\n".join(screen_text(app))
        await pilot.press("right", "enter")
        await settle(pilot, 0.1)
        assert door.applied == [] and isinstance(app.screen.focused, Input)
        await pilot.press(*"churn", "enter")
        await settle(pilot, 0.1)
        assert isinstance(app.screen.focused, Choices)
        await pilot.press("enter")
        await settle(pilot)
        assert len(door.applied) == 1


async def test_a_refused_plan_says_why_in_the_dialog(open_app, scripted, screen_text, settle):
    door = scripted()

    async def refuse(operation, request=None):
        from mlops_tui.core.errors import Refused

        raise Refused("the gate fairness failed", "dp-diff 0.12 > 0.10", "mlops gate show run")

    door.plan = refuse
    async with open_app(door) as (app, pilot):
        await open_plan(app, pilot, settle)
        text = "\n".join(screen_text(app))
        assert "✖ the gate fairness failed" in text and "dp-diff 0.12 > 0.10" in text and "MLOPS-E0300" in text
        await pilot.press("enter")
        await settle(pilot, 0.1)
        assert app.screen is app.face


async def test_actions_of_the_row_ask_for_what_is_missing_then_plan(open_app, scripted, screen_text, settle):
    door = scripted()
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("x")
        await settle(pilot, 0.1)
        assert "model.register" in "\n".join(screen_text(app))
        await pilot.press("j", "j", "enter")
        await settle(pilot, 0.1)
        assert "Keep a note with a run" in "\n".join(screen_text(app))
        await pilot.press(*"good", "enter", "right", "enter")
        await settle(pilot)
        assert isinstance(app.screen, PlanDialog)
        assert app.screen.operation == "run.note" and app.screen.fields["text"] == "good"
        assert app.screen.fields["run"] == door.rows.row(0)[0]


async def test_a_lost_agent_is_said_and_old_values_are_marked(open_app, scripted, screen_text, settle):
    door = scripted()
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        assert "● live" in screen_text(app)[0]
        door.problem = Unreachable("the agent does not answer", "it is gone", "mlops agent start")
        door.feed.put_nowait(door.problem)
        await settle(pilot, 0.6)
        text = screen_text(app)
        assert "○ agent lost" in text[0] and any("stale" in row and "agent lost" in row for row in text)
        assert "resnet-000000" in "\n".join(text)
        door.problem = None
        await settle(pilot, 1.2)
        assert "● live" in screen_text(app)[0]
        assert not any("stale" in row for row in screen_text(app))


async def test_an_error_of_a_screen_is_shown_and_kills_nothing(open_app, scripted, settle, tmp_path):
    door = scripted({"home.show": lambda request: 1 / 0})
    async with open_app(door) as (app, pilot):
        assert isinstance(app.screen, ProblemDialog)
        assert "ZeroDivisionError" in app.screen.problem.why and "tui.log" in app.screen.problem.fix
        assert "ZeroDivisionError" in (tmp_path / "home/state/logs/tui.log").read_text()
        await pilot.press("enter")
        await pilot.press("2")
        await settle(pilot)
        assert app.current_mode == "runs"


async def test_alerts_are_toasts(open_app, scripted, settle):
    door = scripted()
    async with open_app(door) as (app, pilot):
        door.say("alert", "a1", seq=4, text="age drifted", actor="system", action="opened")
        await settle(pilot, 0.1)
        note = next(iter(app._notifications))
        assert note.message == "age drifted" and note.severity == "error"


async def test_pausing_stops_the_news(open_app, scripted, screen_text, settle):
    door = scripted()
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("p")
        assert "‖ paused" in screen_text(app)[0]
        before = len(door.calls)
        door.say("run")
        await settle(pilot)
        assert len(door.calls) == before
        await pilot.press("p")
        await settle(pilot)
        assert len(door.calls) > before


async def test_zoom_gives_a_panel_the_screen(open_app, scripted, screen_text, settle):
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("z")
        await settle(pilot, 0.1)
        text = screen_text(app)
        assert "Experiments" not in "\n".join(text) and "resnet-000029" in "\n".join(text)
        assert "mlops ▸ runs" in text[0] and "q quit" in text[-1]
        await pilot.press("escape")
        await settle(pilot, 0.1)
        assert "Experiments" in "\n".join(screen_text(app)) and app.current_mode == "runs"


async def test_jump_goes_to_the_panel_of_a_letter(open_app, scripted, screen_text, settle):
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("ctrl+o")
        await settle(pilot, 0.1)
        assert " s  Fleet" in "\n".join(screen_text(app))
        await pilot.press("d")
        await settle(pilot, 0.1)
        assert app.focused.id == "running" and all(not panel.badge for panel in app.face.query(Panel))


async def test_tab_goes_round_the_panels(open_app, scripted):
    async with open_app(scripted()) as (app, pilot):
        first = app.focused.id
        seen = [first]
        for _ in range(9):
            await pilot.press("tab")
            seen.append(app.focused.id)
        assert len(set(seen)) == 9 and seen[9] == first
        await pilot.press("shift+tab")
        assert app.focused.id == seen[8]


async def test_the_palette_offers_actions_and_finds_objects(open_app, scripted, settle):
    from mlops_tui.contracts.listing import Column
    from mlops_tui.contracts.listing import Table as Listing

    def listed(request):
        names = [Column(name="id", label="id", kind="id"), Column(name="name", label="name")]
        return Listing(noun="run", columns=names, rows=[["a" * 36, "churn-nn-12"]], total=1)

    async with open_app(scripted({"run.list": listed})) as (app, pilot):
        await pilot.press("ctrl+p")
        await settle(pilot)
        await pilot.press(*"churn")
        await settle(pilot, 0.8)
        await pilot.press("down", "enter")
        await settle(pilot)
        assert app.current_mode == "runs" and app.door.calls[-1][1].get("run") == "a" * 36


async def test_the_list_or_the_screen_is_written_in_the_form_that_is_picked(open_app, scripted, settle, tmp_path):
    async with open_app(scripted(total=450)) as (_, pilot):
        await pilot.press("2")
        await settle(pilot)
        for keys in (("w", "enter"), ("w", "end", "enter"), ("space", "space", "w", "down", "enter")):
            await pilot.press(*keys)
            await settle(pilot)
        await pilot.press("w", "down", "down", "enter")
        await settle(pilot)
    written = {path.suffix: path.read_text() for path in tmp_path.glob("mlops-runs-*")}
    assert "resnet-000000" in written[".svg"]
    rows = written[".csv"].splitlines()
    assert len(rows) == 451 and rows[0].startswith("id,name") and "resnet-000449" in rows[-1]
    assert [row["name"] for row in json.loads(written[".json"])] == ["resnet-000000", "resnet-000001"]
    assert written[".md"].splitlines()[1:3][0].startswith("| --- | ---") and written[".md"].count("\n") == 4


async def test_vim_keys_move_what_they_hid(open_app, scripted, settle):
    async with open_app(scripted(), keymap="vim") as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        table = app.screen.query_one("#runs", Table)
        await pilot.press("l", "l", "h")
        assert table.marked == 2
        await pilot.press("ctrl+d")
        assert table.cursor > 5


async def test_emacs_keys_move_too_and_leave_the_palette_elsewhere(open_app, scripted, settle):
    async with open_app(scripted(), keymap="emacs") as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("ctrl+n", "ctrl+n", "ctrl+p")
        assert app.screen.query_one("#runs", Table).cursor == 1
        await pilot.press("alt+x")
        await settle(pilot, 0.1)
        assert type(app.screen).__name__ == "CommandPalette"


async def test_the_drawer_of_tasks_opens_a_job(open_app, scripted, settle):
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("t")
        await settle(pilot)
        assert "job" in [asked["noun"] for name, asked in app.door.calls if name == "view.open"]
        await pilot.press("enter")
        await settle(pilot)
        assert app.current_mode == "hardware" and app.face.subject()[0] == "job"


async def test_a_log_follows_finds_and_colours(open_app, scripted, settle, lines_of):
    from mlops_tui.contracts.run import LogLines

    def log(request):
        if request["after"]:
            return LogLines(lines=["epoch 60 done"], last=61)
        return LogLines(lines=[f"epoch {i} done" if i != 7 else "Traceback: boom" for i in range(60)], last=60)

    door = scripted({"run.log": log})
    async with open_app(door, size=(100, 24)) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("L")
        await settle(pilot)
        panel = app.screen.query_one(Lines)
        assert panel.top == 60 - panel.room[1]
        assert panel.rows[7].line[0][1] == "fail"
        door.say("run", seq=0)
        await settle(pilot)
        assert lines_of(app, "#log")[-1] == "epoch 60 done" and panel.top == 61 - panel.room[1]
        await pilot.press("slash", *"epoch 1", "enter")
        await settle(pilot, 0.1)
        assert panel.top == 1
        await pilot.press("n")
        assert panel.top == 10


async def test_no_color_paints_no_rgb(open_app, scripted, monkeypatch, settings):
    monkeypatch.setenv("NO_COLOR", "1")
    from mlops_tui.tui.app import MlopsApp

    app = MlopsApp(scripted(), settings(), period=0.05)
    assert app.theme == "ansi-dark"
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause(0.3)
        for strip in app.screen._compositor.render_strips(app.size):
            for segment in strip:
                for colour in (segment.style.color, segment.style.bgcolor):
                    assert colour is None or colour.triplet is None or colour.is_default, segment


async def test_a_theme_is_changed_in_place(open_app, scripted, settle):
    async with open_app(scripted()) as (app, pilot):

        def ground():
            segment = next(s for s in app.screen._compositor.render_strips(app.size)[4] if s.text.strip())
            return segment.style.bgcolor.triplet.hex

        before = ground()
        await pilot.press("colon", *"theme mlops-light", "enter")
        await settle(pilot)
        assert app.theme == "mlops-light" and ground() != before == "#141920"


async def test_q_leaves(open_app, scripted):
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("q")
        assert app._exit


async def test_a_sort_is_remembered_and_forgotten_with_the_rest(open_app, scripted, settle):
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("s")
        await settle(pilot)
    door = scripted()
    async with open_app(door) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        assert app.face.query_one("#runs", Table).sort == "-name"
        await pilot.press("0")
        await settle(pilot)
        assert app.face.query_one("#runs", Table).sort == ""
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        assert app.face.query_one("#runs", Table).sort == ""


async def test_a_damaged_memory_is_an_empty_one(open_app, scripted, settle, tmp_path):
    (tmp_path / "home/state").mkdir(parents=True)
    (tmp_path / "home/state/tui.json").write_text("{broken")
    async with open_app(scripted()) as (app, pilot):
        await pilot.press("2")
        await settle(pilot)
        assert app.face.query_one("#runs", Table).total == 300


async def test_a_store_without_anything_says_how_to_begin(open_app, written, screen_text):
    home = written.answers["home.show"]
    home.jobs, home.runs, home.models, home.deployments = [], [], 0, 0
    async with open_app(written) as (app, _):
        text = "\n".join(screen_text(app))
        assert "Begin here" in text and "mlops demo" in text and "mlops doctor" in text
