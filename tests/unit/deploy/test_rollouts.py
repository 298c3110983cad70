"""Rollouts: the state machine by evidence, people's words to it, and what is refused."""

import sys
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import BadInput, Conflict, Refused
from mlops_tui.deploy.rollout import clocks, engine, looks

FAST = {"step_s": 0.0, "look_s": 1e-9, "min_requests": 100, "keep_old_s": 0.0, "events": ["error", "wrong"]}


@pytest.fixture
def served(stage):
    """A deployment of version 1; versions 2 and 3 are there to come in."""
    clocks.clear()
    stage.model(versions=3)
    stage.id = stage.serve()
    return stage


def start(stage, **options):
    return stage.call("rollout.start", deployment="census", model="census@2", **{**FAST, **options})


def to_first_step(stage):
    """Let the engine load the canary and give it its first weight."""
    for _ in range(3):
        stage.turn()
        stage.servers(stage.id)
    assert stage.state() in ("Shifting", "Shadowing")


def turns(stage, most=12, *, n=0, bad=(0, 0), until=None):
    """Turn the engine with traffic for both sides each time; servers show every split at once."""
    seen = []
    for _ in range(most):
        for no, wrong in zip((1, 2), bad, strict=True):
            if n and no in stage.split(stage.id) and stage.split(stage.id)[no][1]:
                stage.judged(stage.id, no, n, wrong)
        stage.turn()
        stage.servers(stage.id)
        seen.append(stage.state())
        if until and seen[-1] == until:
            break
    return seen


def test_a_harmless_canary_climbs_its_steps_and_takes_everything(served):
    start(served, steps=[10.0, 50.0], events=["wrong"])
    served.turn()
    assert served.state() == "Gating"
    served.turn()
    assert (served.state(), served.split(served.id)) == ("Provisioning", {1: ("stable", 100.0), 2: ("canary", 0.0)})
    served.turn()
    assert served.state() == "Provisioning", "the servers do not show the canary yet"
    served.servers(served.id)
    weights = []
    for _ in range(12):
        weights.append(served.split(served.id).get(2, ("", 0.0))[1])
        turns(served, 1, n=200, bad=(40, 40))
    assert weights[:6] == [0.0, 10.0, 50.0, 100.0, 100.0, 100.0]
    shown = served.call("rollout.status", rollout="census")
    assert [event.state for event in shown.events] == [
        "Pending", "Gating", "Provisioning", "Shifting", "Shifting", "Promoting", "Succeeded",
    ]  # fmt: skip
    assert (
        shown.ended and shown.text == "no harm seen: the new version gets all traffic; the new version has all traffic"
    )
    assert served.split(served.id) == {2: ("stable", 100.0)}


def test_a_step_does_not_pass_before_the_servers_show_it(served):
    start(served, steps=[10.0, 50.0], events=["wrong"])
    to_first_step(served)
    served.judged(served.id, 1, 300, 30)
    served.judged(served.id, 2, 300, 30)
    for _ in range(4):
        served.turn()
    assert served.split(served.id)[2] == ("canary", 50.0)
    served.servers(served.id)
    served.turn()
    assert served.state() == "Promoting"


def test_wrong_labels_roll_a_harmful_canary_back(served):
    start(served, steps=[50.0])
    to_first_step(served)
    assert "RolledBack" in turns(served, n=200, bad=(30, 90), until="RolledBack")
    shown = served.call("rollout.status", rollout="census")
    assert shown.text.startswith(
        "wrong predictions: harm: the canary is wrong 3.00 times as often as stable (90 of 200"
    )
    assert served.split(served.id) == {1: ("stable", 100.0)}
    assert max(event.weight for event in shown.events) == 50.0


def test_model_errors_roll_a_failing_canary_back(served):
    start(served, steps=[50.0], events=["error"])
    to_first_step(served)
    served.answer(served.id, 1, [0.5] * 300)
    served.answer(served.id, 2, [0.5] * 250)
    served.fail(served.id, 2, 20)
    assert "RolledBack" in turns(served, until="RolledBack")
    assert served.call("rollout.status", rollout="census").text.startswith("model errors: harm")


