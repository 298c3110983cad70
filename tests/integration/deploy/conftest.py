"""A real agent, real servers and real workers, over models small enough to be built by hand."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import mlops_tui as mlops
from mlops_tui.core.clock import now_us
from mlops_tui.data import training_set
from mlops_tui.data.online.duck import open_locked, register
from mlops_tui.data.online.transform import FeatureFile, FeatureSet
from mlops_tui.spool.writer import Writer

RECORD = {
    "key": "id",
    "inputs": {"age": "DOUBLE", "hours": "DOUBLE"},
    "label": "employed",
    "features": [
        {"name": "age", "version": 1, "dtype": "float", "expr": "age / 100"},
        {"name": "hours", "version": 1, "dtype": "float", "expr": "hours / 100"},
    ],
}


def features() -> FeatureSet:
    import msgspec

    return FeatureSet(msgspec.convert(RECORD, FeatureFile))


def onnx_model(path: Path, weights: tuple[float, float, float], fails: bool = False) -> Path:
    """probability [b, 1] = sigmoid(w0·age + w1·hours + w2), with the names and definitions of its features.

    A model that ``fails`` looks up a place beyond its table whenever the first feature is above 0.
    """
    first = "features"
    nodes = []
    initial = [
        helper.make_tensor("w", TensorProto.FLOAT, [2, 1], weights[:2]),
        helper.make_tensor("b", TensorProto.FLOAT, [1], weights[2:]),
    ]
    if fails:
        nodes = [
            helper.make_node("Cast", ["features"], ["places"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "places"], ["found"]),
            helper.make_node("Add", ["features", "found"], ["seen"]),
        ]
        initial.append(helper.make_tensor("table", TensorProto.FLOAT, [1], [0.0]))
        first = "seen"
    nodes += [
        helper.make_node("MatMul", [first, "w"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["batch", 1])],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    metadata = {"mlops.features": ["age", "hours"], "mlops.outputs": ["probability"]}
    metadata["mlops.feature_set"] = features().record()
    helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def made_up(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows whose label follows the hours: a model with weights (0, w, -w/2) knows as much as can be known."""
    rng = np.random.default_rng(seed)
    age, hours = rng.uniform(18, 80, n), rng.uniform(0, 100, n)
    chance = 1 / (1 + np.exp(-(8 * hours / 100 - 4)))
    return {"id": np.arange(n) + 1_000_000 * seed, "age": age, "hours": hours, "employed": rng.random(n) < chance}


class Yard:
    """What a test does with an agent that serves."""

    def __init__(self, agent, folder: Path) -> None:
        self.agent, self.home, self.folder = agent, agent.home, folder
        self.client = agent.client()

    def call(self, operation, /, **request):
        return self.client.call(operation, request)

    def until(self, ask, good, within=30.0, what=""):
        deadline = time.monotonic() + within
        while not good(found := ask()):
            assert time.monotonic() < deadline, f"{what}: {found}\n{self.agent.log()[-3000:]}"
            time.sleep(0.05)
        return found

    # Models and data.

    def model(self, weights, fails=False, evaluation=True):
        """Build a model, register it from a run, and return the reference of its version."""
        path = onnx_model(self.folder / "model.onnx", weights, fails)
        return self.registered(path, self._evaluation(weights) if evaluation else None)

    def registered(self, path, evaluation=None):
        with mlops.start_run(experiment="tests", name="made") as run:
            run.log_artifact(path, path="model/model.onnx")
            if evaluation:
                run.log_artifact(evaluation, path="evaluation/evaluation.parquet")
        self.taken_in("run_artifact", 2 if evaluation else 1, f"run = '{run.id}'")
        self.taken_in("run", 1, f"id = '{run.id}' AND status = 'done'")
        wanted = {"name": "census", "run": run.id, "artifact": "model/model.onnx", "require_gates": False}
        return f"census@{self.call('model.register', **wanted).version}"

    def _evaluation(self, weights) -> Path:
        rows = made_up(3000, seed=9)
        path = self.parquet("raw", rows)
        training_set.write(features(), [training_set.Source(path)], self.folder / "set.parquet")
        known = training_set.read(self.folder / "set.parquet")
        score = 1 / (1 + np.exp(-(known.x @ np.array(weights[:2]) + weights[2])))
        training_set.write_evaluation(known, score.astype(np.float32), self.folder / "evaluation.parquet")
        return self.folder / "evaluation.parquet"

    def parquet(self, name, columns) -> Path:
        path = self.folder / f"{name}.parquet"
        path.unlink(missing_ok=True)
        with contextlib.closing(open_locked([path])) as con:
            con.execute(f"COPY (SELECT * FROM {register(con, 'rows', columns)}) TO '{path}' (FORMAT parquet)")
        return path

    def data(self, name, columns):
        """Store columns as a data set version and return its reference."""
        return self.client.run_job("data.add", {"name": name, "path": str(self.parquet(name, columns))})["data"]

    # Serving.

    def serve(self, model, name="census", **options):
        self.call("deploy.create", name=name, model=model, **options)
        return self.serving(name)

    def serving(self, name="census"):
        return self.until(
            lambda: self.call("deploy.show", deployment=name),
            lambda one: one.status == "serving" and one.acknowledged == one.generation,
            what="it serves what it should",
        )

    def state(self, deployment) -> dict:
        return json.loads((self.home.deployments / deployment / "state.json").read_bytes())

    def rows(self, sql):
        return self.call("sql.query", query=sql, limit=100_000).rows

    def taken_in(self, table, n, where="true"):
        """Wait until a table has n rows."""
        self.until(
            lambda: self.rows(f"SELECT count(*) FROM {table} WHERE {where}")[0][0],
            lambda found: found >= n,
            what=f"{n} rows of {table}",
        )

    def labels(self, deployment):
        """A writer of late labels, in a spool file of this process."""
        return Writer(self.home.spool, deployment, kind="label")

    def rollout(self, name="census"):
        return self.call("rollout.status", rollout=name)

    def ended(self, within=60.0):
        return self.until(self.rollout, lambda one: one.ended is not None, within, "the rollout ends")


