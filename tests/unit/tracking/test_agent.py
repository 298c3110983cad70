"""The whole way with a real agent: scripts write, one is killed, and the door tells the truth in time."""

from __future__ import annotations

import subprocess
import sys
import time

SCRIPT = """
import mlops_tui as mlops
run = mlops.start_run(experiment="census", name="train")
run.log({"auc": 0.7}, step=1)
print(run.id, flush=True)
input()
run.log_artifact(b"weights", "model.onnx")
run.end()
"""


def begin():
    script = subprocess.Popen([sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return script, script.stdout.readline().strip()


def wait_for(client, run, status, within):
    since = time.monotonic()
    while time.monotonic() - since < within:
        found = [row for row in client.call("run.list", {"filter": f"id:{run}"}).rows if row[3] == status]
        if found:
            return time.monotonic() - since
        time.sleep(0.1)
    raise AssertionError(f"{run} is not {status} after {within} s")


def test_an_ended_run_has_its_artifacts_and_a_killed_one_is_lost_in_ten_seconds(agent):
    client = agent.client()
    killed, lost = begin()
    ended, done = begin()
    wait_for(client, lost, "running", 10)
    killed.kill()
    killed.wait()
    at = time.monotonic()
    ended.communicate("\n", timeout=30)
    wait_for(client, done, "done", 10)
    shown = client.call("run.show", {"run": done})
    assert [one.path for one in shown.artifacts] == ["model.onnx"] and shown.metrics[0].last == 0.7
    wait_for(client, lost, "lost", 12)
    assert time.monotonic() - at < 11