def test_one_failed_batch_is_one_event(served):
    start(served, steps=[50.0], events=["error"], step_s=60.0)
    to_first_step(served)
    served.answer(served.id, 1, [0.5] * 2000, rows=10)
    served.answer(served.id, 2, [0.5] * 2000, rows=10)
    served.answer(served.id, 2, [np.nan] * 500, rows=500, status=2)
    turns(served, 2)
    look = served.call("rollout.status", rollout="census").looks[0]
    assert (look.bad_canary, look.n_canary, look.bad_stable, look.n_stable) == (1, 201, 0, 200)
    assert look.verdict == "continue"


def test_what_stable_answers_in_the_canarys_place_is_not_held_against_stable(served):
    start(served, steps=[50.0], step_s=60.0)
    to_first_step(served)
    ids = served.answer(served.id, 2, [0.9] * 5, status=2)
    served.answer(served.id, 1, [0.9] * 5, status=3, ids=ids)
    served.label(served.id, ids, [0] * 5)
    served.answer(served.id, 1, [0.9] * 10, status=1)
    served.judged(served.id, 1, 20, 2)
    turns(served, 2)
    found = {look.event: look for look in served.call("rollout.status", rollout="census").looks}
    error, wrong = found["error"], found["wrong"]
    assert (error.bad_canary, error.n_canary, error.bad_stable, error.n_stable) == (5, 5, 0, 20)
    assert (wrong.bad_canary, wrong.n_canary, wrong.bad_stable, wrong.n_stable) == (0, 0, 2, 20)


def test_a_look_takes_what_came_since_the_one_before_late_labels_too(served):
    start(served, steps=[50.0], events=["wrong"], step_s=60.0)
    to_first_step(served)
    late = served.answer(served.id, 2, [0.9] * 60)
    served.judged(served.id, 1, 50, 5)
    served.judged(served.id, 2, 10, 1)
    turns(served, 1)
    served.label(served.id, late[:40], [1] * 30 + [0] * 10)
    turns(served, 1)
    served.label(served.id, late[:40], [0] * 40)
    served.label(served.id, late[40:], [1] * 20)
    served.judged(served.id, 1, 30, 3)
    turns(served, 3)
    rollout = served.value("SELECT id FROM rollout")
    log = served.house.read(lambda s: looks.earlier(s, rollout, "wrong"))
    assert list(zip(*log.bad_c, log.n_c, *log.bad_s, log.n_s, strict=True)) == [
        (1, 10, 5, 50), (10, 40, 0, 0), (0, 20, 3, 30),
    ]  # fmt: skip


def test_alpha_is_shared_by_the_checks(served):
    start(served, alpha=0.04, events=["error", "wrong", "latency"])
    needed = {one.event: one.log_needed for one in served.call("rollout.status", rollout="census").checks}
    assert needed == pytest.approx(dict.fromkeys(["error", "wrong", "latency"], np.log(75)))


def test_a_held_rollout_waits_for_rows(served):
    start(served, steps=[50.0])
    to_first_step(served)
    assert turns(served, 4, n=10, bad=(1, 1)) == ["Shifting"] * 4
    assert turns(served, 3, n=200, bad=(20, 20))[-1] in ("Promoting", "Succeeded")


@pytest.mark.parametrize(("on_no_data", "end"), [("proceed", "Succeeded"), ("rollback", "RolledBack")])
def test_without_rows_it_goes_where_it_was_told(served, on_no_data, end):
    start(served, steps=[50.0], on_no_data=on_no_data)
    assert turns(served, 12, until=end)[-1] == end


def test_a_proven_safe_canary_does_not_wait(served):
    start(served, steps=[20.0, 60.0], events=["wrong"], step_s=3600.0)
    to_first_step(served)
    assert turns(served, 10, n=800, bad=(240, 160), until="Succeeded")[-1] == "Succeeded"
    assert "proven safe" in served.call("rollout.status", rollout="census").events[-2].text


