"""Random walks through a rollout: whatever people, servers and a dying agent do, its promises hold."""

import contextlib
import random
from itertools import pairwise

import pytest

from mlops_tui.core.errors import Conflict
from mlops_tui.deploy import traffic
from mlops_tui.deploy.rollout import clocks, machine, rollouts


def moves(before, after):
    return machine.legal(before, after) or any(machine.legal(before, after, word) for word in machine.WORDS)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_the_promises_hold(stage, seed):
    draw = random.Random(seed)
    stage.model(versions=2)
    stage.id = stage.serve()
    strategy = draw.choice(["canary", "canary", "blue-green", "shadow"])
    fast = {
        "steps": [10.0, 50.0],
        "step_s": 0.0,
        "look_s": 1e-9,
        "min_requests": 40,
        "strategy": strategy,
        "keep_old_s": 0.0,
        "events": ["error", "latency", "wrong"],
    }
    stage.call("rollout.start", deployment="census", model="census@2", **fast)
    harmful = draw.random() < 0.4

    def traffic_comes():
        for no, share in stage.split(stage.id).items():
            if share[1] or share[0] == "shadow":
                stage.judged(stage.id, no, 60, 40 if harmful and no == 2 else 6, shadow=share[0] == "shadow")

    def person():
        with contextlib.suppress(Conflict):
            stage.call(f"rollout.{draw.choice(['pause', 'resume', 'resume', 'promote', 'abort'])}", rollout="census")

    def agent_dies():
        clocks.clear()
        rollouts.MOVING.set()

    def servers_follow():
        stage.servers(stage.id)

    acts = [stage.turn] * 8 + [servers_follow] * 6 + [traffic_comes] * 4 + [agent_dies, person]
    generation = 0
    for _ in range(40):
        draw.choice(acts)()
        shown = stage.call("rollout.status", rollout="census")
        split = stage.split(stage.id)
        newest = stage.house.read(lambda s: traffic.current(s, stage.id)).generation
        assert newest >= generation
        generation = newest
        assert split.get(2, ("", 0.0))[1] <= shown.events[-1].weight
        assert sum(weight for _, weight in split.values()) == 100.0
        if shown.state in ("RolledBack", "Aborted", "Aborting", "RollingBack"):
            assert split == {1: ("stable", 100.0)}
        if shown.state == "Succeeded":
            assert split == {2: ("stable", 100.0)}
    for _ in range(12):
        traffic_comes(), stage.turn(), servers_follow()
        if stage.state() == "Paused":
            stage.call("rollout.resume", rollout="census")
    events = stage.call("rollout.status", rollout="census").events
    for one, after in pairwise(events):
        assert moves(one.state, after.state), [event.state for event in events]
    assert events[-1].state in machine.TERMINAL
    by_person = any(event.actor == "alice" and event.state in ("Aborting", "Promoting") for event in events)
    if not by_person and strategy != "blue-green":
        assert events[-1].state == ("RolledBack" if harmful else "Succeeded")
    looks = stage.rows("SELECT event, look, n_canary + n_stable FROM rollout_look ORDER BY ALL")
    assert [look for event, look, _ in looks if event == "wrong"] == list(
        range(sum(event == "wrong" for event, *_ in looks))
    )
    joined = stage.value("SELECT count(*) FROM inference i JOIN label l USING (deployment_id, request_id)")
    assert stage.value("SELECT count(*) FROM outcome") == joined
