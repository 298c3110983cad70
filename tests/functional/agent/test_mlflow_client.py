"""MLflow's own client, unmodified, against a real agent: from the environment alone, in a job, and over a crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")

SCRIPT = """
import json, os, sys
import mlflow
from sklearn.linear_model import LogisticRegression
mlflow.sklearn.autolog(log_models=False)
with mlflow.start_run() as run:
    LogisticRegression(C=0.5, max_iter=20).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    for step, value in enumerate((0.5, float("nan"), float("inf"))):
        mlflow.log_metric("loss", value, step=step)
    with mlflow.start_run(nested=True) as child:
        mlflow.log_param("depth", 3)
values = [m.value for m in mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")]
found = mlflow.search_runs(filter_string="params.C = '0.5'", output_format="list")
print(json.dumps({"run": run.info.run_id, "child": child.info.run_id, "values": [str(v) for v in values],
                  "found": [one.info.run_id for one in found]}))
"""


def logs(script, **environment):
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_script_that_knows_mlflow_alone_lands_in_the_store(agent):
    told = logs(SCRIPT, MLFLOW_TRACKING_URI="mlops-tui:")
    assert told["values"] == ["0.5", "nan", "inf"] and told["found"] == [told["run"]]
    client = agent.client()
    run = client.call("run.show", {"run": told["run"]})
    assert (run.status, run.experiment, run.params["C"]) == ("done", "Default", "0.5")
    assert run.pid and run.host == os.uname().nodename, "the agent knows who logs"
    child = client.call("run.show", {"run": told["child"]})
    assert child.parent == run.id and child.params == {"depth": "3"}


def test_the_run_of_a_job_belongs_to_it(agent, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("import mlflow\nwith mlflow.start_run():\n    mlflow.log_metric('loss', 0.25)\n")
    client = agent.client()
    job = client.call("job.train", {"script": str(script), "name": "plain", "experiment": "census"}).job
    deadline = time.monotonic() + 60
    while (shown := client.call("job.show", {"job": job})).status in ("queued", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert shown.status == "done", client.call("job.log", {"job": job}).lines
    run = client.call("run.show", {"run": shown.run})
    assert (run.name, run.experiment, run.job, run.status) == ("plain", "census", job, "done")


BESIDE = """
import json, os, sys
import mlflow
from mlflow.exceptions import MlflowException
client = mlflow.MlflowClient()
def refused(call, *args):
    try: call(*args)
    except MlflowException as error: return [error.error_code, error.message.replace(http, "")]
http = os.environ["MLFLOW_TRACKING_URI"]
run = client.create_run("0").info.run_id
client.log_param(run, "lr", "0.1")
said = [refused(client.log_param, run, "lr", "0.2"), refused(client.get_run, "f" * 32),
        refused(client.search_runs, ["0"], "metrics.a >< 1"), refused(client.get_registered_model, "nobody")]
client.set_experiment_tag("0", "who", "me")
from mlflow.entities import Metric, Param, RunTag
odd = [Metric("odd", value, 1, step) for step, value in enumerate((0.1, float("nan"), float("inf"), -float("inf"), 3))]
client.log_batch(run, odd, [Param("p", "1")], [RunTag("t", "ü")])
said += [refused(client.log_batch, run, [Metric("", 1.0, 1, 1)]),
         refused(client.log_batch, "f" * 32, [], [Param("p", "1")])]
whole = client.get_run(run).data
batch = [str(one.value) for one in client.get_metric_history(run, "odd")] + [whole.params["p"], whole.tags["t"]]
found = client.get_experiment_by_name("Default").tags["who"]
if not os.fork():  # a child has a line of its own
    for step in range(50): client.log_metric(run, "child", step, step=step)
    os._exit(0)
for step in range(50): client.log_metric(run, "parent", step, step=step)
os.wait()
counts = [len(client.get_metric_history(run, key)) for key in ("child", "parent")]
print(json.dumps([*(s and [s[0], s[1].replace(run, "RUN")] for s in said), batch, found, counts]))
"""


def test_the_short_line_of_the_scheme_says_what_http_says(agent):
    over_http = logs(BESIDE, MLFLOW_TRACKING_URI=agent.client().call("agent.url").url)
    assert all(len(refusal) == 2 for refusal in over_http[:6]), "each was refused"
    assert over_http[6:] == [["0.1", "nan", "inf", "-inf", "3.0", "1", "ü"], "me", [50, 50]]
    assert logs(BESIDE, MLFLOW_TRACKING_URI="mlops-tui:") == over_http


ON = """
import sys
import mlflow
client = mlflow.MlflowClient()
run = client.create_run("0").info.run_id
print(run, flush=True)
for step in range(int(sys.stdin.readline())):
    client.log_metric(run, "loss", step, step=step)
print("logged", flush=True)
sys.stdin.readline()
client.log_metric(run, "loss", -1.0, step=99)
print(len(client.get_metric_history(run, "loss")))
"""


def test_a_client_of_the_scheme_starts_the_agent_that_died_and_goes_on(agent, stop):
    env = {**os.environ, "MLFLOW_TRACKING_URI": "mlops-tui:"}
    with subprocess.Popen(
        [sys.executable, "-c", ON], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as script:
        script.stdout.readline()
        print(5, file=script.stdin, flush=True)
        assert script.stdout.readline() == "logged\n"
        os.kill(agent.process.pid, signal.SIGKILL)
        agent.process.wait()
        print(file=script.stdin, flush=True)
        assert script.stdout.readline() == "6\n", "nothing that was answered is lost, nothing is there twice"
    stop()


CALL = """
import json, sys, urllib.request
def ask(path, **body):
    address, kind = sys.argv[1] + "/api/2.0/mlflow/" + path, {"Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(body).encode(), kind)
    return json.load(urllib.request.urlopen(request, timeout=20))
run = ask("runs/create", experiment_id="0", start_time=1)["run"]["info"]["run_id"]
print(run, flush=True)
for step in range(10**9):
    ask("runs/log-metric", run_id=run, key="m", value=step, timestamp=step, step=step)
    print(step, flush=True)
"""


def test_kill_9_of_the_agent_loses_nothing_that_was_answered_and_the_address_stays(agent):
    opened = agent.client().call("agent.url")
    writer = subprocess.Popen(
        [sys.executable, "-c", CALL, opened.url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    run = writer.stdout.readline().strip()
    while int(writer.stdout.readline()) < 200:
        continue
    os.kill(agent.process.pid, signal.SIGKILL)
    agent.process.wait()
    answered = [int(line) for line in writer.stdout.read().split()]
    writer.wait()
    agent.start()
    client = agent.client()
    assert client.call("agent.url") == opened
    logged = answered[-1] if answered else 200
    deadline = time.monotonic() + 20
    while not (metrics := client.call("run.show", {"run": run}).metrics) or metrics[0].step < logged:
        assert time.monotonic() < deadline, metrics
        time.sleep(0.05)
    assert metrics[0].n == metrics[0].step + 1, "nothing twice, nothing missing"
    client.call("agent.stop")


def ask(url, path, method="POST", body=b"{}"):
    request = urllib.request.Request(url + path, body, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_switch_for_tests_empties_the_store_and_is_not_there_without_it(agent):
    from mlops_tui.core.ids import uuid7

    client = agent.client()
    assert ask(client.call("agent.url").url, "/test/reset")[0] == 404
    agent.stop()
    agent.start(MLOPS_TEST_RESET="1")
    client, url = agent.client(), agent.client().call("agent.url").url
    wire = f"{url}/api/2.0/mlflow"
    made = ask(wire, "/experiments/create", body=json.dumps({"name": uuid7()}).encode())[1]["experiment_id"]
    run = ask(wire, "/runs/create", body=json.dumps({"experiment_id": made}).encode())[1]["run"]["info"]["run_id"]
    ask(wire, "/runs/log-metric", body=json.dumps({"run_id": run, "key": "m", "value": 1, "timestamp": 1}).encode())
    kept = f"/api/2.0/mlflow-artifacts/artifacts/{made}/{run}/artifacts/a.txt"
    assert ask(url, kept, "PUT", b"taken in while it is emptied")[0] == 200
    assert ask(url, "/test/reset") == (200, {})
    assert client.call("run.list").total == 0
    assert ask(wire, f"/runs/get?run_id={run}", "GET", None)[0] == 404
    again = ask(wire, "/experiments/create", body=json.dumps({"name": "again"}).encode())[1]["experiment_id"]
    assert again == "1" and client.call("audit.verify").ok
