"""Fixtures that every room's tests share: a home of their own, a house in this process, a real agent."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import chain, groupby, islice
from pathlib import Path

import pytest

from mlops_tui.core.runtime import SILENT

UNIT = Path(__file__).with_name("unit")
os.environ[SILENT] = "1"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Begun in the background of a script: whoever is started from here could not be interrupted either.
    signal.signal(signal.SIGINT, signal.default_int_handler)
# What Hypothesis remembers is nobody's source: also a run without the variable leaves nothing in the tree.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", f"{tempfile.gettempdir()}/mlops-hypothesis-{os.getuid()}")

if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # Nor is bytecode, where none is wanted: but hundreds of processes start, and what one compiles serves the next.
    if "PYTHONPYCACHEPREFIX" not in os.environ:
        os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(prefix="mlops-pyc-")
        atexit.register(shutil.rmtree, os.environ["PYTHONPYCACHEPREFIX"], ignore_errors=True)
    sys.dont_write_bytecode, sys.pycache_prefix = False, os.environ["PYTHONPYCACHEPREFIX"]


def pytest_xdist_auto_num_workers(config):
    """One more than there are processors: a third of the time is waited for other processes."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config, items):
    """Let each worker begin with its share of the files that start processes: what is taken from it late is quick."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    shares = [[] for _ in range(workers)]
    slow = [list(tests) for file, tests in groupby(items, lambda item: item.path) if UNIT not in file.parents]
    quick = (item for item in items if UNIT in item.path.parents)
    for number, tests in enumerate(slow):
        shares[number % workers] += tests
    left = len(items)
    for number, share in enumerate(shares):  # as xdist deals them out, one after the other
        size = left // (workers - number)
        if len(share) > size:
            return
        share += islice(quick, size - len(share))
        left -= size
    items[:] = chain.from_iterable(shares)


class Estate:
    """A home whose store stays open while the houses of this process follow each other in; each finds it empty.

    To load the cipher and to make the tables costs a quarter of a second, to empty them ten milliseconds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.store, self.keys = folder, None, None

    def clear(self, home):
        """Leave nothing in the home but what belongs to the store."""
        for left in home.data.iterdir() if home.data.exists() else ():
            if left.name not in ("store", "store.meta", "keys"):
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()

    def enter(self, home):
        """Return keys and store, which nobody seems to have used before."""
        from mlops_tui.core.config import load
        from mlops_tui.core.paths import private_dir
        from mlops_tui.keys import open_keys
        from mlops_tui.store.store import Store

        if self.store is not None and self.store.gone.is_set():
            self.close()
        for folder in (home.data, home.spool, home.state, home.logs, home.jobs, home.deployments):
            private_dir(folder)
        if self.store is None:
            self.keys = open_keys(home, load(where=home))
            self.store = Store(home.store, self.keys.store_key)
        else:
            self._empty()
        return self.keys, self.store

    def _empty(self) -> None:
        from mlops_tui.store.kept import Kept
        from mlops_tui.store.readers import Readers
        from mlops_tui.store.search.hot import Changes, Hot

        filled = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'store' AND estimated_size > 0"

        def empty(session):
            for table in session.column(filled):
                if table != "migration":
                    session.cursor.execute(f"DELETE FROM {table}")

        store = self.store
        store.settled = lambda committed: None
        store.write(empty)
        store.checkpoint().result()
        store.hot.close()
        store.changes, store.readers = Changes(), Readers()
        store.kept = Kept(store.changes, store.hot.memory_mb)
        store.hot = Hot(store._connection, store.changes, memory_mb=store.hot.memory_mb, stamp=store.hot.stamp)

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
            shutil.rmtree(self.folder)
            self.store = None


@pytest.fixture(scope="session")
def _estate(tmp_path_factory):
    estate = Estate(tmp_path_factory.mktemp("estate") / "home")
    yield estate
    estate.close()


@pytest.fixture
def home(request, tmp_path, monkeypatch):
    """A fresh MLOPS_HOME with a runtime folder of its own; fails when an agent outlives the test."""
    from mlops_tui.core import paths

    estate = request.getfixturevalue("_estate") if "house" in request.fixturenames else None
    runtime = Path(tempfile.mkdtemp(prefix="mlops-test-"))
    for variable in [name for name in os.environ if name.startswith("MLOPS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("MLOPS_HOME", str(estate.folder if estate else tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("MLOPS_QUIET", "1")
    found = paths.home()
    if estate:
        estate.clear(found)
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
def house(home, _estate):
    """A house in this process: store, keys, artifacts and every room, without the agent's loops."""
    from mlops_tui.agent.rooms import open_rooms
    from mlops_tui.blobs import Blobs
    from mlops_tui.core.config import load
    from mlops_tui.door.house import House
    from mlops_tui.governance.guard import RoleGuard

    open_rooms()
    keys, store = _estate.enter(home)
    return House(home, load(where=home), store, keys, Blobs(home.blobs, keys), RoleGuard())


TAKEN = 6
"""Exit code of an agent whose home has another already: a client that found none was quicker than the test."""


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
            if self.process.poll() not in (None, TAKEN) or time.monotonic() > deadline:
                raise AssertionError(f"the agent did not come up: {self.process.poll()}\n{self.log()[-2000:]}")
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        from mlops_tui.client.start import hello
        from mlops_tui.spool.process import created_us

        assert self.process
        self.process.kill()
        if self.process.wait() == TAKEN and (other := hello(self.home, 1.0)):
            os.kill(other.pid, signal.SIGKILL)
            while created_us(other.pid) is not None:
                time.sleep(0.01)

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
def unborn(home):
    """A real agent that the test starts itself."""
    made = RunningAgent(home)
    yield made
    if made.process and made.process.poll() is None:
        made.stop()


@pytest.fixture
def agent(unborn):
    """A real agent; stopped at the end together with the jobs and servers that it started."""
    return unborn.start()


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
