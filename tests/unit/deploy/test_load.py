"""What deployments do right now by their counters, and what they did lately by their inference log."""

import json
import os
import time

import pytest

from mlops_tui.core.clock import MINUTE, now_us
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.deploy import curves
from mlops_tui.deploy.targets import load
from mlops_tui.serving.deployment import COUNTERS, STATE
from mlops_tui.serving.record.counters import Count, Counters, Gauge


@pytest.fixture
def served(stage):
    """A deployment, and the counters and state that its one worker would write."""
    stage.model(versions=2)
    folder = stage.house.home.deployments / stage.serve()
    folder.mkdir(exist_ok=True)
    worker = {"slot": 0, "process": {"pid": os.getpid()}, "ready": True, "restarts": 1}
    columns = [[0, "", "none"], [1, "r1", "v1"], [2, "r2", "v2"]]
    (folder / STATE).write_text(json.dumps({"workers": [worker], "columns": columns}))
    return Counters(folder / COUNTERS, 1)


def test_a_deployment_without_servers_has_no_load(stage):
    stage.model()
    stage.serve()
    told = stage.call("deploy.load", deployment="census")
    assert (told.requests_s, told.memory, told.workers, told.revisions) == (None, None, [], [])
    with pytest.raises(NotFound):
        stage.call("deploy.load", deployment="moon")


def test_counters_are_told_by_revision_and_as_rates(stage, served):
    slot = served.slot(0)
    slot.observe(1, Count.OK, [4] * 30, [60_000] * 30)
    slot[Gauge.CONNECTIONS] = 7
    load.turn(stage.house)
    (kept,) = load._samples.values()
    kept[0] = kept[0]._replace(at=time.monotonic() - 10)  # as if it had been ten seconds ago
    slot.observe(1, Count.OK, [1] * 50, [60_000] * 50)
    slot.observe(2, Count.MODEL_ERROR, [1] * 10, [60_000] * 10)
    told = stage.call("deploy.load", deployment="census")
    one, two = told.revisions
    assert (one.revision, one.requests, one.rows, two.model_errors) == ("v1", 80, 170, 10)
    assert [round(rate, 1) for rate in (one.requests_s, two.errors_s, told.requests_s)] == [5.0, 1.0, 6.0]
    (worker,) = told.workers
    assert (worker.pid, worker.connections, worker.restarts) == (os.getpid(), 7, 1)
    assert worker.memory > 10_000_000 and told.connections == 7


def test_who_listens_hears_of_traffic_and_nobody_of_silence(stage, served):
    heard = []
    leave = stage.house.feed.listen(lambda event: heard.append(event.topic))
    load.turn(stage.house)
    load.turn(stage.house)
    assert heard.count("traffic") == 1
    served.slot(0).count(1, Count.OK)
    load.turn(stage.house)
    leave()
    assert heard.count("traffic") == 2


def test_curves_take_up_what_came_since(stage):
    stage.model(versions=2)
    deployment = stage.serve()
    stage.call("rollout.start", deployment="census", model="census@2")
    now = now_us()
    stage.answer(deployment, 1, [0.5] * 40, at=now - 3 * MINUTE)
    stage.fail(deployment, 2, 5)
    asked = {"deployment": "census", "minutes": 10, "points": 10}
    first = stage.call("deploy.curves", **asked)
    assert first.width_s == 60.0 and [p.requests for p in first.points if p.revision == "v1"] == [40]
    sums = next(reversed(curves._kept.values()))
    mark = sums.mark
    stage.answer(deployment, 2, [0.5] * 15)
    stage.answer(deployment, 1, [0.5] * 9, at=now - 30 * MINUTE)  # before what is asked for
    again = stage.call("deploy.curves", **asked)
    canary = [p for p in again.points if p.revision == "v2"]
    assert (sum(p.requests for p in canary), sum(p.errors for p in canary)) == (20, 5)
    assert [p.requests for p in again.points if p.revision == "v1"] == [40] and sums.mark > mark
    assert again.points == stage.call("deploy.curves", **asked).points
    assert all(0.2 < p.p50_ms <= p.p95_ms < 2.1 for p in again.points if p.revision == "v1")


def test_curves_of_a_fixed_time_hold_only_that_time(stage):
    stage.model()
    deployment = stage.serve()
    now = now_us()
    for minutes in (1, 5, 9):
        stage.answer(deployment, 1, [0.5] * minutes, at=now - minutes * MINUTE)
    told = stage.call("deploy.curves", deployment="census", since=now - 7 * MINUTE, until=now - 3 * MINUTE)
    assert [p.requests for p in told.points] == [5]
    with pytest.raises(BadInput):
        stage.call("deploy.curves", deployment="census", since=now, until=now - 1)