def test_a_pause_holds_and_a_resume_begins_the_step_anew(served, monkeypatch):
    now = [time.monotonic()]
    monkeypatch.setattr(clocks, "time", SimpleNamespace(monotonic=lambda: now[0]))
    start(served, steps=[30.0], step_s=3.0)
    to_first_step(served)
    served.call("rollout.pause", rollout="census")
    assert turns(served, 4, n=200, bad=(20, 20)) == ["Paused"] * 4
    assert served.split(served.id)[2] == ("canary", 30.0)
    now[0] += 3.5
    served.call("rollout.resume", rollout="census")
    served.turn()
    assert served.state() == "Shifting", "the paused time does not count"
    now[0] += 3.5
    assert turns(served, 6, until="Succeeded")[-1] == "Succeeded"


def test_harm_ends_a_paused_rollout(served):
    start(served, steps=[30.0])
    to_first_step(served)
    served.call("rollout.pause", rollout="census")
    assert turns(served, 5, n=200, bad=(20, 100), until="RolledBack")[-1] == "RolledBack"


def test_a_person_promotes_or_aborts(served):
    start(served, steps=[30.0])
    to_first_step(served)
    served.call("rollout.promote", rollout="census")
    assert turns(served, 4, until="Succeeded")[-1] == "Succeeded"
    served.call("rollout.start", deployment="census", model="census@3", **FAST)
    to_first_step(served)
    done = served.call("rollout.abort", rollout="census")
    assert done.text == "the rollout of census is aborted"
    assert served.split(served.id) == {2: ("stable", 100.0)}, "at once, without waiting for the engine"
    served.servers(served.id)
    assert turns(served, 3, until="Aborted")[-1] == "Aborted"
    for verb in ("abort", "pause", "resume", "promote"):
        with pytest.raises(Conflict, match="is aborted"):
            served.call(f"rollout.{verb}", rollout="census")


def test_an_abort_between_look_and_transition_wins(served, monkeypatch):
    start(served, steps=[30.0])
    to_first_step(served)
    served.judged(served.id, 1, 200, 20)
    served.judged(served.id, 2, 200, 20)
    original = looks.take

    def take(*arguments):
        found = original(*arguments)
        served.call("rollout.abort", rollout="census")
        return found

    monkeypatch.setattr(looks, "take", take)
    served.turn()
    assert served.state() == "Aborting"
    assert served.split(served.id) == {1: ("stable", 100.0)}


def test_blue_green_moves_everything_at_once_when_the_new_version_is_ready(served):
    start(served, strategy="blue-green")
    served.turn()
    served.turn()
    assert served.split(served.id) == {1: ("stable", 100.0), 2: ("canary", 0.0)}
    served.turn()
    assert served.split(served.id) == {1: ("stable", 100.0), 2: ("canary", 0.0)}, "not before the servers have it"
    served.servers(served.id)
    assert turns(served, 5, until="Succeeded")[-1] == "Succeeded"
    assert served.split(served.id) == {2: ("stable", 100.0)}


def test_a_shadow_is_judged_without_traffic_of_its_own(served):
    start(served, strategy="shadow", events=["wrong"])
    to_first_step(served)
    assert served.split(served.id) == {1: ("stable", 100.0), 2: ("shadow", 0.0)}
    served.judged(served.id, 1, 300, 30)
    served.judged(served.id, 2, 300, 120, shadow=True)
    assert turns(served, 4, until="RolledBack")[-1] == "RolledBack"


def test_servers_that_refuse_the_canary_end_the_rollout(served, monkeypatch):
    start(served)
    served.turn()
    served.turn()
    monkeypatch.setattr(engine, "refusal", lambda house, deployment: "it is no model")
    served.turn()
    assert served.state() == "RollingBack"
    monkeypatch.undo()
    served.servers(served.id)
    served.turn()
    shown = served.call("rollout.status", rollout="census")
    assert (shown.state, shown.text) == (
        "RolledBack", "the servers refuse the new version: it is no model; stable has all traffic",
    )  # fmt: skip


