"""At rest: a canary that was logged as parameter, tag, metric name, artifact and output is in no file in plain."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import duckdb
import pytest

from mlops_tui.client import Client
from mlops_tui.core.config import load
from mlops_tui.core.errors import NotAllowed
from mlops_tui.keys import open_keys
from mlops_tui.plugins.loader import key_sources
from mlops_tui.spool.process import created_us
from mlops_tui.store.engine import open_database
from mlops_tui.store.store import Store

pytestmark = pytest.mark.train
CANARY = "kanarie-3f9c1e7ab2"
SCRIPT = """
import pathlib, sys
import mlops_tui as mlops

word, spool = sys.argv[1], pathlib.Path(sys.argv[2])
with mlops.start_run(experiment=word, name=word, params={"secret": word}, tags={"mark": word}) as run:
    run.log_param(word, 1)
    for step in range(300):
        run.log({word: step / 7, "loss": 1 / (step + 1)}, step=step)
    run.log_artifact(word.encode() * 1000, path=f"notes/{word}.txt")
    print("said", word)
    plain = any(word.encode() in path.read_bytes() for path in spool.rglob("*.jsonl"))
    assert plain, "the spool is plain while it grows; otherwise this test finds nothing anywhere"
"""


def carriers(*folders):
    """Return the files below the folders that hold the canary, or are called so."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if CANARY in path.name or (path.is_file() and CANARY.encode() in path.read_bytes()):
                    found.append(path)
    return found


def wait_for(good, seconds, what):
    deadline = time.monotonic() + seconds
    while not good():
        assert time.monotonic() < deadline, f"waited {seconds} s until {what}"
        time.sleep(0.1)


@pytest.fixture
def demo(home):
    """The demo's agent after its first steps, as it is left with --keep."""
    command = [sys.executable, "-m", "mlops_tui.demo", "--headless", "--keep", "--until", "features"]
    subprocess.run([*command, "--home", str(home.data)], check=True, timeout=120, capture_output=True)
    yield home
    from mlops_tui.demo.stage import end_processes

    end_processes(home.data)


def test_nothing_at_rest_holds_the_canary_and_the_store_needs_its_key(demo, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    spool, store = demo.spool, demo.store / "mlops.duckdb"
    with Client() as client:
        _log(client, script, spool)
        # At a checkpoint the closed files go, while the agent runs.
        wait_for(lambda: not carriers(spool), 45, "the spool is folded into the store")
        assert not carriers(demo.data, demo.runtime)
        _log(client, script, spool)
        os.kill(client.hello.pid, signal.SIGKILL)
    assert store.with_suffix(".duckdb.wal").stat().st_size > 0
    assert all(spool in path.parents for path in carriers(demo.data, demo.runtime))
    with Client() as client:
        pid = client.hello.pid
        client.call("agent.stop")
    wait_for(lambda: created_us(pid) is None, 30, "the agent has left")
    key = open_keys(demo, load(where=demo), key_sources(), must_exist=True).store_key
    _back_up(demo, key)
    assert not carriers(demo.data, demo.runtime)
    for wrong in (None, "another key"):
        with pytest.raises(NotAllowed):
            open_database(store, wrong, memory_mb=200, threads=1)
    with pytest.raises(duckdb.Error):
        duckdb.connect(str(store), read_only=True)


def _log(client, script, spool):
    """Log the canary once from a script of its own and once from a supervised job, and wait until it is stored."""
    before = client.call("run.list", {"limit": 1, "filter": "status:done"}).total
    args = [CANARY, str(spool)]
    subprocess.run([sys.executable, str(script), *args], check=True, timeout=60, capture_output=True)
    client.run_job("job.train", {"script": str(script), "args": args, "name": CANARY, "experiment": CANARY})
    stored = {"limit": 1, "filter": "status:done"}
    wait_for(lambda: client.call("run.list", stored).total == before + 2, 20, "both runs are stored")
    wait_for(lambda: len(client.call("run.show", {"run": CANARY}).artifacts) == 1, 20, "its artifact is taken over")


def _back_up(home, key):
    """Write a backup as the store does, and make sure that the canary can be read with the key."""
    store = Store(home.store, key)
    try:
        store.backup(home.store / "backup.duckdb")
        with store.read() as session:
            assert session.value("SELECT count(*) FROM param WHERE value = ?", [CANARY]) == 4
            assert session.value("SELECT count(*) FROM series WHERE key = ?", [CANARY]) == 4
    finally:
        store.close()
    assert (home.store / "backup.duckdb").stat().st_size > 100_000
