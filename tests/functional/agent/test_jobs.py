"""Jobs of a real agent: they succeed, fail with a reason, die and begin again, stop with grace, and outlive it."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from mlops_tui.core.errors import Conflict, MlopsError, NotFound
from mlops_tui.spool.process import created_us


@pytest.fixture
def client(agent):
    return agent.client()


@pytest.fixture
def train(client, tmp_path):
    """A function that starts a script as a job and returns its id."""

    def start(source: str, name: str = "work", **wishes) -> str:
        script = tmp_path / f"{name}.py"
        script.write_text(source)
        return client.call("job.train", {"script": str(script), "name": name, **wishes}).job

    return start


@pytest.fixture
def ended(client, until):
    """A function that waits for a job's end and returns the job."""

    def wait(job: str):
        def over():
            found = client.call("job.show", {"job": job})
            return found if found.status not in ("queued", "running") else None

        return until(over, 60)

    return wait


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(one) for one in file.read().split()]


def lines(client, job: str) -> list[str]:
    return client.call("job.log", {"job": job}).lines


def at_work(client, until, job: str, word: str = "working") -> tuple[int, int]:
    """Wait until a job has said a word; return the pids of its supervisor and its child."""
    until(lambda: word in lines(client, job), 60)
    runner = client.call("job.show", {"job": job}).pid
    return runner, children(runner)[0]


def test_a_job_succeeds_with_its_log_its_run_and_its_use(client, train, ended, until):
    job = train(
        "import os, sys, mlops_tui as mlops\n"
        "with mlops.start_run() as run: run.log({'loss': 0.5}, step=1)\n"
        "print('nice', os.nice(0)); print('broken \\udc80'.encode('utf-8', 'surrogateescape'), file=sys.stderr)\n"
        "sum(i * i for i in range(3_000_000))\n",
        experiment="jobs",
    )
    done = ended(job)
    assert (done.status, done.exit_code, done.error, done.attempt) == ("done", 0, None, 1)
    run = client.call("run.show", {"run": done.run})
    assert (run.status, run.experiment, run.name) == ("done", "jobs", "work")
    until(lambda: len(lines(client, job)) == 2)
    assert f"nice {os.nice(0)}" in lines(client, job), "a job does not pay for the agent's manners"
    used = client.call("sql.query", {"query": f"SELECT cpu_s FROM job WHERE id = '{job}'"}).rows[0][0]
    assert 0.05 < used < 60
    with pytest.raises(Conflict, match="is done already"):
        client.call("job.stop", {"job": job})


def test_what_a_job_leaves_behind_ends_with_it(train, ended, client, until):
    source = (
        "import subprocess, sys\n"
        "rest = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], stdout=subprocess.DEVNULL)\n"
        "print(rest.pid)\nraise SystemExit(3)"
    )
    job = train(source)
    assert ended(job).status == "failed"
    until(lambda: len(lines(client, job)) == 2)
    pid, told = lines(client, job)
    assert created_us(int(pid)) is None and told == "ended 1 process that the job left behind"


def test_a_failing_job_says_why(client, train, ended, until):
    job = train("print('on the way'); raise SystemExit(3)")
    failed = ended(job)
    assert (failed.status, failed.exit_code, failed.attempt) == ("failed", 3, 1)
    assert failed.error["why"] == "exit code 3" and "mlops job log" in failed.error["fix"]
    attention = until(lambda: [one for one in client.call("home.show").attention if one.link == f"job:{job}"])
    assert attention[0].severity == "fail" and "exit code 3" in attention[0].text
    again = ended(train("print('well')"))
    assert again.status == "done"
    until(lambda: not [one for one in client.call("home.show").attention if one.link == f"job:{job}"])


def test_the_error_of_a_worker_travels_whole(client, tmp_path):
    file = tmp_path / "broken.csv"
    file.write_bytes(b"\x00\x01\x02 not a table" * 50)
    with pytest.raises(MlopsError) as refused:
        client.run_job("data.add", {"name": "broken", "path": str(file)})
    assert refused.value.exit_code == 2 and str(file.name) in str(refused.value)


def test_a_script_that_is_not_there(client, tmp_path):
    with pytest.raises(NotFound, match="there is no script"):
        client.call("job.train", {"script": str(tmp_path / "none.py")})


