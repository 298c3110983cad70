"""What a script outside a job printed, followed while it runs and searched after it."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import sys, mlops_tui as mlops
with mlops.start_run("e", name="talk") as run:
    print("begun", flush=True)
    sys.stdin.readline()
    for step in range(3):
        print("epoch", step)
    raise ValueError("too bad")
"""


def test_the_console_of_a_run_is_followed_to_its_end_and_searched(agent, mlops):
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ},
    )  # fmt: skip
    assert run.stdout.readline() == "begun\n"
    while mlops("run", "log", "talk").stdout != "begun\n":
        continue
    tail = [sys.executable, "-m", "mlops_tui", "run", "tail", "talk", "--grep", "begun|EPOCH|epoch [12]|Error"]
    watching = subprocess.Popen(tail, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watching.stdout.readline() == "begun\n"
    run.communicate("go\n")
    out, _ = watching.communicate(timeout=60)
    assert out == "epoch 1\nepoch 2\nValueError: too bad\n" and watching.returncode == 1
    assert mlops("run", "logs", "talk", "--grep", "EPOCH|epoch [12]").stdout == "epoch 1\nepoch 2\n"
    assert mlops("run", "logs", "talk", "--grep", "epoch (").returncode == 2
