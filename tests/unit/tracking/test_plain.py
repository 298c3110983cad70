"""A training job whose script says nothing of its run has one all the same, once it is over."""

from __future__ import annotations

from mlops_tui.core.clock import HOUR, now_us
from mlops_tui.core.ids import uuid7
from mlops_tui.spool.writer import Writer
from mlops_tui.tracking.life import plain


def job(desk, **values):
    run, now = uuid7(), now_us()
    spec = '{"argv": ["python", "train.py"], "env": {"MLOPS_EXPERIMENT": "plain"}}'
    times = {"started_us": now - 2_000_000, "ended_us": now}
    desk.job(kind="train", name="t", spec=spec, run_id=run, **{"status": "done", **times, **values})
    return run


def turn(desk):
    desk.house.memo.forget()
    plain.turn(desk.house)


def test_it_is_made_once_and_as_its_job_ended(desk):
    error = '{"why": "exit code 3"}'
    done, failed = job(desk), job(desk, status="failed", error=error)
    for _ in range(2):
        turn(desk)
    shown = [desk.call("run.show", run=run) for run in (done, failed)]
    assert [(one.status, one.error, one.experiment) for one in shown] == [
        ("done", "", "plain"),
        ("failed", "exit code 3", "plain"),
    ]
    assert shown[0].command == "python train.py" and shown[0].ended - shown[0].started == 2_000_000
    assert desk.call("run.list").total == 2


def test_whoever_speaks_for_itself_is_waited_for(desk):
    running, old = job(desk, status="running", ended_us=None), job(desk, ended_us=now_us() - 2 * HOUR)
    spoken = job(desk)
    writer = Writer(desk.spool, spoken, run={"experiment": "own", "name": "own words"})
    turn(desk)
    assert desk.call("run.list").total == 0
    writer.end("done")
    desk.take()
    turn(desk)
    assert [row[1] for row in desk.call("run.list").rows] == ["own words"]
    assert not {running, old} & {row[0] for row in desk.call("run.list").rows}


def test_what_was_removed_for_good_does_not_come_back(desk):
    run = job(desk)
    turn(desk)
    desk.call("run.delete", run=run)
    assert desk.call("gc.run", older_than="0d").text == "remove 1 run for good"
    turn(desk)
    assert desk.rows("SELECT count(*) FROM run")[0][0] == 0
