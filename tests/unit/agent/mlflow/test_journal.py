"""The journal: what was answered is there, over files that are left, by whoever reads."""

from __future__ import annotations

import asyncio
import errno

import pytest

from mlops_tui.agent.ingest import Ingestor
from mlops_tui.agent.mlflow import journal
from mlops_tui.agent.mlflow.wire import Wire


def log(wire, run, step):
    wire.post("runs/log-metric", run_id=run, key="m", value=step, timestamp=step, step=step)


def steps(wire, run):
    return [one["step"] for one in wire.get("metrics/get-history", run_id=run, metric_key="m").get("metrics", [])]


def files(house):
    return sorted((house.home.spool / "wire").glob("*.jsonl"))


def test_a_file_that_rests_or_grows_large_is_left_and_nothing_of_it_is_missed(wire, run, monkeypatch):
    log(wire, run, 0)
    monkeypatch.setattr(journal, "REST_S", 0.0)
    wire.house.journal.tick()
    log(wire, run, 1)
    monkeypatch.setattr(journal, "ROTATE_BYTES", 1)
    log(wire, run, 2)
    assert len(files(wire.house)) == 3
    assert steps(wire, run) == [0, 1, 2]


def test_files_that_are_left_are_deleted_once_the_log_is_folded(wire, run):
    log(wire, run, 0)
    wire.house.journal.close()
    wire.house.ingestor.drain()
    assert files(wire.house) == [], "nothing plain stays at rest"
    log(wire, run, 1)
    assert steps(wire, run) == [0, 1], "and what stood there is not asked for again"


def test_the_next_agent_takes_up_what_was_answered(wire, run):
    for step in range(5):
        log(wire, run, step)
    with files(wire.house)[0].open("ab") as torn:
        torn.write(b'{"v":1,"e":"m","t":5,"s":5,"m":{"m":5},"o":"')
    wire.house.ingestor = Ingestor(wire.house)
    while wire.house.ingestor.turn():
        continue
    found = wire.house.read(lambda session: session.rows("SELECT n, last_step FROM series WHERE key = 'm'"))
    assert found == [(5, 4)]


def test_a_disk_that_takes_nothing_is_an_error_and_the_next_call_begins_a_file(wire, run, monkeypatch):
    log(wire, run, 0)
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr("mlops_tui.spool.appender._write", lambda *_: (_ for _ in ()).throw(full))
        status, code, told = wire.refused("POST", "runs/log-metric", run_id=run, key="m", value=1, timestamp=1, step=1)
    assert (status, code) == (500, "INTERNAL_ERROR") and "disk" in told
    log(wire, run, 2)
    assert steps(wire, run) == [0, 2]


def test_who_changes_a_run_is_heard_before_the_next_record(wire, run):
    log(wire, run, 0)
    known = wire.house.journal._runs
    assert ("default", run) in known
    wire.post("runs/delete", run_id=run)
    assert ("default", run) not in known
    assert wire.refused("POST", "runs/log-metric", run_id=run, key="m", value=1, timestamp=1)[0] == 400
    wire.post("runs/restore", run_id=run)
    log(wire, run, 1)
    assert steps(wire, run) == [0, 1]


@pytest.mark.parametrize("many", [1, 50])
def test_runs_are_taken_in_together(wire, many):
    made = [wire.post("runs/create", experiment_id="0")["run"]["info"]["run_id"] for _ in range(many)]
    for run in made:
        wire.post("runs/log-batch", run_id=run, params=[{"key": "p", "value": run}], tags=[{"key": "t", "value": run}])
        log(wire, run, 7)
    wire.house.journal.drain()
    for run in made[:: max(1, many // 3)]:
        data = wire.get("runs/get", run_id=run)["run"]["data"]
        assert data["params"] == [{"key": "p", "value": run}] and data["metrics"][0]["step"] == 7


def test_a_body_that_comes_in_pieces_has_a_limit(house):
    application = Wire(house, behind=None)
    sent = []
    scope = {
        "type": "http", "method": "POST", "path": "/api/2.0/mlflow/runs/log-batch", "client": ("uid:0", 0),
        "headers": [], "query_string": b"",
    }  # fmt: skip

    async def receive():
        return {"type": "http.request", "body": b" " * 400_000, "more_body": True}

    async def send(message):
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    assert sent[0]["status"] == 400 and b"at most 1,000,000 bytes" in sent[1]["body"]
