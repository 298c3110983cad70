"""Toggles through the door: made, switched, asked, imported, exported, undone, and in the files that servers read."""

from __future__ import annotations

import json

import msgspec
import pytest

from mlops_tui.contracts.operation import find
from mlops_tui.core.errors import BadInput, NotAllowed, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.deploy.toggles import toggles
from mlops_tui.door.context import Caller
from mlops_tui.door.perform import perform
from mlops_tui.toggles import read_file

FLAGS = {
    "flags": {
        "new": {"state": "ENABLED", "variants": {"a": 1, "b": 2}, "defaultVariant": "a",
                "targeting": {"if": [{"$ref": "staff"}, "b"]}},
    },
    "$evaluators": {"staff": {"ends_with": [{"var": "email"}, "@example.com"]}},
    "metadata": {"team": "risk"},
}  # fmt: skip


def file_of(stage):
    return read_file(stage.house.home.toggles / "default.json")


def servers_file(stage, deployment):
    return stage.house.home.deployments / deployment / "toggles.json"


def test_a_toggle_is_made_switched_ruled_and_asked(stage):
    stage.call("toggle.set", key="new", variant="off")
    assert file_of(stage).resolve("new").value is False
    rule = '{"if": [{"==": [{"var": "headers.x-plan"}, "pro"]}, "on", "off"]}'
    stage.call("toggle.set", key="new", rule=rule)
    asked = stage.call("toggle.ask", key="new", context={"headers.x-plan": "pro"})
    assert (asked.value, asked.variant, asked.reason) == (True, "on", "TARGETING_MATCH")
    stage.call("toggle.set", key="new", state="off")
    assert stage.call("toggle.ask", key="new").reason == "DISABLED"
    shown = stage.call("toggle.show", key="new")
    assert (shown.enabled, shown.default, shown.kind, len(shown.versions)) == (False, "off", "boolean", 3)
    assert stage.call("toggle.list").rows[0][:4] == ["new", False, "off", True]


def test_nothing_is_written_that_could_not_be_read(stage):
    with pytest.raises(BadInput, match=r"flags.new.defaultVariant: 'onn' is no variant · did you mean on"):
        stage.call("toggle.set", key="new", variant="onn")
    with pytest.raises(BadInput, match="--rule is not JSON"):
        stage.call("toggle.set", key="new", rule="{")
    with pytest.raises(NotFound, match="toggle list"):
        stage.call("toggle.show", key="new")
    assert stage.value("SELECT count(*) FROM toggle_event") == 0


def test_undo_takes_back_a_switch_a_making_and_a_removal(stage):
    stage.call("toggle.set", key="new", variant="off")
    stage.call("toggle.set", key="new", variant="on", metadata={"why": "launch"})
    stage.call("undo.last")
    shown = stage.call("toggle.show", key="new")
    assert (shown.default, shown.metadata) == ("off", {})
    stage.call("toggle.remove", key="new")
    assert "new" not in file_of(stage).toggles
    stage.call("undo.last")
    assert file_of(stage).resolve("new").value is False
    stage.call("undo.last")
    with pytest.raises(NotFound):
        stage.call("toggle.show", key="new")


def test_a_file_is_imported_whole_and_exported_alike(stage, tmp_path):
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(FLAGS))
    stage.call("toggle.set", key="old", variant="on")
    done = stage.call("toggle.import", path=str(path), replace=True)
    assert done.text == "3 new, 0 changed, 1 removed"
    out = stage.call("toggle.export")
    assert {key: value for key, value in json.loads(out.content).items() if key != "$schema"} == FLAGS
    assert stage.call("toggle.ask", key="new", context={"email": "a@example.com"}).value == 2
    assert stage.call("toggle.import", path=str(path)).text == "nothing changes"
    stage.call("undo.last")
    assert stage.call("toggle.ask", key="old").value is True and "new" not in file_of(stage).toggles


def test_what_controls_a_deployment_goes_to_its_servers_alone(stage):
    stage.model(versions=2)
    deployment = stage.serve()
    stage.call("toggle.set", key="mine", variant="on")
    (stage.house.home.deployments / deployment).mkdir(exist_ok=True)
    split = {"variants": '{"new": "v1", "old": ""}', "variant": "old"}
    stage.call("toggle.set", key="pick", deployment="census", controls="revision", **split)
    assert list(read_file(servers_file(stage, deployment)).toggles) == ["pick"]
    with pytest.raises(NotFound, match=r"no revision 'v9' · did you mean v1"):
        stage.call("toggle.set", key="pick", variants='{"new": "v9", "old": ""}')
    with pytest.raises(BadInput, match="did you mean revision"):
        stage.call("toggle.set", key="pick", controls="revisions")
    with pytest.raises(BadInput, match="needs boolean variants, not string"):
        stage.call("toggle.set", key="pick", controls="log")
    servers_file(stage, deployment).unlink()
    toggles.turn(stage.house)
    assert servers_file(stage, deployment).exists()
    stage.call("toggle.remove", key="pick")
    assert read_file(servers_file(stage, deployment)).toggles == {}


def test_the_kill_switch_is_a_toggle_that_the_servers_read(stage):
    stage.model(versions=2)
    deployment = stage.serve(environment="prod")
    (stage.house.home.deployments / deployment).mkdir(exist_ok=True)
    plan = stage.plan("deploy.kill", deployment="census")
    assert (plan.environment, plan.object) == ("prod", "deploy:census")
    assert not servers_file(stage, deployment).exists()
    stage.call("deploy.kill", deployment="census")
    assert read_file(servers_file(stage, deployment)).resolve("census.answers").value is False
    stage.call("deploy.revive", deployment="census")
    assert read_file(servers_file(stage, deployment)).resolve("census.answers").value is True
    stage.call("deploy.kill", deployment="census", revision="v1")
    assert read_file(servers_file(stage, deployment)).resolve("census.v1.answers").value is False
    stage.call("undo.last")
    assert "census.v1.answers" not in read_file(servers_file(stage, deployment)).toggles
    with pytest.raises(NotFound, match="did you mean v1"):
        stage.call("deploy.kill", deployment="census", revision="v11")


def test_who_may_not_move_traffic_may_not_by_a_toggle_either(stage):
    stage.model()
    stage.serve()
    stage.house.store.write(
        lambda s: s.insert(
            "identity", created_us=1, name="eve", tenant="default", role="engineer", uid=1001, actor="test"
        )
    )
    change = find("toggle.set")

    def as_eve(**request):
        return perform(
            stage.house, "toggle.set", msgspec.convert(request, change.request), Caller("eve", 1001, request_id=uuid7())
        )

    as_eve(key="mine", variant="on")
    with pytest.raises(NotAllowed):
        as_eve(key="mine", variant="on", deployment="census", controls="log")
    stage.call("toggle.set", key="mine", deployment="census", controls="log")
    with pytest.raises(NotAllowed):
        as_eve(key="mine", variant="off")


def test_a_killed_deployment_says_so(stage):
    def told():
        shown, listed = stage.call("deploy.show", deployment="census"), stage.call("deploy.list").rows[0]
        assert (shown.status, shown.text.replace(" is ", " ")) == (listed[2], listed[-1])
        return listed[2], listed[-1]

    stage.model()
    stage.serve()
    stage.call("deploy.kill", deployment="census")
    assert told() == ("killed", "switched off")
    stage.call("deploy.revive", deployment="census")
    assert told() == ("serving", "serving")
    stage.call("deploy.kill", deployment="census", revision="v1")
    assert told() == ("serving", "revision v1 switched off")
