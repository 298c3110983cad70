"""Rollouts in which clients stick to a version: what looks count of them, and what they are told apart by."""

import numpy as np
import pytest

from mlops_tui.core.clock import now_us
from mlops_tui.deploy.rollout import clocks, looks
from mlops_tui.stats import clients


@pytest.fixture
def served(stage):
    clocks.clear()
    stage.model(versions=2)
    stage.id = stage.serve()
    return stage


def begin(stage, *, steps=(10.0, 50.0), events=("error",), sticky="x-user", **options):
    usual = {"step_s": 3600.0, "look_s": 1e-9, "min_requests": 10, "events": list(events), "steps": list(steps)}
    stage.call("rollout.start", deployment="census", model="census@2", sticky=sticky, **{**usual, **options})
    for _ in range(3):
        stage.turn()
        stage.servers(stage.id)


def log(stage, event="error"):
    """Return the looks as (step, bad first c/s, clients c/s, bad c/s, requests c/s)."""
    rollout = stage.value("SELECT id FROM rollout")
    found = stage.house.read(lambda s: looks.earlier(s, rollout, event, 1, sticky=True))
    (n_c, first_c), (n_s, first_s) = found.first_c, found.first_s
    columns = (found.steps, first_c, first_s, n_c, n_s, found.bad_c[0], found.bad_s[0], found.n_c, found.n_s)
    return [tuple(int(one) for one in look) for look in zip(*columns, strict=True)]


def ask(stage, no, clients, status=0):
    stage.answer(stage.id, no, [0.5] * len(clients), status=status, clients=clients)


def next_step(stage):
    rollout = stage.value("SELECT id FROM rollout")
    stage.call("rollout.pause", rollout="census")
    step = stage.value("SELECT step FROM rollout_event WHERE rollout_id = ? ORDER BY seq DESC LIMIT 1", [rollout])
    from mlops_tui.deploy.rollout import engine, rollouts
    from mlops_tui.deploy.rollout.file import kept
    from mlops_tui.deploy.rollout.machine import entry

    stage.call("rollout.resume", rollout="census")
    row = stage.house.read(rollouts.active)[0]
    engine._begin(stage.house, row, entry(kept(row["spec"]), 1, 2, step + 1), step + 1)
    stage.servers(stage.id)


def test_a_client_is_counted_once_a_step_by_its_first_request(served):
    begin(served)
    ask(served, 2, [7, 7, 8])
    ask(served, 1, [11, 12, 13, 13])
    ask(served, 1, [12, 13], status=2)
    served.turn()
    assert log(served) == [(0, 0, 0, 2, 3, 0, 2, 3, 6)]
    ask(served, 2, [7, 7, 9], status=2)
    ask(served, 1, [12, 12, 14], status=2)
    served.turn()
    assert log(served)[1:] == [(0, 1, 1, 1, 1, 3, 3, 3, 3)], "only 9 and 14 are new"
    ask(served, 2, [7, 8, 9])
    ask(served, 2, [9], status=2)
    served.turn()
    assert log(served)[2:] == [(0, 0, 0, 0, 0, 1, 0, 4, 0)], "only requests are new"


def test_the_next_step_draws_again_whom_stable_had_and_nobody_else(served):
    begin(served)
    ask(served, 2, [7, 8])
    ask(served, 1, [11, 12, 13])
    served.turn()
    next_step(served)
    ask(served, 2, [7, 8, 11, 20], status=2)
    ask(served, 1, [12, 13, 21], status=2)
    served.turn()
    fresh, again = log(served)[1:]
    assert fresh == (1, 1, 1, 1, 1, 3, 1, 3, 1), "7 and 8 are the canary's since the step before: 20 and 21 are new"
    assert again == (1, 1, 2, 1, 2, 1, 2, 1, 2), "11, 12 and 13 were stable's, chance drew them again"


def test_requests_without_a_key_are_clients_of_their_own_and_those_of_older_servers_are_none(served):
    begin(served)
    ask(served, 2, [0] * 5, status=2)
    ask(served, 1, [0] * 6, status=2)
    ask(served, 1, [-1] * 50, status=2)
    served.turn()
    assert log(served) == [(0, 5, 6, 5, 6, 5, 6, 5, 6)]
    assert served.value("SELECT count(*) FROM rollout_client") == 0


