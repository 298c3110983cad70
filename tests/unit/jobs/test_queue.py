"""The queue: lanes, and how an attempt ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import msgspec
import pytest

from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.door import Caller, Context
from mlops_tui.jobs import leftover, queue, start_job
from mlops_tui.jobs.runner import _environment, _ours, _reason
from mlops_tui.jobs.spec import Spec
from mlops_tui.spool.process import created_us


@pytest.fixture
def jobs(house):
    class Jobs:
        def add(self, name="job", **wishes):
            def write(session):
                ctx = Context(house, Caller("amal", os.getuid()), session)
                return start_job(ctx, **{"kind": "data.add", "name": name, "module": "mlops_tui.none", **wishes})

            return house.store.write(write)

        def rows(self):
            return house.read(
                lambda s: s.dicts(
                    "SELECT *, epoch_us(started) AS began FROM job"
                    " WHERE status IN ('queued', 'running') ORDER BY created"
                )
            )

        def of(self, job):
            return house.read(lambda s: s.dict("SELECT * FROM job WHERE id = ?", [job]))

        def begin(self, job, **values):
            values = {"status": "running", "attempt": 1, **values}
            columns = ", ".join(f"{key} = ?" for key in values)
            house.store.write(lambda s: s.execute(f"UPDATE job SET {columns} WHERE id = ?", [*values.values(), job]))

        def end(self, job, status, code, why=""):
            house.store.write(lambda s: queue.end(Context(house, Caller.system(), s), job, status, code, why))
            return self.of(job)

    return Jobs()


def test_who_gives_an_attempt_up_means_that_one_and_no_later_one(house, jobs):
    job = jobs.add(retries=1)
    jobs.begin(job)
    (seen,) = jobs.rows()
    jobs.end(job, "failed", -9)
    jobs.begin(job, attempt=2)
    queue._give_up(house, seen, "its supervisor died")
    assert (jobs.of(job)["status"], jobs.of(job)["attempt"]) == ("running", 2)
    queue._give_up(house, jobs.rows()[0], "its supervisor died")
    assert jobs.of(job)["status"] == "lost"


def test_a_job_is_put_down_whole(house, jobs):
    job = jobs.add("census", request={"path": "x"}, env={"A": "1"}, run_id="r", retries=5)
    row = jobs.of(job)
    spec = msgspec.json.decode(row["spec"], type=Spec)
    assert (row["status"], row["attempt"], row["retries"], row["actor"], row["run_id"]) == ("queued", 0, 5, "amal", "r")
    assert (
        spec.argv == [sys.executable, "-m", "mlops_tui.none"] and spec.request == {"path": "x"} and spec.env["A"] == "1"
    )
    assert spec.grace_s == 20.0


def test_lanes_are_filled_in_order_and_never_over(house, jobs):
    work = [jobs.add(f"w{n}") for n in range(4)]
    train = [jobs.add(f"t{n}", lane="train") for n in range(3)]
    assert {row["id"] for row in queue._next(house, jobs.rows())} == {work[0], work[1], train[0]}
    jobs.begin(work[0])
    jobs.begin(train[0])
    assert {row["id"] for row in queue._next(house, jobs.rows())} == {work[1]}
    jobs.begin(work[1])
    assert queue._next(house, jobs.rows()) == []


@pytest.mark.parametrize(
    ("status", "code", "handed_in", "attempt", "wanted"),
    [
        ("done", 0, False, 1, "done"),
        ("failed", 1, False, 1, "queued"),
        ("failed", 1, True, 1, "failed"),
        ("failed", -9, False, 1, "queued"),
        ("failed", -9, True, 1, "queued"),
        ("lost", None, False, 1, "queued"),
        ("lost", None, False, 2, "lost"),
        ("killed", 75, False, 1, "killed"),
    ],
)
def test_who_died_begins_again_and_who_failed_with_a_reason_does_not(jobs, status, code, handed_in, attempt, wanted):
    """A worker that handed in an error would hand it in again; a process that vanished may do better."""
    job = jobs.add(retries=1)
    jobs.begin(job, attempt=attempt, error='{"code": "MLOPS-E0200"}' if handed_in else None)
    row = jobs.end(job, status, code, "why")
    assert row["status"] == wanted
    if wanted in ("failed", "lost", "killed"):
        error = msgspec.json.decode(row["error"])
        assert error["code"] == ("MLOPS-E0200" if handed_in else "MLOPS-E0001")
        assert row["ended"] is not None


def test_a_job_that_was_asked_to_stop_does_not_begin_again(house, jobs):
    job = jobs.add(retries=5)
    jobs.begin(job)
    house.store.write(lambda s: s.execute("UPDATE job SET stopping = make_timestamp(?)", [now_us()]))
    assert jobs.end(job, "lost", None)["status"] == "lost"
    assert jobs.end(job, "done", 0)["status"] == "lost", "what has ended stays as it ended"


def test_a_supervisor_that_never_came_up(house, jobs, monkeypatch):
    job = jobs.add(retries=0)
    began = now_us() - (queue.UNBORN_S + 1) * SECOND
    jobs.begin(job)
    house.store.write(lambda s: s.execute("UPDATE job SET started = make_timestamp(?)", [began]))
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setitem(queue._children, job, child)
    queue._look_after(house, jobs.rows()[0])
    assert jobs.of(job)["status"] == "running", "it is only slow"
    child.kill()
    child.wait()
    monkeypatch.delitem(queue._children, job)
    queue._look_after(house, jobs.rows()[0])
    assert jobs.of(job)["status"] == "lost"


def test_the_key_goes_to_our_own_workers_only(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_STORE_KEY", "secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    ours = Spec(job="j", name="n", kind="k", argv=[sys.executable, "-m", "mlops_tui.data.worker"], run="r")
    theirs = Spec(job="j", name="n", kind="k", argv=[sys.executable, "train.py"], env={"A": "1"})
    assert _ours(ours) and not _ours(theirs)
    assert not _ours(Spec(job="j", name="n", kind="k", argv=[sys.executable, "-m", "mlops_tuition"]))
    given = _environment(ours, tmp_path, {"train-set": 7})
    assert given["MLOPS_STORE_KEY"] == "secret" and given["MLOPS_DATA_TRAIN_SET"] == "/dev/fd/7"
    assert (given["MLOPS_JOB_ID"], given["MLOPS_RUN_ID"], given["MLOPS_GRACE_S"]) == ("j", "r", "20")
    kept = _environment(theirs, tmp_path, {})
    assert not {"MLOPS_STORE_KEY", "CREDENTIALS_DIRECTORY", "MLOPS_RUN_ID"} & kept.keys() and kept["A"] == "1"


def test_an_exit_is_told_in_words():
    assert (_reason(3), _reason(-9)) == ("exit code 3", "ended by SIGKILL")


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def child_of(source):
    made = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, process_group=0)
    assert made.stdout.readline() == b"up\n"
    return made


def test_a_leftover_child_is_asked_then_killed(tmp_path):
    polite = child_of("import time; print('up', flush=True); time.sleep(60)")
    leftover.note(tmp_path, polite.pid)
    assert leftover.left(tmp_path) == polite.pid
    leftover.end(tmp_path, 10)
    assert polite.wait(5) == -15 and leftover.left(tmp_path) is None
    deaf = child_of(DEAF)
    leftover.note(tmp_path, deaf.pid)
    began = time.monotonic()
    leftover.end(tmp_path, 0.3)
    assert deaf.wait(5) == -9 and 0.3 < time.monotonic() - began < 5


def test_a_recycled_pid_is_left_alone(tmp_path):
    other = child_of("import time; print('up', flush=True); time.sleep(60)")
    leftover.note(tmp_path, other.pid)
    note = tmp_path / "child.json"
    told = msgspec.json.decode(note.read_bytes())
    note.write_bytes(msgspec.json.encode({**told, "created": told["created"] - 10 * SECOND}))
    leftover.end(tmp_path, 0.1)
    note.write_bytes(b"torn")
    leftover.end(tmp_path, 0.1)
    note.unlink()
    leftover.end_soon(tmp_path, 0.1)
    assert other.poll() is None
    other.kill()
    other.wait()


PARENT = """
import subprocess, sys
rest = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE)
rest.stdout.readline()
print("up", rest.pid, flush=True)
"""


@pytest.mark.parametrize("ended_by", ["the supervisor", "the next one"])
def test_what_a_dead_child_left_running_is_ended(tmp_path, ended_by):
    child = subprocess.Popen([sys.executable, "-c", PARENT.format(child=DEAF)], stdout=subprocess.PIPE, process_group=0)
    leftover.note(tmp_path, child.pid)
    rest = int(child.stdout.readline().split()[1])
    child.wait(10)
    assert leftover.left(tmp_path) is None and created_us(rest) is not None
    if ended_by == "the supervisor":
        assert leftover.end_group(child.pid, 0.1) == 1
    else:
        leftover.end(tmp_path, 0.1)
    deadline = time.monotonic() + 10
    while created_us(rest) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert leftover.end_group(child.pid, 0.1) == 0
