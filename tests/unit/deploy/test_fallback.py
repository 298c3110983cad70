"""The fallback of a deployment: said, kept, and in the routes that its servers get."""

from __future__ import annotations

import msgspec
import pytest

from mlops_tui.core.errors import BadInput, Conflict
from mlops_tui.deploy import traffic
from mlops_tui.deploy.targets import reconcile
from mlops_tui.serving.deployment import Rescue, Routes


def routes(stage, deployment):
    def ask(session):
        now = traffic.current(session, deployment)
        found = reconcile._routes(session, stage.house, deployment, now, None)
        return msgspec.convert({"epoch": 1, "generation": now.generation, **found}, Routes)

    return stage.house.read(ask)


def test_without_a_word_the_stable_revision_answers_on_everything(stage):
    stage.model(versions=2)
    deployment = stage.serve()
    found = routes(stage, deployment)
    assert found.fallback == found.revisions[0].id and found.rescue == Rescue()


def test_another_model_is_loaded_for_it_and_gets_no_traffic(stage):
    stage.model(versions=2)
    stage.model("simple")
    deployment = stage.serve()
    before = routes(stage, deployment).generation
    done = stage.call(
        "deploy.fallback", deployment="census", revision="simple@1", on=["error", "timeout"], timeout_ms=50.0,
        last_resort='{"score": 0.5}',
    )  # fmt: skip
    assert done.text == 'census falls back to simple@1 on error, timeout after 50 ms, at last {"score": 0.5}'
    found = routes(stage, deployment)
    assert found.generation > before and found.fallback == found.revisions[1].id
    assert [(one.label, one.weight, one.role) for one in found.revisions] == [
        ("v1", 100.0, "stable"), ("simple-v1", 0.0, "fallback"),
    ]  # fmt: skip
    assert found.rescue == Rescue(on=("error", "timeout"), timeout_s=0.05, last_resort={"score": 0.5})
    assert "simple-v1 on error" in stage.call("deploy.show", deployment="census").fallback
    stage.call("deploy.fallback", deployment="census", remove=True)
    assert routes(stage, deployment).rescue == Rescue() and len(routes(stage, deployment).revisions) == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"on": ["fire"]}, "no cause 'fire'"),
        ({"timeout_ms": 0.5}, "too short"),
        ({"on": ["timeout"]}, "needs the time"),
        ({"last_resort": "0.5"}, "no object"),
        ({"last_resort": "{"}, "not JSON"),
    ],
)
def test_what_cannot_be_is_refused(stage, given, says):
    stage.model()
    stage.serve()
    with pytest.raises(BadInput, match=says):
        stage.call("deploy.fallback", deployment="census", **given)


@pytest.mark.parametrize(
    ("constant", "says"),
    [('{"other": 1}', "census@1: the last resort has no value for the output 'score'"), ('{"score": "a"}', "not fit"),
     ('{"score": [1, 2]}', "not fit")],
)  # fmt: skip
def test_a_constant_that_the_servers_would_refuse_is_refused_here(stage, constant, says):
    outputs = [{"name": "score", "dtype": "float32", "shape": ["n", 1]}]
    stage.model(versions=2, outputs=outputs)
    deployment = stage.serve()
    with pytest.raises(BadInput, match=says):
        stage.call("deploy.fallback", deployment="census", last_resort=constant)
    text = f"""
apiVersion: mlops-tui/v1
kind: Rollout
spec: {{deployment: census, model: census@2, fallback: {{lastResort: {constant}}}}}
"""
    with pytest.raises(BadInput, match=says):
        stage.call("rollout.start", file=text)
    stage.call("deploy.fallback", deployment="census", last_resort='{"score": 0.5}')
    assert routes(stage, deployment).rescue.last_resort == {"score": 0.5}


def test_not_while_a_rollout_counts(stage):
    stage.model(versions=2)
    stage.serve()
    stage.call("rollout.start", deployment="census", model="census@2")
    with pytest.raises(Conflict, match="a rollout or a test is under way"):
        stage.call("deploy.fallback", deployment="census", timeout_ms=50.0)


def test_a_rollout_file_may_bring_one(stage):
    stage.model(versions=2)
    deployment = stage.serve()
    text = """
apiVersion: mlops-tui/v1
kind: Rollout
spec: {deployment: census, model: census@2, fallback: {on: [timeout], timeout: 20ms, lastResort: {score: 0.5}}}
"""
    stage.call("rollout.start", file=text)
    assert routes(stage, deployment).rescue == Rescue(on=("timeout",), timeout_s=0.02, last_resort={"score": 0.5})
    with pytest.raises(BadInput, match="too short"):
        stage.call("rollout.start", file=text.replace("20ms", "0.1ms"), supersede=True)
