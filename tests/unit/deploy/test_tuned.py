"""Profiles: kept, listed, and taken by deployments on the machine that they were measured on."""

from __future__ import annotations

import json

import msgspec
import pytest

from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.deploy import traffic
from mlops_tui.deploy.package import tuned
from mlops_tui.deploy.targets import reconcile

SETTING = {"precision": "int8-static", "threads": 2, "workers": 3, "gather_ms": 0.0}
REPORT = {
    "chosen": "int8-static 2t×3w", "candidates": [], "confirmations": [], "accuracy": {}, "left_out": {}, "test": "t",
}  # fmt: skip


@pytest.fixture
def here(stage):
    """This machine's fingerprint, once the hardware room has noted it."""
    facts = {"arch": "x86_64", "cpu_model": "some CPU", "cores": 2, "cpus_allowed": 2, "cpu_limit": None}
    stage.house.store.write(
        lambda s: s.insert(
            "host", id=uuid7(), name=__import__("os").uname().nodename, facts=json.dumps(facts), sample="{}",
            seen_us=now_us(),
        )
    )  # fmt: skip
    return stage.house.read(tuned.this_machine).fingerprint


def keep(stage, host, profile="latency", **changes):
    variant = "f" * 64
    body = {
        "model": "census@1", "digest": f"{1:064x}", "host": host, "profile": profile, "setting": SETTING,
        "variant": variant, "text": "int8-static wins", "keeps": True, "report": REPORT,
    }  # fmt: skip
    return stage.call("model.tuned", **{**body, **changes})


def test_a_deployment_takes_the_profile_of_this_machine(stage, here):
    stage.model(versions=2)
    keep(stage, here)
    made = stage.call("deploy.create", name="census", model="census@1")
    assert made.profile == "int8-static 2t×3w"
    row = stage.house.read(lambda s: s.dict("SELECT * FROM deployment WHERE id = ?", [made.id]))
    assert row["workers"] == 3 and tuned.facts_of(row["tuned"]) == {"threads": 2, "gather_ms": 0.0}
    found = stage.house.read(lambda s: reconcile._routes(s, stage.house, made.id, traffic.current(s, made.id), None))
    assert found["revisions"][0]["model"]["digest"] == "f" * 64
    shown = stage.call("profile.show", model="census@1")
    assert shown.here and shown.chosen == "int8-static 2t×3w"
    assert stage.call("profile.list").rows[0][1:6] == ["census@1", "latency", "int8-static", 2, 3]


def test_unless_it_is_told_otherwise(stage, here):
    stage.model()
    keep(stage, here)
    assert stage.call("deploy.create", name="plain", model="census@1", profile="none").profile == "as by default"
    assert stage.value("SELECT workers FROM deployment") == 1
    stage.call("deploy.create", name="four", model="census@1", workers=4)
    assert stage.value("SELECT workers FROM deployment WHERE name = 'four'") == 4
    with pytest.raises(NotFound, match="not tuned for memory"):
        stage.call("deploy.create", name="two", model="census@1", profile="memory")
    with pytest.raises(BadInput, match="no profile 'speed'"):
        stage.call("deploy.create", name="two", model="census@1", profile="speed")


def test_a_profile_of_another_machine_or_one_that_misses_the_wishes_is_not_taken_and_said(stage, here):
    from mlops_tui.contracts.operation import find
    from mlops_tui.door.context import Caller
    from mlops_tui.door.perform import Wish, perform

    stage.model()
    keep(stage, "another")
    request = msgspec.convert({"name": "census", "model": "census@1"}, find("deploy.create").request)
    plan = perform(stage.house, "deploy.create", request, Caller("alice", 1000, request_id=uuid7()), Wish(dry_run=True))
    assert plan.warnings == ["its profile was measured on another kind of machine and is not used here"]
    keep(stage, here, keeps=False)
    assert stage.call("deploy.create", name="census", model="census@1").profile == "as by default"


def test_a_server_in_the_foreground_takes_it_too(stage, here):
    stage.model()
    keep(stage, here)
    said = stage.call("deploy.servable", model="census@1")
    assert (said.facts, said.model["digest"]) == ({"threads": 2, "gather_ms": 0.0, "workers": 3}, "f" * 64)
    assert said.profile == "tuned for latency: int8-static 2t×3w"
    plain = stage.call("deploy.servable", model="census@1", profile="none")
    assert (plain.facts, plain.profile, plain.model["digest"]) == ({}, "", f"{1:064x}")


def test_tuning_needs_a_machine_that_is_known_and_a_model_that_is_onnx(stage, here):
    stage.model("forest", form="json")
    stage.model()
    with pytest.raises(Exception, match="it is json"):
        stage.call("model.tune", model="forest@1")
    job = stage.call("model.tune", model="census@1", slo=["p99=20ms"], max_accuracy_loss="1%").job
    spec = json.loads(stage.value("SELECT spec FROM job WHERE id = ?", [job]))
    assert spec["request"]["limits"] == {"p99_ms": 20.0} and spec["request"]["max_accuracy_loss"] == 0.01