def test_the_deadline_counts_watched_seconds_only(served):
    start(served, deadline_s=28.0, steps=[30.0], step_s=1000.0)
    to_first_step(served)
    watch = clocks.watch(served.value("SELECT id FROM rollout"))
    for _ in range(4):
        watch.turned -= 3600  # the machine slept for an hour
        served.turn()
        assert served.state() == "Shifting"
    for _ in range(2):
        watch.turned -= clocks.LONGEST_S
        served.turn()
    assert served.state() == "RollingBack"
    assert served.call("rollout.status", rollout="census").text == "not done within 28 s"


def test_watched_seconds_survive_the_agent(served):
    start(served, deadline_s=50.0, steps=[30.0])
    to_first_step(served)
    rollout = served.value("SELECT id FROM rollout")
    for _ in range(2):
        clocks.watch(rollout).unsaved = 12.0
        served.turn()
        assert served.state() == "Shifting"
        clocks.clear()
        served.turn()
    assert served.value("SELECT watched_s FROM rollout") >= 24.0
    clocks.watch(rollout).unsaved = 27.0
    served.turn()
    assert served.state() == "RollingBack"


def test_one_change_of_the_traffic_at_a_time(served):
    start(served)
    with pytest.raises(Conflict, match="a rollout of census is pending"):
        served.call("rollout.start", deployment="census", model="census@3")
    with pytest.raises(Conflict, match="a rollout of census"):
        served.call("ab.start", deployment="census", a="census@1", b="census@3")
    served.call("rollout.abort", rollout="census")
    served.servers(served.id)
    served.turn()
    served.call("ab.start", deployment="census", a="census@1", b="census@3")
    for operation, more in (("rollout.start", {"model": "census@2"}), ("rollout.rollback", {})):
        with pytest.raises(Conflict, match="an A/B test runs on census"):
            served.call(operation, deployment="census", **more)


