"""The demo interrupted, refused and without what it needs: one clear message, the right exit code, nobody left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

from mlops_tui.demo.stage import MARK, end_processes

INTERRUPTED = "the demo was interrupted; what it started is ended; the next mlops demo begins afresh"
DEMO = [sys.executable, "-m", "mlops_tui.demo", "--headless"]


def processes(home):
    """Return the command lines of every process of a home, zombies aside."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("MLOPS_HOME") == str(home.data):
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


def start(home, *arguments):
    return subprocess.Popen(
        [*DEMO, "--home", str(home.data), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(home, *arguments, seconds=90, **environment):
    return subprocess.run(
        [*DEMO, "--home", str(home.data), *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, **environment},
    )


@pytest.mark.train
def test_a_second_demo_leaves_the_first_alone(home):
    first = start(home, "--until", "data")
    while not (home.data / MARK).exists():
        time.sleep(0.05)
    second = run(home)
    assert second.returncode == 6 and "a demo is running already" in second.stderr
    out, err = first.communicate(timeout=90)
    assert first.returncode == 0, out + err
    assert run(home, "--until", "data").returncode == 0  # the first is over: its home is cleared and used again


@pytest.mark.train
def test_an_interrupt_at_any_moment_is_one_message_and_leaves_nobody(home):
    rng = random.Random(int(os.environ.get("SOAK_SEED", "5")))
    for low, high in ((0.0, 1.5), (1.5, 6.0), (6.0, 16.0)):
        demo = start(home)
        time.sleep(moment := rng.uniform(low, high))
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=40)
        assert demo.returncode == 130, (moment, err)
        assert err.count("interrupted;") == 1 and "Traceback" not in err, (moment, err)
        assert not processes(home), moment
    again = run(home, "--until", "refusal")
    assert again.returncode == 0, again.stderr
    assert "3 of 3 steps ok" in again.stdout
    assert not processes(home)


@pytest.mark.train
def test_with_keep_an_interrupt_lets_the_agent_go_on_until_the_next_demo(home):
    demo = start(home, "--keep")
    until_said(demo, "ingest, version and validate data")
    demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=40)
    assert demo.returncode == 130 and "what it started goes on" in err
    assert any("mlops_tui.agent" in argv for argv in processes(home))
    end_processes(home.data)
    assert not processes(home)


def until_said(demo, text):
    for line in demo.stderr:
        if text in line:
            return
    raise AssertionError(f"the demo never said {text!r}")


def test_a_terminal_that_is_closed_leaves_nobody(home):
    demo = start(home)
    deadline = time.monotonic() + 20
    while not any("mlops_tui.agent" in argv for argv in processes(home)) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(demo.pid, signal.SIGHUP)
    _, err = demo.communicate(timeout=40)
    assert demo.returncode == 130 and INTERRUPTED in err
    assert not processes(home)


def test_a_home_that_is_not_a_demos_is_refused_and_left_alone(home):
    home.data.mkdir()
    (home.data / "thesis.tex").write_text("years of work")
    done = run(home)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"{home.data} is not a demo's home",
        "  why: it holds other files",
        "  do:  name an empty folder with --home",
    ]
    assert (home.data / "thesis.tex").read_text() == "years of work" and len(list(home.data.iterdir())) == 1


def test_a_clearing_that_was_interrupted_is_gone_on_with(home):
    home.data.mkdir()
    (home.data / MARK).touch()
    (home.data / "store").mkdir()
    (home.data / "store" / "half").write_text("what was not deleted yet")
    from mlops_tui.demo.stage import set_stage

    set_stage(str(home.data))
    assert [path.name for path in home.data.iterdir()] == [MARK]


def test_without_the_train_extra_it_says_what_to_install(home, tmp_path):
    blocked = tmp_path / "without"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = sys.modules['onnx'] = None\n")
    done = run(home, PYTHONPATH=str(blocked))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "the demo trains a model and needs torch, onnx",
        "  why: the core install is lean",
        "  do:  pip install 'mlops_tui[train]'",
    ]
    assert not home.data.exists(), "nothing is begun"


def test_a_shell_that_shares_the_home_is_not_ended(home):
    shell = subprocess.Popen(["sleep", "60"], env={**os.environ, "MLOPS_HOME": str(home.data)})
    try:
        end_processes(home.data)
        assert shell.poll() is None
    finally:
        shell.kill()
        shell.wait()


def test_sample_data_that_is_not_there_is_told(home, tmp_path):
    done = run(home, "--sample", str(tmp_path))
    assert done.returncode == 5 and "the sample data is not there" in done.stderr
    assert not processes(home)


def test_a_part_that_the_story_does_not_have_is_a_usage_error(home):
    done = run(home, "--until", "the-end")
    assert done.returncode == 2 and "rollout" in done.stderr and not home.data.exists()
