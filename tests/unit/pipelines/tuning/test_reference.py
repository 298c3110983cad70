"""What a candidate loses: classes or numbers, with the truth or against fp32."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.pipelines.tune_operations import limits, share
from mlops_tui.pipelines.tuning import drawing
from mlops_tui.pipelines.tuning.reference import CLASSES, NUMBERS, Answers, Reference, _read, bodies, loss
from mlops_tui.serving.models.model import Model

NONE = np.empty(0)


def classes(*values):
    return Answers(CLASSES, np.array(values))


def numbers(*values):
    return Answers(NUMBERS, np.array(values, np.float64))


def test_of_classes_the_truth_counts_and_without_it_agreement():
    plain, other = classes(1, 1, 0, 0), classes(1, 0, 0, 0)
    assert loss(plain, other, np.array([1.0, 1.0, 0.0, 1.0])).value == pytest.approx(0.25)
    assert loss(plain, other, np.array([1.0, 0.0, 0.0, np.nan])).value == pytest.approx(-1 / 3), "it may be better"
    assert loss(plain, other, NONE).value == pytest.approx(0.25)


def test_of_numbers_the_error_counts_and_without_truth_the_distance():
    plain, other = numbers(1, 2, 3, 4), numbers(1, 2, 3, 5)
    assert loss(plain, other, np.array([1.0, 2.0, 3.0, 3.0])).value == pytest.approx(1.0)
    assert loss(plain, other, NONE).value == pytest.approx(0.5 / np.std([1, 2, 3, 4]))
    assert loss(plain, plain, NONE).value == 0


@pytest.mark.parametrize(
    ("array", "datatype", "label", "task"),
    [
        (np.array([[0.2], [0.9]], np.float32), "FP32", NONE, CLASSES),
        (np.array([[0.2], [7.0]], np.float32), "FP32", NONE, NUMBERS),
        (np.array([[0.2], [7.0]], np.float32), "FP32", np.array([0.0, 1.0]), CLASSES),
        (np.array([[0.2], [0.9]], np.float32), "FP32", np.array([0.2, 0.7]), NUMBERS),
        (np.array([[0.2, 0.8], [0.9, 0.1]], np.float32), "FP32", NONE, CLASSES),
        (np.array([3, 4], np.int64), "INT64", NONE, CLASSES),
    ],
)
def test_the_task_is_told_by_outputs_and_truth(array, datatype, label, task):
    assert _read([array], [datatype], label).task == task


def test_requests_are_made_of_the_reference_rows(make_model, tmp_path):
    path = tmp_path / "m.onnx"
    make_model(path, [1.0, 2.0], ["age", "hours"])
    model = Model(path.read_bytes())
    reference = Reference({"hours": np.array([3.0, np.nan]), "age": np.array([1.0, 2.0])}, NONE)
    tensor = json.loads(bodies(model, reference)[0])["inputs"][0]
    assert (tensor["shape"], tensor["datatype"], tensor["data"]) == ([1, 2], "FP32", [1.0, 3.0])
    assert json.loads(bodies(model, reference)[1])["inputs"][0]["data"] == [2.0, 0.0]
    assert json.loads(bodies(model, None)[0])["inputs"][0]["data"] == [0.0, 0.0]
    with pytest.raises(BadInput, match="no column hours"):
        Reference({"age": np.array([1.0])}, NONE).feed(model, 0, 1)


def test_limits_have_units_that_fit():
    assert limits(["p99=20ms", "p50 = 500us", "memory=200MB", "rate=1000"]) == {
        "p99_ms": 20.0, "p50_ms": 0.5, "memory": 2e8, "rate": 1000.0,
    }  # fmt: skip
    for wrong in ("p99=20", "p98=20ms", "p99<20ms", "memory=20ms"):
        with pytest.raises(BadInput, match="is no limit"):
            limits([wrong])


def test_shares_are_per_cent_or_fractions():
    assert (share("0.5%"), share("0.005"), share(" 1 %")) == (0.005, 0.005, 0.01)
    for wrong in ("much", "150%", "-1%"):
        with pytest.raises(BadInput, match="is no share"):
            share(wrong)


def test_the_drawing_marks_the_chosen_one():
    rows = [
        {"candidate": "fp32 1t×1w", "p50_ms": 1.0, "rate": 100.0, "pareto": False, "note": ""},
        {"candidate": "int8-static 1t×1w", "p50_ms": 0.5, "rate": 300.0, "pareto": True, "note": "chosen"},
    ]
    text = drawing.cells("title", rows)
    assert text.splitlines()[2].endswith("│*") and "o fp32  x int8-static  * chosen" in text
    svg = drawing.svg("title", rows).decode()
    assert svg.count("<circle") == 4 and "int8-static 1t×1w" in svg
