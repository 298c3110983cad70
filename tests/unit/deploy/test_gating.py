"""What a version must have passed before a rollout takes it in, and how somebody says that it may all the same."""

import pytest

from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import Refused
from mlops_tui.core.ids import uuid7
from mlops_tui.deploy.rollout import clocks


@pytest.fixture
def served(stage):
    clocks.clear()
    stage.model(versions=2, run="run-1")
    return stage


def verdict(stage, gate, passed, version=2, text="auc 0.61, at least 0.75"):
    stage.house.store.write(
        lambda s: s.insert(
            "gate_result", id=uuid7(), run_id="run-1", gate=gate, passed=passed, value=None, threshold=None, text=text,
            detail="{}", digest=f"{version:064x}", ts_us=now_us(),
        )
    )  # fmt: skip


def start(stage, **options):
    return stage.call("rollout.start", deployment="census", model="census@2", events=["error"], **options)


def test_a_version_whose_last_gates_failed_is_refused_by_name_with_the_way_out(served):
    served.serve()
    verdict(served, "quality", False)
    verdict(served, "fairness", True)
    with pytest.raises(Refused) as caught:
        start(served)
    said = str(caught.value)
    assert "census@2 may not come into census" in said and "the gate quality failed: auc 0.61" in said
    assert '--override-gates "why it may"' in said and "fairness" not in said
    verdict(served, "quality", True, text="auc 0.8")
    assert start(served).state == "Pending", "the newest verdict counts"


def test_who_says_why_gets_it_in_and_that_stands_in_plan_history_and_audit(served):
    served.id = served.serve()
    verdict(served, "quality", False)
    plan = served.plan(
        "rollout.start", deployment="census", model="census@2", events=["error"], override_gates="a hotfix, see 812"
    )
    told = next(one for one in plan.changes if one.field == "gates")
    assert (told.before, told.after) == (
        "the gate quality failed: auc 0.61, at least 0.75", "overridden: a hotfix, see 812",
    )  # fmt: skip
    made = start(served, override_gates="a hotfix, see 812")
    assert made.text.endswith("its gates are overridden: a hotfix, see 812")
    audited = served.value("SELECT string_agg(a::VARCHAR, ' ') FROM audit a")
    assert "overridden: a hotfix, see 812" in audited
    served.turn()
    served.turn()
    assert served.state() == "Provisioning", "the engine does not stumble over it again"


def test_gates_that_fail_between_the_start_and_the_gating_stop_it(served):
    served.serve()
    verdict(served, "quality", True)
    start(served)
    verdict(served, "quality", False)
    served.turn()
    served.turn()
    assert served.state() == "RollingBack"
    assert "the gate quality failed" in served.call("rollout.status", rollout="census").text


def test_production_takes_only_what_gates_have_seen_other_places_anything(served):
    served.serve(environment="prod")
    with pytest.raises(Refused, match="no gate has run over its file, and production takes only"):
        start(served)
    verdict(served, "quality", True, version=1)
    with pytest.raises(Refused, match="no gate has run"):
        start(served)
    verdict(served, "quality", True)
    assert start(served).state == "Pending"
