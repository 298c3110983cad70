"""Rollouts by file: steps of every kind, what people say to them, what is kept, and the way back from every state."""

import msgspec
import numpy as np
import pytest
import yaml

from mlops_tui.core.errors import BadInput, Conflict, Refused
from mlops_tui.core.states import spoken
from mlops_tui.deploy.rollout import clocks, machine, series

ANALYSIS = {"every": "1ms", "minRequests": 100, "harm": [{"event": "wrong"}]}


@pytest.fixture
def served(stage):
    """A deployment of version 1; versions 2 and 3 are there to come in."""
    clocks.clear()
    stage.model(versions=3)
    stage.id = stage.serve()
    return stage


def begin(stage, steps=(), *, analysis=None, **spec):
    body = {"deployment": "census", "model": "census@2", "steps": list(steps), "keepOld": 0, **spec}
    body["analysis"] = {**ANALYSIS, **(analysis or {})}
    text = yaml.safe_dump({"apiVersion": "mlops-tui/v1", "kind": "Rollout", "spec": body})
    return stage.call("rollout.start", file=text)


def go(stage, until, *, bad=(20, 20), n=200, most=15):
    """Turn with traffic on both sides until a state is reached; the servers show every split at once."""
    for _ in range(most):
        for no, wrong in zip((1, 2), bad, strict=True):
            role, weight = stage.split(stage.id).get(no, ("", 0.0))
            if n and (weight or role == "shadow"):
                share = weight / 50 if 0 < weight < 100 else 1.0
                stage.judged(stage.id, no, int(n * share), int(wrong * share), shadow=role == "shadow")
        stage.turn()
        stage.servers(stage.id)
        if stage.state() == until:
            return
    raise AssertionError(f"{stage.state()}, not {until}: {shown(stage).why}")


def shown(stage):
    return stage.call("rollout.status", rollout="census")


def say(stage, word):
    key = "deployment" if word == "rollback" else "rollout"
    return stage.call(f"rollout.{word}", **{key: "census"})


def test_a_shadow_a_share_and_a_persons_word_come_one_after_the_other(served):
    steps = [{"shadow": True, "for": 0}, {"weight": 20, "for": 0}, {"approve": "the owner"}, {"weight": 60, "for": 0}]
    begin(served, steps, sticky="x-user")
    go(served, "Shadowing")
    assert served.split(served.id) == {1: ("stable", 100.0), 2: ("shadow", 0.0)}
    go(served, "Holding")
    assert served.split(served.id)[2] == ("canary", 20.0), "the share stays while somebody thinks"
    assert shown(served).why == "waits for approval: the owner · mlops rollout approve"
    go_on = [served.state() for _ in range(3) if not served.turn()]
    assert go_on == ["Holding"] * 3
    say(served, "approve")
    assert served.split(served.id)[2] == ("canary", 60.0)
    assert served.value("SELECT split->>'sticky' FROM traffic_event ORDER BY seq DESC LIMIT 1") == "x-user"
    go(served, "Succeeded")
    assert [one.state for one in shown(served).events] == [
        "Pending", "Gating", "Provisioning", "Shadowing", "Shifting", "Holding", "Shifting", "Promoting", "Succeeded",
    ]  # fmt: skip


def test_a_shadow_is_compared_row_by_row_with_what_clients_got(served):
    begin(served, [{"shadow": True, "for": "1h"}])
    go(served, "Shadowing", n=0)
    assert shown(served).compared == ""
    ids = served.answer(served.id, 1, [0.9, 0.8, 0.2, 0.6])
    served.answer(served.id, 2, [0.9, 0.4, 0.2, 0.7], ids=ids, shadow=True)
    served.answer(served.id, 1, [0.1] * 5)
    served.turn()
    assert shown(served).compared == (
        "of the newest 4 mirrored rows 1 (25.0%) would be decided otherwise; "
        "scores differ by 0.125 on average, 0.4 at most"
    )