class Weights(threading.Thread):
    """Looks at what the servers really do: (time in µs, share of each label that is not stable)."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.seen, self.done = port, [], threading.Event()
        self.start()

    def look(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", "/v2/models/census")
        shares = json.loads(connection.getresponse().read())["parameters"]["traffic"]
        connection.close()
        return {one["revision"]: one["weight"] for one in shares if one["role"] != "stable"}

    def run(self):
        while not self.done.wait(0.01):
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                before = now_us()
                self.seen.append((before, self.look()))

    def finish(self):
        self.done.set()
        self.join(10)
        return self.seen


class Clients(threading.Thread):
    """A client that asks without end, and remembers what it was told by whom."""

    def __init__(self, port, prefix="c", pause=0.002, n=None, labels=None):
        super().__init__(daemon=True)
        self.port, self.prefix, self.pause, self.n = port, prefix, pause, n
        self.labels = labels
        self.told: dict[str, str] = {}
        self.errors: list[str] = []
        self.broken: list[str] = []
        self.done = threading.Event()

    def run(self):
        connection, at = None, 0
        rows = made_up(5000, seed=3)
        while not self.done.is_set() and (self.n is None or at < self.n):
            name = f"{self.prefix}{at}"
            values = [float(rows["age"][at % 5000]) / 100, float(rows["hours"][at % 5000]) / 100]
            body = {"id": name, "inputs": [{"name": "features", "shape": [1, 2], "datatype": "FP32", "data": values}]}
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("POST", "/v2/models/census/infer", json.dumps(body))
                answer = connection.getresponse()
                said = answer.read()
                if answer.status == 200:
                    self.told[name] = json.loads(said)["model_version"]
                    if self.labels:
                        self.labels.label(name, 0, float(rows["employed"][at % 5000]))
                else:
                    self.errors.append(f"{name}: {answer.status} {said[:200]!r}")
                at += 1
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(f"{name}: {error!r}")
                connection = None
                at += 1
                time.sleep(0.02)
            time.sleep(self.pause)

    def finish(self):
        self.done.set()
        self.join(30)
        return self


@pytest.fixture
def people():
    """A maker of rows."""
    return made_up


@pytest.fixture
def yard(agent, tmp_path):
    folder = tmp_path / "yard"
    folder.mkdir()
    return Yard(agent, folder)


@pytest.fixture
def clients():
    """A maker of clients; all are finished at the end."""
    made = []

    def make(*arguments, **options):
        made.append(Clients(*arguments, **options))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.finish()


@pytest.fixture
def weights():
    """A maker of watchers of the weights that are served."""
    made = []

    def make(port):
        made.append(Weights(port))
        return made[-1]

    yield make
    for one in made:
        one.finish()