def test_a_request_that_comes_after_its_clients_later_step_counts_for_no_draw(served):
    begin(served)
    ask(served, 1, [11])
    served.turn()
    early = now_us()
    next_step(served)
    ask(served, 2, [12], status=2)
    served.turn()
    assert log(served)[1:] == [(1, 1, 0, 1, 0, 1, 0, 1, 0)]
    served.answer(served.id, 1, [0.5, 0.5], status=2, clients=[12, 13], at=early)
    served.turn()
    assert log(served)[2:] == [(0, 0, 1, 0, 1, 0, 2, 0, 2)], "13 counts, 12 had been drawn since"


def test_labels_count_clients_too(served):
    begin(served, events=("wrong",))
    ids = served.answer(served.id, 2, [0.9] * 4, clients=[7, 7, 8, 9])
    other = served.answer(served.id, 1, [0.9] * 4, clients=[11, 12, 13, 14])
    served.label(served.id, ids[:3], [1, 0, 0])
    served.label(served.id, other[:2], [1, 0])
    served.turn()
    assert log(served, "wrong") == [(0, 1, 1, 2, 2, 2, 1, 3, 2)], "7's first was right, its second was not"
    served.label(served.id, ids[3:], [0])
    served.turn()
    assert log(served, "wrong")[1:] == [(0, 1, 0, 1, 0, 1, 0, 1, 0)]


def test_a_shadow_is_judged_by_requests_as_both_answer_each(served):
    begin(served, steps=[], strategy="shadow")
    for no, shadow in ((1, False), (2, True)):
        served.answer(served.id, no, [0.5] * 30, clients=[7] * 30, shadow=shadow)
    served.turn()
    assert log(served) == [(0, 0, 0, 30, 30, 0, 0, 30, 30)]


def asked(stage):
    """Return ln e of all requests of each client, of the looks that asked for it."""
    rows = stage.rows("SELECT log_e_clients FROM rollout_look ORDER BY look")
    return [one for (one,) in rows if one is not None]


def test_clients_are_asked_for_as_the_store_has_them_before_and_after_they_came(served):
    """What a look finds is what the statistics say of the same clients, counted by hand."""
    begin(served, steps=(10.0, 50.0), min_requests=1)
    ask(served, 2, [7, 7])
    ask(served, 2, [7], status=2)
    ask(served, 1, [11, 11, 12, 13, 0, -1])
    ask(served, 1, [12], status=2)
    served.turn()
    assert asked(served) == []
    next_step(served)
    ask(served, 2, [7, 11, 11, 11], status=2)
    ask(served, 1, [12] * 4 + [13, 0])
    served.turn()
    bad = np.array([[1, 1], [0, 3], [1, 0], [0, 0]], float)
    n = np.array([[3, 1], [2, 3], [2, 4], [1, 1]], float)
    by_hand = clients.log_e(bad, n, (0.1, 0.5), np.array([0, 1, 2, 2]))
    assert asked(served) == [pytest.approx(float(by_hand))]
    ask(served, 1, [13])
    served.turn()
    assert len(asked(served)) == 1, "one request more is no reason to ask again"


def test_few_troublesome_clients_roll_nothing_back_and_a_bad_version_is_caught(served):
    """Two of the canary's twenty clients fail all the time: as requests that is 30 times stable's share."""
    begin(served, steps=[50.0], min_requests=100)
    for _ in range(20):
        ask(served, 2, [1, 2], status=2)
        ask(served, 2, list(range(3, 21)))
        ask(served, 1, list(range(21, 39)))
        ask(served, 1, [40], status=2)
        served.turn()
    assert served.state() == "Shifting"
    for _ in range(4):
        ask(served, 2, list(range(100, 160)), status=2)
        ask(served, 1, list(range(200, 260)))
    served.turn()
    assert served.state() == "RollingBack"
    text = served.call("rollout.status", rollout="census").text
    assert "280 of 640 against 20 of 620, judged client by client" in text, text


def test_the_plan_says_what_clients_stick_by(served):
    def told(sticky):
        plan = served.plan("rollout.start", deployment="census", model="census@2", sticky=sticky, events=["error"])
        return {one.field: one.after for one in plan.changes}.get("clients stick by")

    assert told("field:customer_id") == (
        "the field customer_id of the request, of several rows by the first; judged client by client"
    )
    assert told("X-User") == "the header X-User; judged client by client"
    assert told("id").startswith("the request's id") and told("") is None