def test_a_step_waits_for_the_proof_and_says_so(served):
    begin(served, [{"weight": 50, "until": "proven_safe"}])
    go(served, "Shifting", n=0)
    served.judged(served.id, 1, 150, 30), served.judged(served.id, 2, 150, 30)
    served.turn()
    assert served.state() == "Shifting"
    assert (
        "waits for proof of safety" in shown(served).why
        and "wrong predictions: evidence of safety" in shown(served).why
    )
    go(served, "Succeeded", n=2000, bad=(600, 500))
    assert any("proven safe" in one.text for one in shown(served).events)


def test_a_step_may_have_a_minimum_of_its_own(served):
    begin(served, [{"weight": 50, "for": 0, "minRequests": 1000}])
    go(served, "Shifting", n=0)
    for _ in range(4):
        served.judged(served.id, 1, 200, 20), served.judged(served.id, 2, 200, 20)
        served.turn()
        assert served.state() == "Shifting" and "of the 1,000 rows" in shown(served).why
    go(served, "Succeeded")


def test_nothing_counts_between_two_splits_and_a_look_has_one_weight(served):
    """A bad hour that begins with a greater share is not held against the canary."""
    begin(
        served, [{"weight": 10, "for": 0, "minRequests": 10}, {"weight": 50, "for": "1h"}], analysis={"minRequests": 10}
    )
    go(served, "Shifting", n=0)
    served.judged(served.id, 1, 900, 9), served.judged(served.id, 2, 100, 1)
    served.turn()
    assert (shown(served).step, served.split(served.id)[2]) == (1, ("canary", 50.0))
    served.judged(served.id, 2, 50, 50)  # the servers do not show the new share yet: some do, some don't
    late = served.answer(served.id, 1, [0.9] * 5)
    served.servers(served.id)
    served.label(served.id, late, [0] * 5)
    served.judged(served.id, 1, 500, 250), served.judged(served.id, 2, 500, 250)
    served.turn()
    assert served.state() != "RollingBack", shown(served).text
    looks = served.rows("SELECT step, n_canary, n_stable, bad_canary, bad_stable FROM rollout_look ORDER BY look")
    assert looks == [(0, 100, 900, 1.0, 9.0), (1, 600, 1400, 251.0, 259.0)]


def test_rows_of_one_request_are_one_unit(served):
    begin(served, [{"weight": 50, "for": "1h"}], analysis={"minRequests": 10})
    go(served, "Shifting", n=0)
    ids = served.answer(served.id, 2, [0.9] * 40, rows=4)
    served.label(served.id, ids, [0] * 10, row=0)
    served.label(served.id, ids[:5], [1] * 5, row=1)
    served.turn()
    served.label(served.id, ids, [0] * 10, row=2)
    served.judged(served.id, 1, 10, 1)
    served.turn()
    looks = served.rows("SELECT n_canary, bad_canary, n_stable, bad_stable FROM rollout_look ORDER BY look")
    assert looks == [(10, 7.5, 0, 0.0), (10, 7.5, 10, 1.0)], "rows that are labelled later have no say any more"


def test_requests_that_named_their_version_are_no_sample(served):
    begin(served, [{"weight": 50, "for": "1h"}], analysis={"harm": [{"event": "error"}, {"event": "wrong"}]})
    go(served, "Shifting", n=0)
    ids = served.answer(served.id, 2, [0.9] * 300, chosen=True)
    served.label(served.id, ids, [0] * 300)
    served.answer(served.id, 2, [0.5] * 90, status=2, chosen=True)
    served.judged(served.id, 1, 200, 20), served.judged(served.id, 2, 150, 15)
    served.turn()
    assert served.state() == "Shifting"
    assert {one.event: (one.bad_canary, one.n_canary) for one in shown(served).checks} == {
        "error": (0.0, 150), "wrong": (15.0, 150),
    }  # fmt: skip


