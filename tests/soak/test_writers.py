"""kill -9 of agent and loggers while four processes log: the store holds what was written, once, and no run goes on.

``make soak`` does it for two minutes (``SOAK_SECONDS``; ``SOAK_SEED`` repeats its choices), the suite for a few kills.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import pytest

from mlops_tui.client import Client
from mlops_tui.spool.process import created_us

LOST_S = 10.0
"""Seconds after which a run of the SDK does not run any more whose process was killed."""
LOST_ON_THE_WIRE_S = 75.0


@pytest.fixture
def loggers(tmp_path, writers):
    folder = tmp_path / "loggers"
    folder.mkdir()
    made = [writers.Logger(f"logger-{at}", wire=at % 2 == 1, folder=folder) for at in range(4)]
    yield made
    for one in made:
        if one.process and one.process.poll() is None:
            one.end()


def under_fire(agent, loggers, rng, goes_on, victims):
    """Kill the agent or a logger, see it back, and again; return how often each was killed."""
    kills = Counter()
    for one in loggers:
        one.start()
    for one in loggers:
        one.logs(0)
    while goes_on(kills):
        time.sleep(rng.uniform(0.05, 1.0))
        victim = rng.choice([None, *victims])
        if victim is None:
            agent.kill()
            time.sleep(rng.uniform(0.0, 0.5))
            agent.start()
            kills["agent"] += 1
        else:
            before = len(victim.acknowledged)
            victim.end()
            victim.start()
            victim.logs(before)
            kills[victim.name] += 1
    return kills


def leave(client):
    """Stop the agent, whoever started it: a logger that found none may have been quicker than the test."""
    client.call("agent.stop")
    deadline = time.monotonic() + 30
    while created_us(client.hello.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.05)


def values(client, run):
    """Return each stored value of a run with how often it is there, read in pages."""
    found, last = [], -1
    while True:
        query = f"""SELECT value::BIGINT, count(*) FROM point JOIN series USING (sid)
                    WHERE owner = '{run}' AND key = 'value' AND value > {last} GROUP BY 1 ORDER BY 1"""
        page = client.call("sql.query", {"query": query, "limit": 50_000}).rows
        found += page
        if len(page) < 50_000:
            return found
        last = page[-1][0]


def check(client, loggers):
    """Compare the store with the ledgers: all that was acknowledged, at most one more for each death, nothing twice."""
    for one in loggers:
        rows = values(client, one.stored_id)
        stored, acknowledged = dict(rows), set(one.acknowledged)
        assert acknowledged, one.name
        assert not (lost := acknowledged - stored.keys()), f"{one.name} lost {len(lost)}: {sorted(lost)[:5]}"
        assert set(stored.values()) == {1}, f"{one.name}: {[v for v, n in stored.items() if n > 1][:5]} came twice"
        assert len(stored.keys() - acknowledged) <= one.attempts, one.name
    assert client.call("audit.verify").ok
    assert client.call("sql.query", {"query": "SELECT count(*) FROM quarantine"}).rows == [[0]]


def still_running(client, loggers):
    status = dict(client.call("sql.query", {"query": "SELECT id, status FROM run"}).rows)
    return [one.name for one in loggers if status.get(one.stored_id) == "running"]


def settle(client, loggers, within):
    deadline = time.monotonic() + within
    while names := still_running(client, loggers):
        assert time.monotonic() < deadline, f"{names} still run after {within:g} s"
        time.sleep(0.2)


def test_a_few_kills_while_four_processes_log(agent, loggers):
    seed = int(os.environ.get("SOAK_SEED", "5"))
    print(f"SOAK_SEED={seed}")
    rng = random.Random(seed)
    sdk = [one for one in loggers if not one.wire]
    kills = under_fire(agent, loggers, rng, lambda kills: kills["agent"] < 2 or kills.total() < 5, sdk)
    print(kills, [len(one.acknowledged) for one in loggers])
    for one in loggers:
        one.end(signal.SIGTERM if one.wire else signal.SIGKILL)
    with Client(agent.home, start=False) as client:
        settle(client, loggers, LOST_S)
        check(client, loggers)
        leave(client)


@pytest.mark.soak
def test_two_minutes_of_kills_while_four_processes_log(agent, loggers):
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(10**6))
    print(f"SOAK_SEED={seed}")
    rng, end = random.Random(seed), time.monotonic() + float(os.environ.get("SOAK_SECONDS", "120"))
    kills = under_fire(agent, loggers, rng, lambda _: time.monotonic() < end, loggers)
    print(kills, [len(one.acknowledged) for one in loggers])
    for one in loggers:
        one.end()
    with Client(agent.home, start=False) as client:
        settle(client, [one for one in loggers if not one.wire], LOST_S)
        settle(client, loggers, LOST_ON_THE_WIRE_S)
        check(client, loggers)
        leave(client)
