"""Rollouts over real servers and real traffic, with an agent that is killed at any moment."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import onnx
import pytest
from onnx import TensorProto, helper

GOOD, ALSO_GOOD, WRONG = (0.0, 4.0, -2.0), (0.0, 8.0, -4.0), (0.0, -4.0, 2.0)
FAST = {"look_s": 0.25, "step_s": 0.6, "min_requests": 30, "keep_old_s": 0.5, "events": ["error", "latency", "wrong"]}


def port_of(shown):
    return int(shown.url.rpartition(":")[2])


@pytest.fixture
def served(yard):
    """A deployment of a good model."""
    yard.shown = yard.serve(yard.model(GOOD))
    return yard


def start(yard, model, **options):
    return yard.call("rollout.start", deployment="census", model=model, **{**FAST, **options})


def never_above_the_step(seen, events):
    """The served weight never rises above what the rollout had come to, and is back when it is over."""
    assert seen
    for at, weights in seen:
        past = [event for event in events if event.ts <= at]
        over = bool(past) and past[-1].state in ("RolledBack", "Aborted")
        allowed = 0.0 if over else max((event.weight for event in past), default=0.0)
        assert max(weights.values(), default=0.0) <= allowed, (at, weights, past)


def counted_once(yard, answered):
    """The looks add up to what the log and the labels say, and nothing is joined twice."""
    both = """SELECT (SELECT count(*) FROM outcome), count(*) FROM inference i
        JOIN (SELECT DISTINCT deployment_id, request_id, "row" FROM label) l
        USING (deployment_id, request_id, "row") WHERE i.status IN (0, 3)"""
    yard.until(lambda: yard.rows(both)[0], lambda found: found[0] == found[1] == answered, what="all are joined")
    looks = yard.rows(
        """SELECT event, look, n_canary + n_stable, bad_canary + bad_stable FROM rollout_look ORDER BY event, look"""
    )
    assert len({row[:2] for row in map(tuple, looks)}) == len(looks), "a look has one number"
    for one, after in pairwise(looks):
        if one[0] == after[0]:
            assert after[2] > one[2] or (after[2] == one[2] and after[3] > one[3]), "each look brought something"
    last = {event: n for event, _, n, _ in looks}
    assert last["wrong"] <= yard.rows("SELECT count(*) FROM outcome")[0][0]
    assert last["error"] <= yard.rows("SELECT count(*) FROM inference")[0][0]


def kill_at(yard, moments):
    """kill -9 the agent at these seconds from now, and start another each time."""
    began = time.monotonic()
    for moment in moments:
        time.sleep(max(0.0, began + moment - time.monotonic()))
        yard.agent.kill()
        yard.agent.start()
        yard.client = yard.agent.client()


def test_an_agent_that_is_killed_again_and_again_still_promotes(served, clients, weights):
    moments = sorted(random.Random(7).uniform(0.0, 4.0) for _ in range(3))
    candidate = served.model(ALSO_GOOD, evaluation=False)
    seen = weights(port_of(served.shown))
    load = clients(port_of(served.shown), labels=served.labels(served.shown.id))
    start(served, candidate, steps=[20.0, 60.0])
    kill_at(served, moments)
    ended = served.ended()
    load.finish()
    assert (ended.state, load.errors, load.broken) == ("Succeeded", [], [])
    assert [event.state for event in ended.events] == [
        "Pending", "Gating", "Provisioning", "Shifting", "Shifting", "Promoting", "Baking", "Succeeded",
    ]  # fmt: skip
    assert [event.weight for event in ended.events] == [0.0, 0.0, 0.0, 20.0, 60.0, 100.0, 100.0, 100.0]
    never_above_the_step(seen.finish(), ended.events)
    counted_once(served, len(load.told))
    assert served.serving().revisions[1].weight == 100.0


def test_wrong_answers_roll_back_by_themselves_though_the_agent_is_killed(served, clients, weights):
    moments = sorted(random.Random(3).uniform(0.5, 2.5) for _ in range(2))
    candidate = served.model(WRONG, evaluation=False)
    seen = weights(port_of(served.shown))
    load = clients(port_of(served.shown), labels=served.labels(served.shown.id))
    start(served, candidate, steps=[40.0], step_s=30.0, events=["error", "wrong"])
    kill_at(served, moments)
    ended = served.ended()
    load.finish()
    assert ended.state == "RolledBack" and ended.text.startswith("wrong predictions: harm"), ended
    assert (load.errors, load.broken) == ([], [])
    never_above_the_step(seen.finish(), ended.events)
    counted_once(served, len(load.told))
    assert [(one.role, one.weight) for one in served.serving().revisions] == [("stable", 100.0), ("idle", 0.0)]
    alerts = served.until(
        lambda: served.call("alert.list", filter="rule:rollout state:open"), lambda table: table.total > 0
    )
    assert alerts.total == 1 and "census v2 was rolled back: wrong predictions" in alerts.rows[0][-1]


def test_a_lease_that_nobody_renews_ends_and_a_new_agent_goes_on(home, tmp_path, monkeypatch, clients, request):
    monkeypatch.setenv("MLOPS_DEPLOY_LEASE_S", "2")
    yard = request.getfixturevalue("yard")
    shown = yard.serve(yard.model(GOOD, evaluation=False))
    port = port_of(shown)
    start(yard, yard.model(ALSO_GOOD, evaluation=False), steps=[50.0], step_s=60.0, events=["error"])
    yard.until(yard.rollout, lambda one: one.state == "Shifting")
    before = yard.serving()
    load = clients(port)
    time.sleep(2.5)
    assert set(load.told.values()) == {"v1", "v2"}, "a renewed lease does not end"
    yard.agent.kill()
    yard.until(lambda: yard.state(shown.id), lambda state: state["reverted"], within=6.0)
    mark = len(load.told)
    time.sleep(0.3)
    late = list(load.told.values())[mark + 5 :]
    assert late and set(late) == {"v1"}, "stable takes everything"
    yard.agent.start()
    yard.client = yard.agent.client()
    yard.until(lambda: yard.state(shown.id), lambda state: not state["reverted"], what="the lease is renewed")
    assert yard.serving().generation == before.generation
    assert yard.rollout().state == "Shifting"
    mark = len(load.told)
    yard.until(lambda: set(list(load.told.values())[mark + 5 :]), lambda labels: labels == {"v1", "v2"})
    yard.call("rollout.abort", rollout="census")
    assert yard.ended().state == "Aborted"
    load.finish()
    assert (load.errors, load.broken) == ([], [])


def test_a_shadow_has_no_say_and_a_version_that_cannot_be_loaded_no_traffic(served, clients, weights):
    candidate = served.model(WRONG, evaluation=False)
    seen = weights(port_of(served.shown))
    load = clients(port_of(served.shown), labels=served.labels(served.shown.id))
    start(served, candidate, strategy="shadow", step_s=30.0, events=["wrong"])
    assert served.ended().state == "RolledBack"
    assert set(load.told.values()) == {"v1"} and all(not any(shares.values()) for _, shares in seen.seen)
    assert served.rows("SELECT DISTINCT shadow FROM inference WHERE revision_no = 2 AND NOT chosen") == [[True]]

    start(served, served.model(ALSO_GOOD, evaluation=False), strategy="blue-green")
    ended = served.ended()
    assert ended.state == "Succeeded"
    assert any("warmed up by 100 replayed requests in" in event.text for event in ended.events)
    served.call("rollout.rollback", deployment="census")
    served.serving()
    told = len(load.told)

    start(served, served.registered(broken(served)), strategy="blue-green")
    ended = served.ended()
    load.finish()
    assert ended.state == "RolledBack" and "the servers refuse the new version" in ended.text
    assert (load.errors, load.broken, set(list(load.told.values())[told + 5 :])) == ([], [], {"v1"})
    seen.finish()
    assert served.serving().text == "serving"


def broken(yard):
    """Return a model file that no server can load."""
    path = yard.folder / "broken.onnx"
    nodes = [helper.make_node("NoSuchThing", ["features"], ["probability"], domain="nowhere")]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("features", TensorProto.FLOAT, ["b", 2])],
        [value("probability", TensorProto.FLOAT, ["b", 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("nowhere", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path