def test_a_child_that_is_killed_begins_again(client, train, ended, until, tmp_path):
    flag = tmp_path / "second"
    job = train(
        f"import os, time\nprint('working', flush=True)\nif not os.path.exists({str(flag)!r}): time.sleep(60)\n",
        retries=1,
    )
    _, child = at_work(client, until, job)
    flag.touch()
    os.kill(child, signal.SIGKILL)
    done = ended(job)
    assert (done.status, done.attempt) == ("done", 2)
    events = client.call("event.list", {"filter": "topic:job"})
    text = [column.name for column in events.columns].index("text")
    told = [row[text] for row in events.rows]
    assert any("begins again: ended by SIGKILL" in text for text in told)


def test_a_child_that_is_killed_once_too_often_has_failed(client, train, ended, until):
    job = train("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", retries=1)
    failed = ended(job)
    assert (failed.status, failed.exit_code, failed.attempt) == ("failed", -9, 2)
    assert failed.error["why"] == "ended by SIGKILL"


def test_a_supervisor_that_is_killed_is_lost_and_its_child_is_ended(client, train, ended, until):
    """The child prints nothing, so that no broken pipe ends it: somebody has to."""
    job = train("import time\nprint('working', flush=True)\ntime.sleep(120)")
    runner, child = at_work(client, until, job)
    os.kill(runner, signal.SIGKILL)
    lost = ended(job)
    assert lost.status == "lost" and lost.error["why"] == "its supervisor died"
    until(lambda: created_us(child) is None)


def test_a_supervisor_that_is_killed_begins_again_once_its_child_is_gone(client, train, ended, until, tmp_path):
    """Two attempts at once would write the same checkpoint: the second says what it finds of the first."""
    flag = tmp_path / "pid"
    job = train(
        "import os, signal, sys, time\n"
        f"flag = {str(flag)!r}\n"
        "if os.path.exists(flag):\n"
        "    print('alive' if os.path.exists(f'/proc/{open(flag).read()}/exe') else 'gone'); sys.exit()\n"
        "def leave(*_):\n    time.sleep(1); open(os.environ['MLOPS_CKPT_DIR'] + '/kept', 'w'); os._exit(75)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "open(flag, 'w').write(str(os.getpid()))\n"
        "print('working', flush=True)\n"
        "while True: time.sleep(0.1)\n",
        retries=1,
    )
    runner, _ = at_work(client, until, job)
    os.kill(runner, signal.SIGKILL)
    done = ended(job)
    assert (done.status, done.attempt) == ("done", 2)
    until(lambda: "gone" in lines(client, job))
    assert "alive" not in lines(client, job)
    assert (client.home.jobs / job / "checkpoints" / "kept").exists(), "it was asked first, and given time"


def test_a_job_that_is_stopped_may_write_its_checkpoint(client, train, ended, until):
    job = train(
        "import os, signal, sys, time\n"
        "def leave(*_):\n"
        "    open(os.environ['MLOPS_CKPT_DIR'] + '/kept', 'w'); print('checkpoint', flush=True); os._exit(75)\n"
        "signal.signal(signal.SIGTERM, leave)\nprint('working', flush=True)\n"
        "while True: time.sleep(0.1)\n",
        retries=3,
    )
    at_work(client, until, job)
    assert client.plan("job.stop", {"job": job}).changes[0].after == "killed"
    client.call("job.stop", {"job": job})
    stopped = ended(job)
    assert (stopped.status, stopped.exit_code, stopped.attempt) == ("killed", 75, 1)
    until(lambda: "checkpoint" in lines(client, job))
    assert (client.home.jobs / job / "checkpoints" / "kept").exists()


def test_a_job_that_does_not_stop_is_killed_after_its_grace(unborn, until):
    client = unborn.start(MLOPS_JOBS_GRACE_S="1").client()
    script = client.home.data / "deaf.py"
    script.write_text(
        "import signal, subprocess, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "helper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)'])\n"
        "print('helper', helper.pid, flush=True)\nprint('working', flush=True)\ntime.sleep(120)\n"
    )
    job = client.call("job.train", {"script": str(script)}).job
    at_work(client, until, job)
    helper = int(next(line.split()[1] for line in lines(client, job) if line.startswith("helper")))
    client.call("job.stop", {"job": job})
    until(lambda: client.call("job.show", {"job": job}).status == "killed")
    assert client.call("job.show", {"job": job}).exit_code == -9
    until(lambda: created_us(helper) is None)


