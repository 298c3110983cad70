"""Toggles that keep requests from a rollout are said in the sentence why it stands where it does."""

from mlops_tui.deploy.rollout import clocks


def why(stage):
    return stage.call("rollout.status", rollout="census").why


def test_toggles_in_a_rollouts_way_are_said_by_name_and_by_what_they_do(stage):
    clocks.clear()
    stage.model(versions=2)
    stage.id = stage.serve()
    stage.call("rollout.start", deployment="census", model="census@2", steps=[50.0], events=["error"])
    for _ in range(3):
        stage.turn()
        stage.servers(stage.id)
    assert "toggle" not in why(stage)
    stage.call("toggle.set", key="quiet", deployment="census", controls="log", variant="off")
    assert why(stage).endswith("; toggle in its way: quiet keeps all requests out of the log")
    stage.call("deploy.kill", deployment="census", revision="v2")
    assert "toggles in its way: census.v2.answers switches v2 off, quiet keeps" in why(stage)
    stage.call("toggle.set", key="quiet", variant="on")
    stage.call("deploy.revive", deployment="census", revision="v2")
    stage.call("deploy.kill", deployment="census", revision="v1")
    assert "toggle" not in why(stage), "v1 is not the canary"