def latencies(stage, no, values):
    """Have a revision answer with these latencies in µs."""
    ids = stage.answer(stage.id, no, [0.5] * len(values))
    rows = dict(zip(ids, map(int, values), strict=True))
    stage.house.store.write(
        lambda s: [
            s.execute("UPDATE inference SET latency = ? WHERE request_id = ?", [us, one]) for one, us in rows.items()
        ]
    )


def test_a_slow_version_is_rolled_back_and_one_within_what_is_allowed_is_not(served):
    rng = np.random.default_rng(3)
    slow = {"event": "latency", "maxSlowdown": 1.25, "slackMs": 1}
    for factor, end in ((1.2, "Shifting"), (2.5, "RollingBack")):
        latencies(served, 1, rng.lognormal(9, 0.5, 300).astype(int))
        begin(served, [{"weight": 50, "for": "1h"}], analysis={"harm": [slow]})
        go(served, "Shifting", n=0)
        latencies(served, 1, rng.lognormal(9, 0.5, 300).astype(int))
        latencies(served, 2, (factor * rng.lognormal(9, 0.5, 300)).astype(int))
        served.turn()
        assert served.state() == end
        say(served, "abort") if end == "Shifting" else None
        served.servers(served.id), served.turn()
    text = shown(served).events[-2].text
    assert text.startswith("latency: harm: the canary is slower than") and " ms " in text


def test_stable_must_be_known_before_latencies_are_compared(served):
    begin(served, [{"weight": 50, "for": 0}], analysis={"harm": [{"event": "latency"}]})
    go(served, "Shifting", n=0)
    served.answer(served.id, 1, [0.5] * 60)
    served.turn()
    assert "too few to compare with" in shown(served).why
    served.answer(served.id, 1, [0.5] * 60), served.answer(served.id, 2, [0.5] * 150)
    served.turn()
    assert shown(served).checks[0].n_canary == 0, "what fixed the marks is not counted"
    served.answer(served.id, 1, [0.5] * 150), served.answer(served.id, 2, [0.5] * 150)
    served.turn()
    assert shown(served).checks[0].n_canary == 150
    marks = served.value("SELECT marks FROM rollout_scale")
    assert len(marks) == len(series.QUANTILES) and marks == sorted(marks)


def test_an_absolute_limit_needs_no_stable(served):
    limit = {"event": "error", "maxShare": 0.05}
    begin(served, [{"weight": 50, "for": "1h"}], analysis={"harm": [], "limits": [limit]})
    go(served, "Shifting", n=0)
    served.answer(served.id, 2, [0.5] * 170)
    served.fail(served.id, 2, 30)
    served.fail(served.id, 1, 30)
    served.turn()
    assert served.state() == "RollingBack"
    assert shown(served).text.startswith("model errors: harm: above the limit of 5.00% (15.00% of 200 rows")


@pytest.mark.parametrize(("then", "state"), [("note", "Succeeded"), ("hold", "Holding"), ("rollback", "RolledBack")])
def test_a_drift_of_the_score_is_noted_asked_about_or_ends_it(served, then, state):
    served.answer(served.id, 1, served.rng.random(300))
    begin(served, [{"weight": 50, "for": 0}], analysis={"harm": [], "drift": {"max": 0.15, "then": then}})
    go(served, "Shifting", n=0)
    served.answer(served.id, 1, served.rng.random(600))
    served.answer(served.id, 2, served.rng.random(600) ** 3)
    go(served, state, n=0)
    check = shown(served).checks[0]
    assert (check.kind, check.verdict) == ("drift", "drift") and "distance 0." in check.text
    if then == "hold":
        assert "drift of the score" in shown(served).text
        say(served, "approve")
        go(served, "Succeeded", n=0)


