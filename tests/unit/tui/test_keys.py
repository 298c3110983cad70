from __future__ import annotations

import pytest

from mlops_tui.contracts import OPERATIONS, Effect
from mlops_tui.tui import keys
from mlops_tui.tui.actions import ACTIONS, FOR_PROGRAMS
from mlops_tui.tui.links import HOME_OF


@pytest.mark.parametrize("preset", keys.PRESETS)
@pytest.mark.parametrize("screen", keys.SCREENS)
def test_no_key_has_two_meanings_in_a_screen(screen, preset):
    assert list(keys.clashes(keys.active(screen, preset))) == []


def test_a_clash_is_found():
    one, other = keys.Key("a", "x,y", "one", "", "app"), keys.Key("b", "y", "two", "", "app")
    assert list(keys.clashes([one, other])) == [("y", "a", "b")]


def test_ids_are_unique_and_presets_name_existing_ones():
    ids = [key.id for key in keys.KEYS]
    assert len(ids) == len(set(ids))
    for preset in keys.PRESETS.values():
        assert set(preset) <= set(ids)


def test_every_scope_is_used_and_every_screen_has_help():
    scopes = {scope for found in keys.SCREENS.values() for scope in found}
    assert {key.scope for key in keys.KEYS} <= scopes
    assert all(key.help for key in keys.KEYS)


def test_upper_case_changes_and_lower_case_does_not_touch_production():
    harmless = {"app.copy_cli", "app.logs", "panel.last", "dialog.copy"}
    for key in keys.KEYS:
        for name in key.keys.split(","):
            if len(name) == 1 and name.isupper() and key.id not in harmless:
                assert key.changes, f"{key.id}: an upper-case key changes something"
    lower = {key.id for key in keys.KEYS if key.changes and key.first.islower()}
    written = {"run.note", "runs.note", "compare.note", "run.tags", "runs.tags", "runs.delete"}
    assert lower == {"app.actions", "app.undo", "home.ack", "drift.ack", *written}


def test_read_only_hides_what_changes():
    assert any(key.changes for key in keys.active("deploy"))
    assert not any(key.changes for key in keys.active("deploy", readonly=True))


def test_bindings_carry_the_ids_that_key_maps_move():
    found = {binding.id: binding for binding in keys.bindings("table", "panel")}
    assert found["table.filter"].action == "filter" and found["panel.down"].key == "down,j"


def test_a_preset_moves_a_key():
    assert next(k for k in keys.active("run", "vim") if k.id == "curve.log").first == "ctrl+l"
    assert next(k for k in keys.active("runs", "emacs") if k.id == "app.palette").first == "alt+x"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("ctrl+p", "^p"), ("escape", "esc"), ("question_mark", "?"), ("alt+v", "M-v"), ("plus", "+"), ("Y", "Y")],
)
def test_keys_are_shown_as_people_write_them(name, wanted):
    assert keys.shown(name) == wanted


def test_every_change_can_be_reached_from_some_object():
    reached = {action.operation for actions in ACTIONS.values() for action in actions}
    changes = {
        name for name, operation in OPERATIONS.items() if operation.effect is Effect.CHANGE and not operation.internal
    }
    assert changes - reached == FOR_PROGRAMS
    assert reached <= set(OPERATIONS)


def test_actions_name_fields_that_exist():
    for actions in ACTIONS.values():
        for action in actions:
            fields = OPERATIONS[action.operation].request.__struct_fields__
            assert not action.field or action.field in fields, action


def test_every_noun_with_actions_lives_in_a_mode():
    assert set(ACTIONS) <= set(HOME_OF)
    assert set(HOME_OF.values()) <= set(keys.MODES)
