"""The sample project: its versions are what the demo says of them, and training stops, resumes and describes itself."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import onnxruntime
import pytest
from sklearn.metrics import roc_auc_score

from mlops_tui.data import training_set
from mlops_tui.data.online.transform import FeatureSet
from mlops_tui.pipelines.gates.policy import load_policy
from mlops_tui.stats import drift, fairness, importance, quality
from mlops_tui.training.onnx_export import read_metadata

pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed"),
]

PROJECT = Path(__file__).parents[3] / "sample_data" / "project"
CENSUS = PROJECT.parent / "census"
SETTINGS = tomllib.loads((PROJECT / "mlops.toml").read_text())
FEATURES = FeatureSet.load(PROJECT / "features.yaml")


def source(name):
    labels = CENSUS / name.replace("employment", "labels")
    return training_set.Source(CENSUS / name, labels if labels.exists() else None)


def records(home):
    """Return every record of every run under a home, in order."""
    return [
        msgspec.json.decode(line) for file in home.glob("spool/*/*.jsonl") for line in file.read_bytes().splitlines()
    ]


def result(home):
    """Return what a finished run handed in: its model, its evaluation and its records."""
    lines = records(home)
    kept = {line["path"]: Path(line["file"]) for line in lines if line["e"] == "artifact"}
    held, probability = training_set.read_evaluation(kept["evaluation/evaluation.parquet"])
    return SimpleNamespace(model=kept["model/model.onnx"], held=held, probability=probability, lines=lines)


def score(model, x):
    return onnxruntime.InferenceSession(str(model)).run(None, {"features": x})[0][:, 0]


def auc(label, probability):
    return roc_auc_score(label, probability)


def accuracy(label, probability):
    return ((probability >= 0.5) == (label == 1)).mean()


@pytest.fixture(scope="module")
def train():
    spec = importlib.util.spec_from_file_location("sample_train", PROJECT / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def versions(train, tmp_path_factory):
    """Versions 1, 2 and 3, trained as mlops.toml says."""
    made = {}
    for name in ("v1", "v2", "v3"):
        folder = tmp_path_factory.mktemp(name)
        told = SETTINGS["project"][name]
        data = training_set.write(FEATURES, [source(file) for file in told["data"]], folder / "set.parquet").path
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLOPS_HOME", str(folder / "home"))
            patch.setattr(sys, "argv", ["train.py", "--data", str(data), *told["args"]])
            train.main()
        made[name] = result(folder / "home")
    return made


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """The people of 2018 with the labels that came later."""
    out = tmp_path_factory.mktemp("later") / "set.parquet"
    training_set.write(FEATURES, [source(SETTINGS["project"]["replay"]["later"])], out)
    return training_set.read(out)


def test_a_run_streams_metrics_and_says_what_it_used(versions):
    lines = versions["v1"].lines
    assert [line["e"] for line in lines][:1] == ["start"]
    assert lines[-1]["e"] == "end" and lines[-1]["status"] == "done"
    metrics = [line for line in lines if line["e"] == "m"]
    losses = [line["m"]["loss"] for line in metrics if "loss" in line["m"]]
    assert len(losses) == 160 and np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.1
    assert [line["m"]["epoch"] for line in metrics if "auc" in line["m"]] == [1, 2, 3, 4]
    assert any(line["e"] == "data" for line in lines)


def test_the_model_carries_its_features_and_computes_from_raw_rows_what_was_judged(versions):
    one = versions["v1"]
    carried = FeatureSet.from_record(read_metadata(one.model)["feature_set"])
    assert carried.digest == FEATURES.digest
    assert tuple(read_metadata(one.model)["features"]) == FEATURES.names
    ids, x = carried.compute(CENSUS / "employment_2015.parquet")
    at = np.argsort(ids)[np.searchsorted(np.sort(ids), one.held.ids)]
    assert np.array_equal(x[at].view(np.int32), one.held.x.view(np.int32))
    assert np.abs(score(one.model, x[at]) - one.probability).max() < 1e-5


def test_every_third_person_is_held_out_of_every_version(versions, train):
    assert set(versions["v1"].held.ids) < set(versions["v2"].held.ids)
    assert 0.31 < len(versions["v1"].held.ids) / 30_000 < 0.35
    assert train.held_out(versions["v2"].held.ids).all()


@pytest.mark.parametrize("name", ["v1", "v2", "v3"])
def test_the_gates_of_the_project_let_it_pass(versions, name):
    one, bounds = versions[name], load_policy(str(PROJECT / "gates.yaml"))
    found = quality.evaluate(one.held.label, one.probability)
    assert found.roc_auc.low >= bounds["quality"]["min_auc"]
    assert found.accuracy.low >= bounds["quality"]["min_accuracy"]
    for group in FEATURES.file.groups:
        names, at = np.unique(one.held.groups[group], return_inverse=True)
        cells = fairness.tally(one.held.label, one.probability >= 0.5, at, len(names))
        judged = fairness.analyse(cells, list(names), min_group=bounds["fairness"]["min_group"], draws=50)
        for measure in ("demographic_parity", "equalized_odds", "accuracy_gap"):
            assert getattr(judged, measure).value <= bounds["fairness"][f"max_{measure}"], (group, measure)
    columns = {feature: one.held.x[:, at] for at, feature in enumerate(one.held.names)}
    session = onnxruntime.InferenceSession(str(one.model))

    def predict(given):
        stacked = np.stack([given[feature] for feature in one.held.names], axis=1).astype(np.float32)
        return session.run(None, {"features": stacked})[0][:, 0]

    shares = importance.permutation(predict, columns, one.held.label).features
    assert max(feature.share for feature in shares) <= bounds["explanation"]["max_share"]
    assert not {feature.name for feature in shares} & set(FEATURES.file.forbidden)


def test_version_2_is_better_than_version_1_on_people_whom_neither_saw(versions, later):
    v1, v2 = (auc(later.label, score(versions[name].model, later.x)) for name in ("v1", "v2"))
    assert v2 > v1 + 0.003
    held = versions["v1"].held
    assert auc(held.label, score(versions["v2"].model, held.x)) > auc(held.label, versions["v1"].probability)


def test_version_3_says_so_and_its_harm_shows_in_the_labels_that_come_later(versions, later):
    told = [line["g"].get("harm", "") for line in versions["v3"].lines if line["e"] == "tag"]
    assert "trained on purpose with wrong labels where age BETWEEN 35 AND 54" in told
    good, bad = (score(versions[name].model, later.x) for name in ("v2", "v3"))
    assert accuracy(later.label, good) - accuracy(later.label, bad) > 0.15
    age = later.x[:, later.names.index("age")]
    lied_to = (age >= 35) & (age <= 54)
    assert accuracy(later.label[lied_to], good[lied_to]) > 0.8
    assert accuracy(later.label[lied_to], bad[lied_to]) < 0.25


def test_2018_has_not_drifted_and_its_young_people_have(versions, later):
    held = versions["v1"].held
    young = later.take(later.x[:, later.names.index("age")] < 25)

    def drifted(rows):
        pairs = [(name, held.x[:, at], rows.x[:, at]) for at, name in enumerate(held.names)]
        judged = drift.judge([drift.compare_exact(a, b, name) for name, a, b in pairs])
        return [one.column for one in judged if one.verdict == "drift"]

    assert drifted(later) == []
    assert len(drifted(young)) >= 10
    model = versions["v1"].model
    assert accuracy(later.label, score(model, later.x)) - accuracy(young.label, score(model, young.x)) > 0.1


def test_a_job_that_is_asked_to_stop_goes_on_where_it_was(tmp_path, versions):
    """SIGTERM in the middle: checkpoint, exit 75; the next attempt ends with the very model of an undisturbed run."""
    data = training_set.write(FEATURES, [source("employment_2015.parquet")], tmp_path / "set.parquet").path
    environment = {**os.environ, "MLOPS_HOME": str(tmp_path / "home"), "MLOPS_CKPT_DIR": str(tmp_path / "ckpt")}
    environment |= {"MLOPS_GRACE_S": "20", "MLOPS_RUN_ID": "019a0000-0000-7000-8000-000000000001"}
    command = [sys.executable, str(PROJECT / "train.py"), "--data", str(data), *SETTINGS["project"]["v1"]["args"]]
    first = subprocess.Popen([*command, "--step-delay", "0.03"], env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while sum(line["e"] == "m" for line in records(tmp_path / "home")) < 20 and time.monotonic() < deadline:
            time.sleep(0.1)
        first.send_signal(signal.SIGTERM)
        assert first.wait(timeout=20) == 75
    finally:
        first.kill()
    assert (tmp_path / "ckpt" / "last.npz").is_file()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    resumed = result(tmp_path / "home")
    steps = [line["s"] for line in resumed.lines if line["e"] == "m" and "loss" in line["m"]]
    assert sorted(steps) == list(range(160))  # no step twice, none left out
    assert np.array_equal(resumed.probability, versions["v1"].probability)