def test_who_names_no_events_waits_for_labels_only_where_they_come(served):
    usual = {name: value for name, value in FAST.items() if name != "events"}
    plan = served.plan("rollout.start", deployment="census", model="census@2", **usual)
    assert "no labels have come" in "".join(plan.warnings) and "wrong ≤" not in str(plan.changes)
    bare = "apiVersion: mlops-tui/v1\nkind: Rollout\nspec: {deployment: census, model: census@2"
    plan = served.plan("rollout.start", file=bare + "}")
    assert "no labels have come" in "".join(plan.warnings) and "wrong ≤" not in str(plan.changes), "a file is no other"
    named = ", analysis: {harm: [{event: error}, {event: latency}, {event: wrong}]}}"
    plan = served.plan("rollout.start", file=bare + named)
    assert not plan.warnings and "wrong ≤" in str(plan.changes), "who names the three has them"
    served.judged(served.id, 1, 10, 0)
    served.evidence()
    plan = served.plan("rollout.start", deployment="census", model="census@2", **usual)
    assert not plan.warnings and "wrong ≤" in str(plan.changes)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"strategy": "yolo"}, BadInput, "yolo"),
        ({"steps": []}, BadInput, "steps"),
        ({"steps": [50.0, 10.0]}, BadInput, "weights rise"),
        ({"steps": [10.0, 10.0]}, BadInput, "weights rise"),
        ({"steps": [100.0]}, BadInput, "below|between"),
        ({"events": ["error", "error"]}, BadInput, "error, latency, wrong"),
        ({"events": ["ugly"]}, BadInput, "error, latency, wrong"),
        ({"events": ["wrong", "wrong"]}, BadInput, "each once"),
        ({"on_no_data": "panic"}, BadInput, "hold"),
        ({"model": "census@1"}, Conflict, "serves census@1 already"),
        ({"model": "forest@1"}, Refused, "it is json"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused(served, options, error, says):
    served.model("forest", form="json")
    with pytest.raises(error, match=says):
        start(served, **options) if "model" not in options else served.call(
            "rollout.start", deployment="census", **options
        )


def test_a_rollout_tells_of_itself(served):
    start(served, steps=[10.0, 40.0])
    to_first_step(served)
    served.judged(served.id, 1, 50, 5)
    served.judged(served.id, 2, 50, 5)
    turns(served, 1)
    shown = served.call("rollout.status", rollout="census")
    assert (shown.stable, shown.canary, [one.weight for one in shown.steps], shown.step) == (
        "v1",
        "v2",
        [10.0, 40.0],
        0,
    )
    assert {look.event for look in shown.looks} == {"error", "wrong"}
    assert shown.id == served.call("rollout.status", rollout=shown.id[-8:]).id
    table = served.call("rollout.list", filter="deployment:census")
    line = dict(zip([column.name for column in table.columns], table.rows[0], strict=True))
    assert (line["change"], line["state"], line["weight"]) == ("v1 → v2", "Shifting", 10.0)
    chain = served.rows("SELECT action, outcome FROM audit WHERE action = 'rollout.engine' ORDER BY seq")
    assert [outcome for _, outcome in chain] == ["Gating", "Provisioning", "Shifting"]


def test_many_looks_cost_no_more_calls_than_few(served):
    calls = Counter()

    def seen(frame, event, argument):
        calls[event] += 1

    start(served, steps=[50.0], step_s=3600.0, events=["wrong"], min_requests=10**9)
    to_first_step(served)
    rollout = served.value("SELECT id FROM rollout")
    n = 3000
    columns = {name: np.arange(1, n + 1) for name in ("bad_canary", "n_canary", "bad_stable", "n_stable")}
    columns |= {"rollout_id": [rollout] * n, "event": ["wrong"] * n, "look": np.arange(n), "step": [0] * n}
    columns |= {
        "ts_us": np.arange(n),
        "log_e_harm": np.zeros(n),
        "log_e_safe": np.zeros(n),
        "verdict": ["continue"] * n,
    }
    served.house.store.write(lambda s: s.insert_columns("rollout_look", columns))
    served.judged(served.id, 1, 4000, 3500)
    served.judged(served.id, 2, 4000, 3500)
    served.evidence()
    sys.setprofile(seen)
    try:
        engine.turn(served.house)
    finally:
        sys.setprofile(None)
    assert calls["call"] < n, "what is done look by look is done by arrays"
    assert served.value("SELECT count(*) FROM rollout_look") == n + 1


def test_a_clock_that_is_set_back_in_a_step_begins_it_anew_and_nothing_of_before_is_mixed_in(served):
    start(served, steps=[10.0, 50.0], step_s=3600.0, events=["error"])
    to_first_step(served)
    later = "UPDATE traffic_ack SET ts = ts + INTERVAL 1 HOUR"  # as if the clock had been an hour ahead until now
    served.house.store.write(lambda s: s.execute(later))
    served.answer(served.id, 1, [0.5] * 300)
    served.turn()
    text = served.call("rollout.status", rollout="census").text
    assert text == "the clock was set back: step 1: 10 % of the traffic, begun anew"
    assert served.split(served.id) == {1: ("stable", 90.0), 2: ("canary", 10.0)}
    served.servers(served.id)
    served.answer(served.id, 1, [0.5] * 90)
    served.answer(served.id, 2, [0.5] * 10)
    served.turn()
    check = served.call("rollout.status", rollout="census").checks[0]
    assert (check.n_canary, check.n_stable) == (10, 90)
    served.answer(served.id, 1, [0.5] * 50, at=now_us() + 3700 * 1_000_000)
    served.turn()
    check = served.call("rollout.status", rollout="census").checks[0]
    assert (check.n_canary, check.n_stable) == (10, 140), "when the clock comes to the same hour again, it counts once"
    served.answer(served.id, 2, [0.5] * 100, status=2)
    served.answer(served.id, 1, [0.5] * 900)
    served.turn()
    assert served.state() == "RollingBack"
