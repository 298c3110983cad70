"""Fixtures that every room's tests share: a home of their own, a house in this process, a real agent."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from mlops_tui.core.runtime import SILENT

os.environ[SILENT] = "1"
# What Hypothesis remembers is nobody's source: also a run without the variable leaves nothing in the tree.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", f"{tempfile.gettempdir()}/mlops-hypothesis-{os.getuid()}")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A fresh MLOPS_HOME with a runtime folder of its own; fails when an agent outlives the test."""
    from mlops_tui.core import paths

    runtime = Path(tempfile.mkdtemp(prefix="mlops-test-"))
    for variable in [name for name in os.environ if name.startswith("MLOPS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("MLOPS_QUIET", "1")
    found = paths.home()
    yield found
    left = _agent_pid(found)
    _end_everything(found)
    shutil.rmtree(runtime, ignore_errors=True)
    if left is not None:
        pytest.fail(f"the agent {left} outlived its test")


@pytest.fixture(autouse=True)
def narrow_tables_change_as_they_should(monkeypatch):
    """Whoever changes a narrow table says whose rows: what is kept hot of them would be old otherwise."""
    from mlops_tui.store.session import Session

    changes = re.compile(r"\s*(INSERT INTO|UPDATE|DELETE FROM|TRUNCATE)\s+\"?(series|param|tag)\b", re.IGNORECASE)
    execute = Session.execute

    def checked(self, sql, params=()):
        ours = sys._getframe(1).f_globals["__name__"].startswith("mlops_tui.")
        assert not (ours and changes.match(sql)), f"Session.change says whose rows change: {sql}"
        execute(self, sql, params)

    monkeypatch.setattr(Session, "execute", checked)


@pytest.fixture
def house(home):
    """A house in this process: store, keys, artifacts and every room, without the agent's loops."""
    from mlops_tui.agent.rooms import open_rooms
    from mlops_tui.blobs import Blobs
    from mlops_tui.core.config import load
    from mlops_tui.core.paths import private_dir
    from mlops_tui.door.house import House
    from mlops_tui.governance.guard import RoleGuard
    from mlops_tui.keys import open_keys
    from mlops_tui.store.store import Store

    for folder in (home.data, home.spool, home.state, home.logs, home.jobs, home.deployments):
        private_dir(folder)
    open_rooms()
    config = load(where=home)
    keys = open_keys(home, config)
    store = Store(home.store, keys.store_key)
    made = House(home, config, store, keys, Blobs(home.blobs, keys), RoleGuard())
    yield made
    store.close()


class RunningAgent:
    """A real agent process of the test's home, with ways to kill it and bring it back."""

    def __init__(self, home):
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, seconds: float = 30, **environment: str) -> RunningAgent:
        from mlops_tui.client.start import hello
        from mlops_tui.core.paths import private_dir

        with open(private_dir(self.home.logs) / "agent.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlops_tui.agent", *arguments],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **environment},
            )
        deadline = time.monotonic() + seconds
        while hello(self.home, 1.0) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the agent did not come up: {self.process.poll()}\n{self.log()[-2000:]}")
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        return self.process.wait(timeout=30)

    def log(self) -> str:
        return (self.home.logs / "agent.log").read_text()

    def client(self):
        from mlops_tui.client import Client

        return Client(self.home, start=False)


@pytest.fixture
def agent(home):
    """A real agent; stopped at the end together with the jobs and servers that it started."""
    running = RunningAgent(home).start()
    yield running
    if running.process and running.process.poll() is None:
        running.stop()


@pytest.fixture(scope="session")
def make_model():
    """Write an ONNX model: sigmoid of the sum of its inputs, each times its weight."""
    onnx = pytest.importorskip("onnx")
    import msgspec
    import numpy as np
    from onnx import TensorProto, helper

    def write(path, weights, names=(), outputs=1):
        kernel = np.repeat(np.asarray(weights, dtype=np.float32).reshape(-1, 1), outputs, axis=1)
        kernel[:, :-1] *= -1  # of two columns the first is the probability of class 0
        weight = helper.make_tensor("w", TensorProto.FLOAT, kernel.shape, kernel.tobytes(), raw=True)
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Sigmoid", ["z"], ["p"])],
            "tiny",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", len(weights)])],
            [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["b", outputs])],
            [weight],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        if names:
            helper.set_model_props(model, {"mlops.features": msgspec.json.encode(names).decode()})
        onnx.save(model, path)
        return path

    return write


@pytest.fixture(scope="session")
def nvml_double(tmp_path_factory):
    """A folder with a stand-in for NVIDIA's library, for ``LD_LIBRARY_PATH``."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc to compile the double of NVML")
    folder, source = tmp_path_factory.mktemp("nvml"), Path(__file__).parent / "unit/hardware/nvml_double.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True, timeout=60)
    return folder


def _agent_pid(home) -> int | None:
    from mlops_tui.client.start import hello

    found = hello(home, 1.0)
    return found.pid if found else None


def _end_everything(home) -> None:
    """End what this home's tests started and left: every process whose environment names the home."""
    wanted = f"MLOPS_HOME={home.data}".encode()
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        try:
            if pid != os.getpid() and wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
        except (OSError, ProcessLookupError):
            continue
