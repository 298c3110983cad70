"""Following a run from the command line while it is written, on a terminal and off one."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time

import pytest

from mlops_tui.core.ids import uuid7
from mlops_tui.spool.writer import Writer

PROGRAM = [sys.executable, "-m", "mlops_tui"]


@pytest.fixture
def run(home, agent):
    """A run that goes on for about two seconds once it is started, and ends badly."""
    writer = Writer(home.spool, uuid7(), run={"experiment": "x", "name": "live"})
    writer.metrics({"loss": 9.0, "odd": math.nan}, step=0)
    writer.log("first line")

    def write():
        for step in range(1, 11):
            writer.metrics({"loss": 9.0 - step / 2, "odd": math.nan}, step=step)
            writer.log(f"line {step}")
            time.sleep(0.2)
        writer.end("failed", error="out of \x1b[31mmemory")

    with agent.client() as client:
        deadline = time.monotonic() + 20
        while not client.call("run.list").rows:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    thread = threading.Thread(target=write)
    yield thread.start
    thread.join()


def test_a_line_for_each_new_step_where_there_is_no_terminal(run):
    words = ["run", "watch", "live", "loss", "--every", "0.1"]
    with subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, text=True) as watching:
        first = watching.stdout.readline()
        run()
        rest = watching.stdout.read().splitlines()
    assert first.split() == ["live", "running", "step", "0", "loss=9"] and "odd" not in "".join(rest)
    assert watching.returncode == 1 and rest[-1].split()[:2] == ["live", "failed"]
    steps = [int(line.split()[3]) for line in rest if "step" in line]
    assert steps == sorted(set(steps)) and steps[-1] == 10, "each that was seen once, in order, and the last"


def test_the_same_lines_over_and_over_on_a_terminal(run, typed):
    code, screen = typed("run", "watch", "live", "--every", "0.1", asks="odd", answer=run)
    assert code == 1 and "\x1b[3A" in screen and "NaN" in screen and "▁" in screen
    assert "out of memory" in screen.replace("[31m", "") and "\x1b[31m" not in screen


def test_a_log_is_followed_to_its_end(run, mlops):
    run()
    done = mlops("run", "tail", "live", "--every", "0.1")
    assert done.returncode == 1 and done.stdout.splitlines() == ["first line", *(f"line {n}" for n in range(1, 11))]
    told = [json.loads(line) for line in mlops("run", "tail", "live", "--json", "--lines", "2").stdout.splitlines()]
    assert [one["line"] for one in told] == ["line 9", "line 10"] and told[0]["schema"] == "run.tail/1"
    (seen,) = mlops("run", "watch", "live", "--json").stdout.splitlines()
    figures = {one["key"]: one for one in json.loads(seen)["metrics"]}
    assert figures["loss"]["last"] == 4.0 and (figures["odd"]["last"], figures["odd"]["nonfinite"]) == (None, 11)


def test_a_run_that_goes_on_is_left_at_the_timeout(run, mlops):
    done = mlops("run", "watch", "live", "--timeout", "0.5")
    assert done.returncode == 1 and "it goes on" in done.stderr
    run()
