"""Runs whose process is gone do not stay running; those that live are left alone."""

from __future__ import annotations

import json
import time

import pytest

from mlops_tui.core.clock import now_us
from mlops_tui.core.ids import uuid7
from mlops_tui.spool import writer as writer_module
from mlops_tui.spool.process import this_process
from mlops_tui.spool.writer import Writer
from mlops_tui.tracking.life import lost as lost_module
from mlops_tui.tracking.life.lost import lost


@pytest.fixture
def soon(monkeypatch):
    """No patience, so that a test need not wait."""
    monkeypatch.setattr(lost_module, "GRACE_S", 0.0)
    monkeypatch.setattr(lost_module, "SILENT_S", 0.0)
    monkeypatch.setattr(lost_module, "_since", {})
    monkeypatch.setattr(lost_module, "_heard", {})


def gone(desk, text="run = mlops.start_run(name='gone', params={'lr': 1})\nrun.log({'loss': 1.0})\n"):
    """Start a script that holds a run, and kill it."""
    script = desk.script(text + "print(run.id, flush=True)\ninput()")
    run = script.stdout.readline().strip()
    desk.take()
    assert desk.status(run) == "running"
    script.kill()
    script.wait()
    return run


def look(desk, times=2):
    for _ in range(times):
        lost(desk.house)


def test_a_killed_process_makes_its_run_lost(desk, soon):
    run = gone(desk)
    look(desk)
    shown = desk.call("run.show", run="gone")
    assert (shown.status, shown.error) == ("lost", "its process ended without a word")
    assert shown.started <= shown.ended <= now_us()
    assert desk.rows("SELECT action, text FROM event WHERE topic = 'run' AND object = ? ORDER BY seq", [run]) == [
        ("started", "gone started"),
        ("ended", "gone lost: its process ended without a word"),
    ]
    desk.script(f"mlops.start_run(resume='{run}').end()").wait(timeout=60)
    desk.take()
    assert desk.status(run) == "done"


def test_a_living_process_is_left_alone(desk, soon):
    run = desk.run()
    desk.take()
    look(desk, 3)
    assert desk.status(run.owner) == "running"
    run.end("done")


def test_what_is_not_read_yet_may_hold_the_end(desk, soon):
    run = gone(desk)
    [path] = (desk.spool / run).glob("*.jsonl")
    with open(path, "a") as file:
        file.write(json.dumps({"v": 1, "e": "end", "t": now_us(), "status": "done"}) + "\n")
    look(desk, 3)
    assert desk.status(run) == "running"
    desk.take()
    look(desk)
    assert desk.status(run) == "done"


def test_a_torn_last_line_is_not_waited_for(desk, soon):
    run = gone(desk)
    [path] = (desk.spool / run).glob("*.jsonl")
    with open(path, "a") as file:
        file.write('{"v":1,"e":"end","t":1')
    desk.take()
    look(desk)
    assert desk.status(run) == "lost"


def test_a_spool_that_cannot_be_read_does_not_keep_a_run_running_for_ever(desk, soon, monkeypatch):
    run = gone(desk)
    [path] = (desk.spool / run).glob("*.jsonl")
    with open(path, "a") as file:
        file.write('{"v":1,"e":"hb","t":1}\n')
    look(desk)
    assert desk.status(run) == "running"
    monkeypatch.setattr(lost_module, "STUCK_S", 0.0)
    look(desk)
    assert desk.status(run) == "lost"


def test_patience_is_needed_before_a_process_is_believed_gone(desk, soon, monkeypatch):
    run = gone(desk)
    monkeypatch.setattr(lost_module, "GRACE_S", 0.2)
    look(desk, 3)
    assert desk.status(run) == "running"
    time.sleep(0.25)
    look(desk)
    assert desk.status(run) == "lost"


def test_another_process_of_the_run_keeps_it_alive_by_its_heartbeats(desk, soon, monkeypatch):
    run = gone(desk)
    monkeypatch.setattr(lost_module, "SILENT_S", 60.0)
    look(desk, 3)
    assert desk.status(run) == "running"


def test_the_run_of_a_stopped_job_was_killed(desk, soon):
    run = gone(desk)
    job = desk.job(run_id=run, status="killed")
    desk.house.store.write(lambda s: s.execute("UPDATE run SET job_id = ? WHERE id = ?", [job, run]))
    look(desk)
    shown = desk.call("run.show", run=run)
    assert (shown.status, shown.error) == ("killed", "its job was stopped")


def test_a_job_that_is_over_knows_how_its_run_ended_and_needs_no_silence(desk, soon, monkeypatch):
    run = gone(desk)
    monkeypatch.setattr(lost_module, "SILENT_S", 60.0)
    job = desk.job(run_id=run, status="running", exit_code=-9)
    desk.house.store.write(lambda s: s.execute("UPDATE run SET job_id = ? WHERE id = ?", [job, run]))
    look(desk, 3)
    assert desk.status(run) == "running"
    desk.house.store.write(lambda s: s.execute("UPDATE job SET status = 'failed' WHERE id = ?", [job]))
    look(desk)
    shown = desk.call("run.show", run=run)
    assert (shown.status, shown.error) == ("killed", "its process was ended by SIGKILL")