def test_on_failure_pause_takes_the_traffic_away_and_a_person_gives_it_back(served):
    begin(served, [{"weight": 50, "for": 0}], onFailure="pause")
    go(served, "Paused", bad=(20, 120))
    assert served.split(served.id) == {1: ("stable", 100.0), 2: ("canary", 0.0)}
    assert "harm: the canary is wrong" in shown(served).text
    for _ in range(2):
        served.turn()
    assert served.state() == "Paused"
    say(served, "rollback")
    go(served, "RolledBack", n=0)


def test_the_old_version_is_kept_warm_and_a_rollback_swaps_back(served):
    begin(served, strategy="blue-green", keepOld="1h")
    go(served, "Baking", n=0)
    assert served.split(served.id) == {1: ("stable", 0.0), 2: ("canary", 100.0)}
    assert not served.value("SELECT split->>'lease' = 'true' FROM traffic_event ORDER BY seq DESC LIMIT 1")
    plan = say(served, "rollback")
    assert plan.text == "census goes back from v2 to v1"
    assert served.split(served.id) == {1: ("stable", 100.0)}
    go(served, "RolledBack", n=0)
    begin(served, strategy="blue-green", keepOld="1h")
    go(served, "Baking", n=0)
    clocks.watch(shown(served).id).unsaved = 3601.0
    go(served, "Succeeded", n=0)
    assert served.split(served.id) == {2: ("stable", 100.0)}
    assert say(served, "rollback").text == "census goes back from v2 to v1"


def test_late_harm_ends_a_bake(served):
    begin(served, [{"weight": 50, "for": 0}], keepOld="1h")
    go(served, "Shifting", n=0)
    mine, others = served.answer(served.id, 2, [0.9] * 200), served.answer(served.id, 1, [0.9] * 200)
    served.judged(served.id, 1, 200, 20), served.judged(served.id, 2, 120, 12)
    go(served, "Baking", n=0)
    served.label(served.id, mine, [0] * 200), served.label(served.id, others, [1] * 200)
    go(served, "RolledBack", n=0)


def test_a_rollback_after_its_window_goes_the_long_way(served):
    begin(served, strategy="recreate", rollbackWindow="1h")
    go(served, "Succeeded", n=0)
    served.house.store.write(lambda s: s.execute("UPDATE rollout_event SET ts = ts - INTERVAL 61 MINUTE"))
    with pytest.raises(Conflict, match=r"window.*mlops rollout start census census@1"):
        say(served, "rollback")


def test_recreate_takes_the_place_at_once(served):
    begin(served, strategy="recreate")
    go(served, "Succeeded", n=0)
    states = [one.state for one in shown(served).events]
    assert states == ["Pending", "Gating", "Provisioning", "Promoting", "Succeeded"], "loaded and warm, then at once"
    served.call("rollout.start", file=_file({"model": "census@3", "strategy": "recreate", "warmup": 0, "keepOld": 0}))
    go(served, "Succeeded", n=0)
    assert [one.state for one in shown(served).events] == ["Pending", "Gating", "Promoting", "Succeeded"]


def _file(spec):
    body = {"apiVersion": "mlops-tui/v1", "kind": "Rollout", "spec": {"deployment": "census", **spec}}
    return yaml.safe_dump(body)


def test_an_ab_split_stays_until_somebody_says_who_won(served):
    begin(served, [{"weight": 40, "for": 0}], strategy="ab", sticky="x-user")
    go(served, "Holding")
    assert served.split(served.id) == {1: ("stable", 60.0), 2: ("canary", 40.0)}
    say(served, "promote")
    go(served, "Succeeded", n=0)


def at(stage, state):
    """Bring a rollout into a state."""
    steps = [{"shadow": True, "for": 0}, {"weight": 20, "for": 0}, {"approve": "me"}]
    begin(stage, steps, keepOld="1h")
    paused = state == "Paused"
    if state == "Pending":
        return
    if state in ("Promoting", "Baking"):
        go(stage, "Shifting")
        say(stage, "promote")
        return go(stage, "Baking", n=0) if state == "Baking" else None
    go(stage, "Shifting" if paused else state)
    if paused:
        say(stage, "pause")


