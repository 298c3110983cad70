"""In from a real MLflow server, and out into files that a bare MLflow opens."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request

import pytest

from mlops_tui.core.errors import BadInput, Unreachable

T0 = 1_760_000_000_000

READS_IT = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
found = {}
for run in client.search_runs([e.experiment_id for e in client.search_experiments()]):
    points = client.get_metric_history(run.info.run_id, "loss")
    files = [one.path for one in client.list_artifacts(run.info.run_id)]
    found[run.info.run_name] = [run.info.run_id, run.info.status, run.data.params, len(points), files]
version = client.get_model_version_by_alias("net", "champion")
print(json.dumps({"runs": found, "version": [version.version, version.source, version.run_id]}))
"""


@pytest.fixture
def filled(mlflow_server):
    """The address of a server with three runs, and their ids."""

    def post(path, **body):
        wanted = urllib.request.Request(f"{mlflow_server}/api/2.0/mlflow/{path}", json.dumps(body).encode())
        wanted.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(wanted, timeout=60) as answer:
            return json.loads(answer.read() or b"{}")

    experiment = post("experiments/create", name="churn")["experiment_id"]
    runs = []
    for number in range(3):
        asked = {"experiment_id": experiment, "run_name": f"run-{number}", "start_time": T0 + number}
        run = post("runs/create", **asked)["run"]["info"]["run_id"]
        points = [{"key": "loss", "value": 1 / (step + 1), "timestamp": T0 + step, "step": step} for step in range(900)]
        odd = [
            {"key": "odd", "value": value, "timestamp": T0, "step": step}
            for step, value in enumerate(("NaN", "Infinity", "-Infinity", 1.5))
        ]
        post("runs/log-batch", run_id=run, metrics=points + odd, params=[{"key": "lr", "value": str(number)}])
        post("runs/update", run_id=run, status="FINISHED", end_time=T0 + 5000)
        runs.append(run)
    place = f"{mlflow_server}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{runs[0]}/artifacts/net/weights.bin"
    urllib.request.urlopen(urllib.request.Request(place, b"weights", method="PUT"), timeout=60).close()
    post("registered-models/create", name="net")
    source = f"mlflow-artifacts:/{experiment}/{runs[0]}/artifacts/net"
    post("model-versions/create", name="net", source=source, run_id=runs[0])
    post("registered-models/alias", name="net", alias="champion", version="1")
    return mlflow_server, runs


def test_a_real_server_comes_in_and_a_bare_mlflow_reads_what_goes_out(agent, filled, tmp_path):
    url, runs = filled
    with agent.client() as client:
        told = client.run_job("import.mlflow", {"source": url, "wire": True})
        assert (told["new_runs"], told["new_points"], told["files"], told["left_out"]) == (3, 3 * 904, 1, [])
        assert (told["new_models"], told["new_versions"]) == (1, 1)
        shown = client.call("run.show", {"run": "run-0"})
        odd = next(one for one in shown.metrics if one.key == "odd")
        assert (odd.n, odd.nonfinite, odd.last) == (4, 3, 1.5) and shown.id.replace("-", "") == runs[0]
        # asked for again, now from the server's own database beside it: the same, so nothing is added
        again = client.run_job("import.mlflow", {"source": url})
        assert (again["new_runs"], again["new_points"], again["digest"]) == (0, 0, told["digest"])
        assert client.call("model.show", {"model": "net"}).aliases == {"champion": 1}
        out = client.run_job("export.store", {"folder": str(tmp_path / "out"), "all": True})
        assert out["digest"] == told["digest"]
        with pytest.raises(BadInput, match="is no MLflow server"):
            client.run_job("import.mlflow", {"source": f"{url}/static-files"})
        with pytest.raises(Unreachable, match="does not answer"):
            client.run_job("import.mlflow", {"source": "http://127.0.0.1:9"})
    read = subprocess.run(
        [sys.executable, "-c", READS_IT, f"sqlite:///{tmp_path}/out/mlflow.db"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    found = json.loads(read.stdout.splitlines()[-1])
    assert found["runs"]["run-0"] == [runs[0], "FINISHED", {"lr": "0"}, 900, ["net"]]
    assert found["version"][2] == runs[0] and str(found["version"][0]) == "1"