@pytest.fixture
def wired(desk, soon):
    """A run as a client of the MLflow API makes one: ``wired(pid)`` returns its id."""

    def make(pid):
        return desk.call("run.create", name="wired", experiment="default", via="mlflow", pid=pid).id

    return make


def test_a_run_without_heartbeats_is_lost_when_its_client_is_gone_and_silent(desk, wired, monkeypatch):
    client = desk.script("input()")
    run = wired(client.pid)
    monkeypatch.setattr(lost_module, "UNHEARD_S", 0.0)
    look(desk, 3)
    assert desk.status(run) == "running", "it may log again any time"
    client.kill()
    client.wait()
    monkeypatch.setattr(lost_module, "UNHEARD_S", 60.0)
    look(desk, 3)
    assert desk.status(run) == "running", "another process may log to it"
    monkeypatch.setattr(lost_module, "UNHEARD_S", 0.0)
    look(desk)
    assert desk.status(run) == "lost"


def test_what_is_logged_to_a_run_without_heartbeats_is_a_sign_of_life(desk, wired, monkeypatch):
    run = wired(0)
    age = "UPDATE run SET started = make_timestamp(0), resumed = make_timestamp(0), heartbeat = make_timestamp(0)"
    desk.house.store.write(lambda s: s.execute(age))
    Writer(desk.spool, run, start=False).metrics({"loss": 1.0})
    desk.take()
    monkeypatch.setattr(lost_module, "ELSEWHERE_S", -1.0)
    look(desk, 3)
    assert desk.status(run) == "running", "24 hours begin with the last word"
    desk.house.store.write(lambda s: s.execute(age))
    look(desk)
    assert desk.status(run) == "lost"


def test_another_boot_means_lost_and_another_host_means_patience(desk, soon, monkeypatch):
    runs = [desk.run(name=name) for name in ("boot", "host")]
    desk.take()

    def move(session):
        session.execute("UPDATE run SET boot = 'before' WHERE name = 'boot'")
        session.execute("UPDATE run SET host = 'far' WHERE name = 'host'")

    desk.house.store.write(move)
    look(desk, 3)
    assert [desk.status(run.owner) for run in runs] == ["lost", "running"]
    monkeypatch.setattr(lost_module, "ELSEWHERE_S", 0.0)
    look(desk)
    assert desk.status(runs[1].owner) == "lost"
    for run in runs:
        run.end("done")


def test_a_heartbeat_within_the_silence_of_another_host_begins_it_anew(desk, soon, monkeypatch):
    run = desk.run(name="host")
    desk.take()
    desk.house.store.write(lambda s: s.execute("UPDATE run SET host = 'far'"))
    look(desk)
    run.heartbeat()
    desk.take()
    monkeypatch.setattr(lost_module, "ELSEWHERE_S", 0.0)
    look(desk, 1)
    assert desk.status(run.owner) == "running"
    run.end("done")


def test_a_clock_that_is_set_back_or_behind_does_not_hide_how_a_run_goes_on_and_ends(desk, soon, monkeypatch):
    """Found by an hour: heartbeats and the end seemed older than the start, and the run that went on well was lost."""
    run, hour = desk.run(name="back"), 3_600_000_000_000
    monkeypatch.setattr(writer_module, "time_ns", lambda: time.time_ns() - hour)
    run.metrics({"loss": 1.0})
    run.end("failed")
    desk.take()
    shown = desk.call("run.show", run="back")
    assert shown.status == "failed" and shown.started <= shown.ended
    monkeypatch.setattr(writer_module, "now_us", lambda: now_us() - hour // 1000)  # another host, an hour behind
    again = Writer(desk.spool, run.owner, run={"name": "other"}, after=shown.ended)
    desk.take()
    assert desk.status(run.owner) == "running"
    again.end("done")
    desk.take()
    after = desk.call("run.show", run="back")
    assert (after.status, after.started, after.name) == ("done", shown.started, "back")


def test_a_sign_from_the_future_keeps_no_run_running(desk, soon, monkeypatch):
    """Another host's clock is ahead, or this one's was set back: its hour would have to pass first."""
    runs = [desk.run(name=name, owner=uuid7()) for name in ("boot", "host")]
    for run in runs:
        run._ahead = 3_600_000_000
        run.heartbeat()
    desk.take()

    def move(session):
        session.execute("UPDATE run SET boot = 'before' WHERE name = 'boot'")
        session.execute("UPDATE run SET host = 'far' WHERE name = 'host'")

    desk.house.store.write(move)
    monkeypatch.setattr(lost_module, "ELSEWHERE_S", 0.0)
    look(desk)
    assert [desk.status(run.owner) for run in runs] == ["lost", "lost"]
    for run in runs:
        run.end("done")


def test_the_identity_in_the_store_is_the_one_of_the_process(desk):
    run = desk.run()
    desk.take()
    me = this_process()
    assert desk.rows("SELECT host, boot, pid, proc_created FROM run") == [
        (me["host"], me["boot"], me["pid"], me["created"])
    ]
    run.end("done")