@pytest.mark.parametrize("state", machine.UNDER_WAY)
def test_a_rollback_is_legal_in_every_state(served, state):
    at(served, state)
    assert served.state() == state
    say(served, "rollback")
    assert served.split(served.id) == {1: ("stable", 100.0)}
    go(served, "RolledBack", n=0)
    assert shown(served).events[-2].text.startswith("rolled back by alice")


@pytest.mark.parametrize("state", machine.UNDER_WAY)
def test_one_rollout_takes_the_place_of_another_only_when_that_is_said(served, state):
    at(served, state)
    first = shown(served).id
    with pytest.raises(Conflict, match=f"a rollout of census is {spoken(state)}"):
        served.call("rollout.start", deployment="census", model="census@3")
    served.call("rollout.start", deployment="census", model="census@3", supersede=True)
    old = served.call("rollout.status", rollout=first)
    assert old.state == ("Succeeded" if state == "Baking" else "Superseded")
    stays = "v2" if state == "Baking" else "v1"
    assert (shown(served).stable, shown(served).canary, served.state()) == (stays, "v3", "Pending")
    assert list(served.split(served.id).values()) == [("stable", 100.0)]


def test_what_is_going_back_is_not_superseded(served):
    at(served, "Shifting")
    say(served, "rollback")
    for options in ({"supersede": True}, {}):
        with pytest.raises(Conflict, match="rolling back"):
            served.call("rollout.start", deployment="census", model="census@3", **options)
    with pytest.raises(Conflict, match="rolling back"):
        say(served, "rollback")


def test_a_file_that_is_not_the_pinned_one_does_not_come_in(served):
    with pytest.raises(Refused, match="not the pinned aaaaaaaaaaaa"):
        begin(served, digest="blake3:" + "a" * 64)
    started = begin(served, digest="0" * 63 + "2")
    assert started.digest == "0" * 63 + "2"
    served.house.store.write(lambda s: s.execute("UPDATE model_version SET digest = 'b' WHERE version = 2"))
    go(served, "RollingBack", n=0)
    assert "its file is b…, not the pinned" in shown(served).text


def test_a_plan_says_every_step(served):
    from mlops_tui.contracts.operation import find
    from mlops_tui.contracts.rollout import StartRollout
    from mlops_tui.deploy.rollout.operations import StartRollout as Start
    from mlops_tui.door import Caller, Context

    request = msgspec.convert({"deployment": "census", "model": "census@2"}, StartRollout)
    plan = served.house.read(lambda s: Start().plan(Context(served.house, Caller("alice", 1000), s), request))
    told = {change.field: change.after for change in plan.changes}
    assert told["serves"] == "census@2 by 5 % → 25 % → 50 %"
    assert (told["step 1"], told["without rows"], told["digest"]) == ("5 % for 60 s", "hold", "0" * 63 + "2")
    assert "wrong in at most 5.0% of harmless versions" in told["judged by"]
    assert find("rollout.start").permission == "rollout:start"


def test_the_file_and_the_command_line_must_not_disagree(served):
    text = "apiVersion: mlops-tui/v1\nkind: Rollout\nspec: {deployment: census, model: census@2}\n"
    with pytest.raises(BadInput, match="the file says model census@2, you say census@3"):
        served.call("rollout.start", file=text, model="census@3")
    with pytest.raises(BadInput, match="which deployment"):
        served.call("rollout.start", deployment="census")


def test_the_history_tells_every_split(served):
    at(served, "Baking")
    told = served.call("rollout.history", deployment="census")
    assert told.total == len(told.shifts) == 5
    assert [one.traffic for one in told.shifts][:3] == ["v1 0 %  v2 100 %", "v1 80 %  v2 20 %", "v1 100 %  v2 shadow"]
    assert (told.shifts[0].actor, told.shifts[0].by) == ("alice", "canary")
    assert len(served.call("rollout.history", deployment="census", limit=2).shifts) == 2
