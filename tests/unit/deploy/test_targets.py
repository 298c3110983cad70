"""Places that plugins bring: asked by the reconciler off its own thread, believed, and noted when they fail."""

import time

import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.deploy.targets import reconcile, targets
from mlops_tui.plugins.hookspecs import Observed
from mlops_tui.serving.deployment import read_routes


class Elsewhere:
    name = "elsewhere"

    def __init__(self):
        self.calls, self.fails, self.up, self.refused = [], False, True, ""
        self.at = (-1, -1)

    def prepare(self, deployment, folder):
        self.calls.append("prepare")
        if self.fails:
            raise ConnectionError("no cluster")

    def apply(self, deployment, folder):
        self.calls.append("apply")
        routes = read_routes(folder)
        self.at = routes.at

    def observe(self, deployment, folder):
        return Observed(self.up, "https://models.example:8443", *self.at, self.refused)

    def logs(self, deployment, folder, lines):
        return ["one", "two", "three"][-lines:]

    def remove(self, deployment, folder):
        self.calls.append("remove")
        self.up = False
        return True


@pytest.fixture
def place(monkeypatch):
    made = Elsewhere()
    monkeypatch.setattr(targets, "PAUSE_S", 0.0)
    monkeypatch.setattr(targets, "brought", lambda what: {"local": targets.LocalTarget(), "elsewhere": made})
    return made


def until(stage, sql, wanted):
    deadline = time.monotonic() + 10
    while (found := stage.value(sql)) != wanted and time.monotonic() < deadline:
        reconcile.turn(stage.house)
        time.sleep(0.02)
    assert found == wanted


def test_an_unknown_target_names_the_known_ones(stage, place):
    stage.model()
    with pytest.raises(BadInput, match="no target 'moon'") as refused:
        stage.call("deploy.create", name="census", model="census@1", target="moon")
    assert refused.value.fix == "one of: local, elsewhere"


def test_a_plugin_s_target_serves_fails_and_ends(stage, place):
    stage.model()
    made = stage.call("deploy.create", name="census", model="census@1", target="elsewhere")
    until(stage, "SELECT status FROM deployment", "serving")
    shown = stage.call("deploy.show", deployment="census")
    assert shown.url.endswith("models.example:8443") and shown.acknowledged == shown.generation == made.generation
    place.fails = True
    until(stage, "SELECT status || ': ' || text FROM deployment", "down: ConnectionError: no cluster")
    place.fails = False
    until(stage, "SELECT status FROM deployment", "serving")
    assert stage.call("deploy.logs", deployment="census", lines=2).lines == ["two", "three"]
    place.refused = "no room"
    until(stage, "SELECT text FROM deployment", "serving the split before: the new one was refused, no room")
    stage.call("deploy.remove", deployment="census")
    until(stage, "SELECT status FROM deployment", "removed")
    assert place.calls[-1] == "remove" and not place.up
