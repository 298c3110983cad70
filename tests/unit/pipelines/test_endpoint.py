"""The endpoint gate with a real server process: what is served must be what was evaluated."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlops_tui.pipelines.gates import endpoint
from mlops_tui.pipelines.gates.model import Model
from mlops_tui.pipelines.gates.policy import DEFAULT
from mlops_tui.plugins.hookspecs import Candidate

GATE = endpoint.EndpointGate()
BOUNDS = {**DEFAULT["endpoint"], "max_p95_ms": 5000.0}
"""A busy machine's latency says nothing about the gate."""


@pytest.fixture
def candidate(make_model, tmp_path, home):
    rng = np.random.default_rng(1)
    columns = {"b": rng.normal(size=40).astype(np.float32), "a": rng.normal(size=40).astype(np.float32)}
    path = make_model(tmp_path / "model.onnx", [2.0, -1.0], ["a", "b"])
    model = Model(path, ["a", "b"])
    return Candidate(
        run="r",
        labels=rng.integers(0, 2, 40),
        scores=model(columns),
        columns=columns,
        predict=model,
        inputs=model.inputs,
        bounds=BOUNDS,
        model=path,
    )


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    """Every server that the gate started has ended with its workers, and its folder is gone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    yield
    assert not os.listdir(tmp_path / "tmp")
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert not [line for line in commands if str(tmp_path).encode() in line]


def test_a_model_that_is_served_as_it_was_evaluated_passes(candidate):
    verdict = GATE.judge(candidate)
    assert verdict.passed, verdict.text
    assert verdict.text.startswith("32 requests, p95 ") and verdict.text.endswith("answers agree")
    assert verdict.detail["max_difference"] < 1e-5 and 0 < verdict.detail["p50_ms"] <= verdict.value


def test_a_model_that_is_served_differently_is_refused(candidate):
    scores = candidate.scores.copy()
    scores[3] += 0.01
    verdict = GATE.judge(replace(candidate, scores=scores))
    assert not verdict.passed
    assert verdict.text == "served answers differ from the evaluation by up to 0.01"


def test_an_answer_that_is_no_number_is_refused(candidate):
    columns = {**candidate.columns, "a": np.full(40, np.nan, dtype=np.float32)}
    verdict = GATE.judge(replace(candidate, columns=columns))
    assert not verdict.passed and "differ from the evaluation by up to nan" in verdict.text


def test_a_model_that_is_too_slow_is_refused(candidate):
    verdict = GATE.judge(replace(candidate, bounds={**BOUNDS, "max_p95_ms": 0.0}))
    assert not verdict.passed and "is above 0.0 ms" in verdict.text


def test_the_probability_of_class_1_is_compared(candidate, make_model, tmp_path):
    path = make_model(tmp_path / "two.onnx", [2.0, -1.0], ["a", "b"], outputs=2)
    assert GATE.judge(replace(candidate, model=path)).passed


def test_a_model_that_cannot_be_served_is_refused_with_the_reason(candidate, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    verdict = GATE.judge(candidate)
    assert not verdict.passed and verdict.value is None
    assert verdict.text.startswith("the model cannot be served: the server refused it · the model cannot be loaded")


def test_a_server_that_dies_at_once_is_told_as_such(candidate, monkeypatch):
    monkeypatch.setattr(endpoint.sys, "executable", "/bin/false")
    verdict = GATE.judge(candidate)
    assert not verdict.passed and verdict.text.endswith("exit code 1")


def test_a_server_that_does_not_drain_is_killed(candidate, monkeypatch):
    started = []
    popen = subprocess.Popen

    def stubborn(command, **options):
        started.append(
            popen(["/bin/sh", "-c", "trap '' TERM; for i in 1 2 3 4 5 6 7 8 9; do sleep 1; done"], **options)
        )
        return started[0]

    monkeypatch.setattr(endpoint.subprocess, "Popen", stubborn)
    monkeypatch.setattr(endpoint, "START_S", 0.5)
    monkeypatch.setattr(endpoint, "STOP_S", 0.5)
    assert "waited 0.5 s" in GATE.judge(candidate).text
    assert started[0].returncode == -9


def test_without_a_model_file_nothing_is_served(candidate):
    verdict = GATE.judge(replace(candidate, model=None))
    assert not verdict.passed and "no ONNX model" in verdict.text
