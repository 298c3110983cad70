"""The agent's life: who starts it, that there is one, how it ends, and that its death loses nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlops_tui.client import Client
from mlops_tui.client.start import hello
from mlops_tui.core.errors import Unreachable

LOG_A_RUN = """
import sys, time
import mlops_tui as mlops
with mlops.start_run(experiment="life", name=sys.argv[1]) as run:
    for step in range(int(sys.argv[2])):
        run.log({"loss": 1 / (step + 1)}, step=step)
    print(run.id, flush=True)
"""


def log_a_run(name: str, steps: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LOG_A_RUN, name, str(steps)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.split()[-1]


def points(client, run: str) -> int:
    logged = f"owner = '{run}' AND key NOT LIKE 'system/%'"
    return client.call("sql.query", {"query": f"SELECT coalesce(sum(n), 0)::BIGINT FROM series WHERE {logged}"}).rows[
        0
    ][0]


def test_a_client_starts_the_agent_and_is_told_of_the_new_key(home, stop):
    with pytest.raises(Unreachable) as refused:
        Client(home, start=False)
    assert "mlops agent start" in refused.value.fix
    client = Client(home)
    assert "key" in client.hello.notice, "a new key file is announced to whoever began the store"
    assert client.call("agent.status").pid == client.hello.pid != os.getpid()
    assert Client(home).hello.notice == "", "and only once"
    assert os.stat(home.socket).st_mode & 0o777 == 0o600
    assert os.getsid(client.hello.pid) != os.getsid(0), "a closed terminal does not take it along"


LOG_RUNS = """
import mlops_tui as mlops
for number in range(40):
    with mlops.start_run(experiment="life", name=str(number)) as run:
        for step in range(2000):
            run.log({"loss": 1.0}, step=step)
"""


def test_the_first_answer_knows_what_was_logged_without_an_agent(home, stop):
    subprocess.run([sys.executable, "-c", LOG_RUNS], capture_output=True, timeout=60, check=True)
    with pytest.raises(Unreachable):
        Client(home, start=False)
    listed = Client(home).call("run.list")
    assert listed.total == 40 and {row[3] for row in listed.rows} == {"done"}


def test_clients_that_come_at_once_start_one_agent(home, stop):
    with ThreadPoolExecutor(6) as pool:
        pids = set(pool.map(lambda _: Client(home).hello.pid, range(6)))
    assert len(pids) == 1


def test_a_second_agent_is_refused_and_the_first_stays(agent):
    second = subprocess.run([sys.executable, "-m", "mlops_tui.agent"], capture_output=True, text=True, timeout=90)
    assert second.returncode == 6
    assert "another agent of this home is running" in second.stderr and "Traceback" not in second.stderr
    assert agent.client().call("agent.status").pid == agent.process.pid


def test_a_stale_socket_is_replaced(home, agent):
    agent.kill()
    assert home.socket.exists()
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as left:
        left.connect(str(home.socket))
    agent.start()
    assert agent.client().call("agent.status").pid == agent.process.pid


def test_what_was_acknowledged_before_a_kill_is_there_after_it(agent, until):
    client = agent.client()
    assert client.call("identity.create", {"name": client.call("home.show").user, "role": "admin"}).text
    run = log_a_run("before", 2000)
    until(lambda: points(client, run) == 2000)
    mapped = Path(f"/proc/{agent.process.pid}/maps").read_text()
    assert "duckdb" in mapped and "pandas" not in mapped, "of what MLflow brings along the agent takes nothing"
    agent.kill()
    late = log_a_run("while it was dead", 500)
    agent.start()
    client = agent.client()
    assert [row[1] for row in client.call("identity.list").rows] == ["admin"]
    until(lambda: points(client, late) == 500)
    assert points(client, run) == 2000, "nothing is lost and nothing is counted twice"
    assert client.call("audit.verify").ok


def test_killed_again_and_again_while_it_ingests_it_counts_everything_once(home, unborn, until):
    """The delays are from the agent's first answer; a million points take it about a second."""
    agent = unborn
    run = log_a_run("torn", 300_000)
    for delay in (0.0, 0.05, 0.2, 0.4):
        agent.start()
        time.sleep(delay)
        agent.kill()
    agent.start()
    client = agent.client()
    until(lambda: points(client, run) >= 300_000, 60)
    time.sleep(0.5)
    assert points(client, run) == 300_000
    logged = f"s.owner = '{run}' AND s.key NOT LIKE 'system/%'"
    count = f"SELECT count(*), count(DISTINCT step) FROM point p JOIN series s USING (sid) WHERE {logged}"
    assert client.call("sql.query", {"query": count}).rows == [[300_000, 300_000]]


def test_sigterm_takes_in_what_lies_in_the_spool_and_leaves(home, agent):
    os.kill(agent.process.pid, signal.SIGSTOP)
    run = log_a_run("last words", 3000)
    assert list((home.spool / run).glob("*.jsonl"))
    os.kill(agent.process.pid, signal.SIGTERM)
    os.kill(agent.process.pid, signal.SIGCONT)
    assert agent.process.wait(timeout=30) == 0
    assert not home.socket.exists()
    assert not (home.spool / run).exists(), "a file that was taken in, checkpointed and closed is deleted"
    assert home.store.joinpath("mlops.duckdb.wal").exists() is False
    agent.start()
    assert points(agent.client(), run) == 3000


def test_an_idle_agent_leaves_unless_it_was_told_to_stay(unborn):
    agent = unborn.start(MLOPS_AGENT_IDLE_EXIT_S="1")
    assert agent.process.wait(timeout=20) == 0
    agent.start("--stay", MLOPS_AGENT_IDLE_EXIT_S="1")
    assert agent.client().call("agent.status").stay
    with pytest.raises(subprocess.TimeoutExpired):
        agent.process.wait(timeout=2.5)


def test_somebody_who_listens_keeps_it_awake(unborn):
    agent = unborn.start(MLOPS_AGENT_IDLE_EXIT_S="3")  # long enough to begin to listen on a busy machine
    events = agent.client().events()
    next(events)
    with pytest.raises(subprocess.TimeoutExpired):
        agent.process.wait(timeout=5)
    events.close()
    assert agent.process.wait(timeout=20) == 0


def test_the_operation_stops_it_and_still_answers(home, agent):
    assert "drains" in agent.client().call("agent.stop").text
    assert agent.process.wait(timeout=20) == 0
    assert hello(home) is None