def test_a_queued_job_is_taken_out_of_the_queue(client, train, until):
    first = train("import time\nprint('working', flush=True)\ntime.sleep(60)", "first")
    at_work(client, until, first)
    second = train("print('never')", "second")
    assert client.call("job.show", {"job": second}).status == "queued", "one training at once, unless told otherwise"
    client.call("job.stop", {"job": second})
    assert client.call("job.show", {"job": second}).status == "killed"
    client.call("job.stop", {"job": first})
    until(lambda: client.call("job.show", {"job": first}).status == "killed")
    assert lines(client, second) == []


def test_a_job_outlives_the_agent_and_is_found_again(agent, train, until, tmp_path):
    flag = tmp_path / "go"
    job = train(
        f"import os, time\nprint('working', flush=True)\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.05)\n"
        "print('at last')\n"
    )
    client = agent.client()
    runner, child = at_work(client, until, job)
    agent.kill()
    assert created_us(child) is not None
    agent.start()
    client = agent.client()
    assert client.call("job.show", {"job": job}).pid == runner
    agent.stop()
    flag.touch()
    until(lambda: created_us(runner) is None)
    agent.start()
    client = agent.client()
    until(lambda: client.call("job.show", {"job": job}).status == "done")
    assert lines(client, job) == ["working", "at last"], "nothing is lost and nothing comes twice"
    assert client.call("job.show", {"job": job}).attempt == 1
    assert client.call("audit.verify").ok


def test_a_users_program_is_not_given_the_key(agent, home, until, tmp_path):
    agent.stop()
    agent.start(MLOPS_STORE_KEY="c2VjcmV0", CREDENTIALS_DIRECTORY="/run/credentials/mlops")
    client = agent.client()
    script = tmp_path / "tell.py"
    script.write_text(
        "import os\nprint(sorted(set(os.environ) & {'MLOPS_STORE_KEY', 'CREDENTIALS_DIRECTORY', 'PATH'}))"
    )
    job = client.call("job.train", {"script": str(script)}).job
    until(lambda: lines(client, job))
    assert lines(client, job) == ["['PATH']"]


def test_the_trail_of_all_this_verifies(client, train, ended):
    before = client.call("audit.verify").records
    jobs = [train("raise SystemExit(1)", f"job{n}") for n in range(3)]
    assert {ended(job).status for job in jobs} == {"failed"}
    verdict = client.call("audit.verify")
    assert verdict.ok and verdict.records == before + 3
    assert {row[3] for row in client.call("audit.list").rows} == {"job.train"}
    assert sys.executable in client.call("job.show", {"job": jobs[0]}).command


def test_what_a_training_uses_is_beside_its_curves_though_the_script_does_not_ask(client, train, ended, until):
    job = train(
        "import time, mlops_tui as mlops\nwith mlops.start_run() as run:\n"
        "    run.log({'loss': 1.0})\n    end = time.monotonic() + 1.5\n    while time.monotonic() < end: pass\n"
    )
    run = ended(job).run
    shown = until(lambda: (found := client.call("run.show", {"run": run})).system and found)
    told = {metric.key: metric for metric in shown.system}
    assert told["system/cpu"].last > 5 and told["system/memory_mb"].last > 5 and told["system/cpu"].n == 1
    assert [metric.key for metric in shown.metrics] == ["loss"]
    curves = client.call("run.curve", {"run": run, "keys": ["system/"]}).curves
    assert {curve.key for curve in curves} == told.keys()
    assert [curve.key for curve in client.call("run.curve", {"run": run}).curves] == ["loss"]


def test_a_script_that_knows_nothing_of_runs_has_one_when_it_is_over(client, train, ended, until):
    for source, status, why in (
        ("import time; print('plain'); time.sleep(2.4)", "done", ""),
        ("import sys; print('broken'); sys.exit(3)", "failed", "exit code 3"),
    ):
        job = ended(train(source, name=status, experiment="plain"))
        run = until(lambda job=job: [row for row in client.call("run.list").rows if row[0] == job.run])
        shown = client.call("run.show", {"run": run[0][0]})
        assert (shown.name, shown.status, shown.error, shown.experiment) == (status, status, why, "plain")
        assert shown.job == job.id and shown.command.endswith(f"{status}.py")
        assert client.call("run.log", {"run": job.run}).lines == ["plain" if status == "done" else "broken"]
    assert "system/cpu" in {metric.key for metric in client.call("run.show", {"run": "done"}).system}
    assert client.call("run.list").total == 2
