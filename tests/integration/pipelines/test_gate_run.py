"""Gates over a run, with a real agent, worker and server: judged, recorded, and bound to the file that was judged."""

from __future__ import annotations

import time

import numpy as np
import pytest

import mlops_tui as mlops
from mlops_tui.core.errors import BadInput, NotFound, Refused
from mlops_tui.data import training_set
from mlops_tui.pipelines.gates.model import Model

NAMES = ["age", "hours"]
POLICY = "endpoint: {max_p95_ms: 5000}\nfairness: {min_group: 100}\n"


def record(names):
    """A feature file over columns of these names; nothing may rest on sex or on what is read from it."""
    definitions = [{"name": name, "version": 1, "dtype": "float", "expr": name.upper()} for name in names]
    roles = {"key": "id", "label": "employed", "groups": ["SEX"], "forbidden": ["SEX"]}
    return {**roles, "inputs": {name.upper(): "DOUBLE" for name in names}, "features": definitions}


def people(names, seed=0, n=1500):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(names))).astype(np.float32)
    label = (x.sum(axis=1) + rng.normal(scale=0.6, size=n) > 0).astype(np.float32)
    groups = {"SEX": np.where(rng.random(n) < 0.5, "1", "2")}
    return training_set.TrainingSet(np.arange(n), x, label, groups, record(names))


class Desk:
    """Makes finished runs with a model and its evaluation, and has them judged."""

    def __init__(self, client, folder, make_model):
        self.client, self.folder, self.make_model = client, folder, make_model
        (folder / "gates.yaml").write_text(POLICY)

    def run(self, name, weights, names=NAMES, rows=None, model="model/model.onnx"):
        rows = rows or people(names)
        path = self.make_model(self.folder / f"{name}.onnx", weights, names)
        scores = Model(path, rows.names)({one: rows.x[:, at] for at, one in enumerate(rows.names)})
        evaluation = self.folder / f"{name}.parquet"
        training_set.write_evaluation(rows, scores.astype(np.float32), evaluation)
        with mlops.start_run(experiment="people", name=name) as run:
            run.log_artifact(path, path=model)
            run.log_artifact(evaluation, path="evaluation/evaluation.parquet")
        self.settled(name)
        return run.id

    def settled(self, name, artifacts=True):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            rows = self.client.call("run.list", {"filter": f"name:{name} status:done"}).total
            if rows and (not artifacts or self.client.call("run.show", {"run": name}).artifacts):
                return
            time.sleep(0.05)
        raise AssertionError(f"{name} did not arrive")

    def judge(self, run, *gates, **more):
        request = {"run": run, "gates": list(gates), "policy": str(self.folder / "gates.yaml"), **more}
        report = self.client.run_job("gate.run", request)
        return {one["gate"]: one for one in report["results"]}


@pytest.fixture
def desk(agent, tmp_path, make_model):
    with agent.client() as client:
        yield Desk(client, tmp_path, make_model)


def test_a_candidate_is_judged_registered_and_becomes_the_measure_of_the_next(desk):
    client = desk.client
    desk.run("first", [2.0, 2.0])
    with pytest.raises(Refused, match="its gates are missing"):
        client.call("model.register", {"name": "people", "run": "first"})
    verdicts = desk.judge("first")
    assert {name: one["passed"] for name, one in verdicts.items()} == dict.fromkeys(
        ("quality", "fairness", "explanation", "endpoint"), True
    ), verdicts
    digest = next(one.digest for one in client.call("run.show", {"run": "first"}).artifacts if "onnx" in one.path)
    rows = client.call("sql.query", {"query": "SELECT DISTINCT digest FROM gate_result"}).rows
    assert rows == [[digest]]
    version = client.call("model.register", {"name": "people", "run": "first"})
    assert len(version.gates) == 4
    client.call("model.alias", {"model": "people@1", "alias": "champion"})
    assert client.call("gate.show", {"subject": "people@champion"}).passed

    # A later run of the experiment is measured against the champion without being told so.
    desk.run("worse", [2.0, 0.1])
    plan = client.plan("gate.run", {"run": "worse", "gates": ["quality"]})
    assert plan.text == "judge worse by quality, beside people@1"
    quality = desk.judge("worse", "quality")["quality"]
    assert not quality["passed"] and "below the champion's" in quality["text"]
    with pytest.raises(Refused, match="1 of 1 gates failed"):
        client.call("model.register", {"name": "people", "run": "worse"})
    assert not client.call("gate.show", {"subject": "worse"}).passed
    failed = client.call("gate.list", {"filter": "verdict:fail"})
    assert failed.total == 1
    with pytest.raises(NotFound, match="has no alias nobody"):
        client.call("gate.run", {"run": "worse", "champion": "people@nobody"})

    # A champion of other features cannot be asked: that is said, and is no reason to fail.
    desk.run("wider", [2.0, 2.0, 0.5], names=["age", "school", "hours2"])
    quality = desk.judge("wider", "quality")["quality"]
    assert quality["passed"]
    assert "not compared with people@1: the model takes the feature hours, which the rows have not" in quality["text"]


def test_a_model_that_is_not_the_one_evaluated_is_refused(desk):
    desk.run("honest", [2.0, 2.0])
    rows = people(NAMES)
    with mlops.start_run(experiment="people", name="swapped") as run:
        run.log_artifact(desk.make_model(desk.folder / "other.onnx", [2.0, 2.1], NAMES), path="model.onnx")
        scores = 1 / (1 + np.exp(-2 * rows.x.sum(axis=1)))
        training_set.write_evaluation(rows, scores.astype(np.float32), desk.folder / "swapped.parquet")
        run.log_artifact(desk.folder / "swapped.parquet", path="evaluation.parquet")
    desk.settled("swapped")
    assert desk.judge("honest", "endpoint")["endpoint"]["passed"]
    verdict = desk.judge("swapped", "endpoint")["endpoint"]
    assert not verdict["passed"] and "served answers differ from the evaluation" in verdict["text"]


def test_what_cannot_be_judged_is_told(desk):
    client = desk.client
    desk.run("plain", [2.0, 2.0])
    with pytest.raises(BadInput, match="there is no gate 'beauty'"):
        desk.judge("plain", "beauty")
    (desk.folder / "gates.yaml").write_text("beauty: {min: 1}\n")
    with pytest.raises(BadInput, match="there is no gate 'beauty'"):
        desk.judge("plain")  # what the policy asks for and nobody brings is not passed by silence
    (desk.folder / "gates.yaml").write_text("quality: {min_auk: 1}\n")
    with pytest.raises(BadInput, match="has no bound min_auk"):
        desk.judge("plain", "quality")
    with pytest.raises(NotFound, match="there is no file"):
        client.call("gate.run", {"run": "plain", "policy": "/no/such.yaml"})
    with pytest.raises(NotFound, match="there is no run"):
        client.call("gate.run", {"run": "gone"})
    with mlops.start_run(experiment="people", name="empty") as run:
        run.log({"loss": 1.0})
    desk.settled("empty", artifacts=False)
    (desk.folder / "gates.yaml").write_text(POLICY)
    with pytest.raises(NotFound, match="the run empty has no evaluation"):
        desk.judge("empty", "quality")
    with pytest.raises(NotFound, match="no gate has judged empty"):
        client.call("gate.show", {"subject": "empty"})
    assert client.call("gate.list").total == 0


def test_rows_without_a_label_are_not_judged(desk):
    rows = people(NAMES)
    rows.label[::2] = np.nan
    desk.run("half", [2.0, 2.0], rows=rows)
    assert desk.judge("half", "quality")["quality"]["detail"]["quality"]["n"] == 750
