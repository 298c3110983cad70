"""A model file is asked by the names of its features."""

from __future__ import annotations

import numpy as np
import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.pipelines.gates.model import Model
from mlops_tui.pipelines.gates.worker import pick

ROWS = {"a": np.array([1.0, 2.0]), "b": np.array([0.0, 1.0]), "c": np.array([9.0, 9.0])}


def sigmoid(values):
    return 1 / (1 + np.exp(-np.asarray(values)))


def test_features_are_found_by_name_in_whatever_order_they_come(make_model, tmp_path):
    model = Model(make_model(tmp_path / "m.onnx", [1.0, -3.0], ["b", "a"]), ["a", "b", "c"])
    assert model.inputs == ["b", "a"]
    np.testing.assert_allclose(model(ROWS), sigmoid([-3.0, -5.0]), rtol=1e-5)


def test_a_model_without_names_takes_all_features_in_their_order(make_model, tmp_path):
    model = Model(make_model(tmp_path / "m.onnx", [1.0, -3.0, 0.0]), ["a", "b", "c"])
    np.testing.assert_allclose(model(ROWS), sigmoid([1.0, -1.0]), rtol=1e-5)
    with pytest.raises(BadInput, match="takes 3 features, the rows have 2"):
        Model(tmp_path / "m.onnx", ["a", "b"])


def test_of_two_outputs_the_second_is_the_score(make_model, tmp_path):
    model = Model(make_model(tmp_path / "m.onnx", [1.0, 0.0, 0.0], outputs=2), ["a", "b", "c"])
    np.testing.assert_allclose(model(ROWS), sigmoid([1.0, 2.0]), rtol=1e-5)


def test_a_feature_that_is_not_there_is_named(make_model, tmp_path):
    make_model(tmp_path / "m.onnx", [1.0, 1.0], ["a", "wealth"])
    with pytest.raises(BadInput, match="the model takes the feature wealth, which the rows have not"):
        Model(tmp_path / "m.onnx", ["a", "b"])


def test_what_is_no_model_is_told(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match="the model cannot be loaded"):
        Model(tmp_path / "m.onnx", ["a"])


def test_the_artifact_that_is_meant():
    assert pick({}, "model.onnx", ".onnx") is None
    assert pick({"notes.md": "1", "net.onnx": "2"}, "model.onnx", ".onnx") == "net.onnx"
    assert pick({"other.onnx": "1", "model/model.onnx": "2"}, "model.onnx", ".onnx") == "model/model.onnx"
    for several in (["a.onnx", "b.onnx"], ["x/model.onnx", "y/model.onnx"]):
        with pytest.raises(BadInput, match=r"several artifacts model\.onnx"):
            pick(dict.fromkeys(several, "1"), "model.onnx", ".onnx")
