"""What a plan says that its rollout can see, from the traffic that the deployment has had."""

import re

import numpy as np
import pytest

from mlops_tui.contracts import rollout as contract
from mlops_tui.core.clock import now_us

SHARE = re.compile(r" requests/s: in (\d+)% of such rollouts")


@pytest.fixture
def served(stage):
    """A deployment that had 20 requests a second for five minutes, of which 1 % failed."""
    stage.model(versions=2)
    stage.id = stage.serve()
    began = now_us() - 301_000_000
    for second in range(0, 300, 50):
        stage.answer(stage.id, 1, np.full(990, 0.5), at=began + second * 1_000_000)
        stage.answer(stage.id, 1, np.full(10, 0.5), status=2, at=began + second * 1_000_000)
    return stage


def planned(stage, **options):
    plan = stage.plan(
        "rollout.start",
        deployment="census",
        model="census@2",
        **{"events": ["error"], "steps": [10.0, 50.0], **options},
    )
    return {one.field: one.after for one in plan.changes}.get("can see", ""), plan.warnings


def test_a_plan_says_what_it_can_see_and_by_when(served):
    said, warnings = planned(served, step_s=900.0)
    assert said.startswith("errors of 2 % where stable has 1 %, at ") and SHARE.search(said)[1] == "100"
    assert 15 < float(said.split(" at ")[1].split()[0]) <= 20, said
    assert not warnings


def test_a_plan_that_ends_before_harm_shows_warns_and_says_how_long_it_would_take(served):
    said, (warning,) = planned(served, step_s=30.0)
    assert int(SHARE.search(said)[1]) < 30
    assert warning.startswith("its steps end before much harm would show: errors of 2 %")
    assert "; with steps 16 times as long in " in warning


def test_clients_that_are_not_known_yet_are_assumed(served):
    said, _ = planned(served, step_s=900.0, sticky="x-user")
    assert "of 200 clients (so many are assumed): in " in said


def test_it_stays_with_the_rollout(served):
    shown = served.call(
        "rollout.start", deployment="census", model="census@2", events=["error"], steps=[10.0, 50.0], step_s=900.0
    )
    assert SHARE.search(shown.sees) and served.call("rollout.status", rollout="census").sees == shown.sees


def test_without_traffic_nothing_is_promised(stage):
    stage.model(versions=2)
    stage.serve()
    assert planned(stage) == ("not known: too few requests in the last hour to tell", [])


def test_traffic_that_goes_on_while_a_plan_is_read_does_not_undo_it(served):
    wanted = {"deployment": "census", "model": "census@2", "events": ["error"], "steps": [10.0, 50.0], "step_s": 900.0}
    plan = served.plan("rollout.start", **wanted)
    seen = next(one for one in plan.changes if one.field in plan.passing)
    request, before = contract.StartRollout(**wanted), plan.digest
    seen.after = "errors of 2 %, at 99 requests/s"
    assert plan.sealed(request).digest == before
    plan.changes[0].after = "census@3"
    assert plan.sealed(request).digest != before
