from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def load(name: str):
    """Load a file beside this one; test modules are found by path, not by name."""
    spec = importlib.util.spec_from_file_location(f"contract_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start_mlflow(folder: Path, seconds: float = 120) -> tuple[subprocess.Popen, str]:
    """Start a real MLflow server over SQLite in a folder; returns its process and address.

    Raises:
        RuntimeError: it did not come up; with the end of its log.
    """
    port = free_port()
    words = [
        sys.executable, "-c", "from mlflow.cli import cli; cli()", "server", "--host", "127.0.0.1", "--port", str(port),
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
        "--serve-artifacts", "--workers", "1",
    ]  # fmt: skip
    env = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    env |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    log = folder / "mlflow.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, cwd=folder, env=env, start_new_session=True)
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return process, f"http://127.0.0.1:{port}"
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                end(process)
                raise RuntimeError(f"mlflow server did not come up: {log.read_text()[-2000:]}") from None
            time.sleep(0.1)


def end(process: subprocess.Popen) -> None:
    """End a server and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def mlflow_server(tmp_path):
    """The address of a real MLflow server."""
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("mlflow is not installed: nothing to compare with")
    folder = tmp_path / "mlflow"
    folder.mkdir()
    process, url = start_mlflow(folder)
    yield url
    end(process)


def all_scenarios() -> dict:
    """What both servers are asked: told, and by chance."""
    return {**load("mlflow_scenarios").SCENARIOS, **load("mlflow_random").SCENARIOS}


@pytest.fixture
def scenarios():
    return all_scenarios()


@pytest.fixture
def Wire():
    return load("mlflow_wire").Wire
