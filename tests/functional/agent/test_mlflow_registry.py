"""An unmodified MLflow client and a real agent: models are logged, judged, registered, found by alias and loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("mlflow_registry_client.py")


@pytest.mark.skipif(not (find_spec("mlflow") and find_spec("onnx")), reason="mlflow or onnx is not installed")
def test_models_of_a_client_that_only_knows_the_address(agent, tmp_path):
    client = agent.client()
    url = client.call("agent.url").url
    env = {**os.environ, "MLFLOW_TRACKING_URI": url, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)], env=env, capture_output=True, text=True, timeout=400
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["status"] == "READY" and told["same"] and told["again"] and told["accuracy"] > 0.9
    assert told["found"] == ["clf"] and "MLmodel" in told["files"]
    assert told["source"] == f"models:/{told['logged']}"
    assert any(path.startswith("confusion_matrix") for path in told["plots"])

    version = client.call("version.show", {"model": "work@champion"})
    assert (version.format, version.tags, version.run.replace("-", "")) == ("mlflow", {"reviewed": "yes"}, told["run"])
    assert version.signature["loader"] == "mlflow.sklearn" and version.logged == told["logged"]
    net = client.call("version.show", {"model": "net@1"})
    assert net.format == "onnx" and net.signature["inputs"][0]["name"] == "x"
    assert client.call("model.verify", {"model": "work@1"}).text.endswith("as registered")
    kinds = [node.kind for node in client.call("lineage.show", {"subject": "work@1"}).nodes]
    assert kinds[0] == "model_version" and {"run", "logged"} <= set(kinds), kinds
    assert client.call("audit.verify").ok
