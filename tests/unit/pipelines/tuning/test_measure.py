"""A measurement runs real workers; a job goes on where it stopped; quantised models answer alike and are smaller."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlops_tui.core.errors import MlopsError
from mlops_tui.pipelines.tuning.measure import measure
from mlops_tui.pipelines.tuning.reference import Reference, answers, bodies, loss
from mlops_tui.pipelines.tuning.variants import variants
from mlops_tui.pipelines.tuning.worker import _Bench
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.models.profile import Setting

NAMES = [f"f{i}" for i in range(32)]


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    """x (n, 32) → score (n, 1) over one hidden layer of 128."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in (("a", (32, 128)), ("b", (128, 1)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["score"]),
    ]
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", floats, ["n", 32])],
        [helper.make_tensor_value_info("score", floats, ["n", 1])], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"mlops.features": json.dumps(NAMES)})
    path = tmp_path_factory.mktemp("mlp") / "fp32.onnx"
    onnx.save(model, str(path))
    return path


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(1)
    return Reference({name: rng.normal(size=300).astype(np.float32) for name in NAMES}, np.empty(0))


def test_quantised_models_are_smaller_keep_their_words_and_answer_alike(mlp, reference, tmp_path):
    model = Model(mlp.read_bytes())
    made = variants(mlp, tmp_path, [reference.feed(model, i, i + 1) for i in range(64)])
    assert list(made.files) == ["fp32", "int8-dynamic", "int8-static"] and list(made.left_out) == ["fp16"]
    plain = answers(mlp, reference)
    for precision in ("int8-dynamic", "int8-static"):
        path = made.files[precision]
        assert path.stat().st_size < 0.6 * mlp.stat().st_size
        assert Model(path.read_bytes()).features == tuple(NAMES)
        assert loss(plain, answers(path, reference), reference.label).value < 0.05


def test_without_a_reference_set_only_fp32_is_measured(mlp, tmp_path):
    made = variants(mlp, tmp_path, [])
    assert list(made.files) == ["fp32"] and "no reference set" in made.left_out["int8-static"]


def test_what_has_nothing_to_quantise_says_so(make_model, tmp_path):
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper, save

    shape = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])]
    graph = helper.make_graph([helper.make_node("Exp", ["x"], ["y"])], "g", shape, out)
    path = tmp_path / "exp.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    made = variants(path, tmp_path, [{"x": np.zeros((1, 2), np.float32)}])
    assert "nothing in this model can be quantised" in made.left_out["int8-dynamic"]


class Told:
    def __init__(self):
        self.shares = []

    def progress(self, share):
        self.shares.append(share)


def test_workers_measure_and_a_job_goes_on_where_it_stopped(mlp, reference, tmp_path):
    model = Model(mlp.read_bytes())
    wanted = bodies(model, reference, 4)
    found = measure(Setting(workers=2), {"fp32": mlp}, wanted, 0.02)
    assert found.failed == 0 and 0 < found.p50_ms <= found.p99_ms
    assert found.rate > 0 and found.memory > 20e6 and found.cpu_us > 0
    notes, settings = tmp_path / "measured.jsonl", [Setting(), Setting(gather_ms=2.0)]
    first = _Bench({"fp32": mlp}, wanted, 0.02, notes, Told()).rounds(settings, 1)
    assert first[settings[1]][0].p50_ms >= 2.0
    with notes.open("ab") as file:
        file.write(b'{"key": "cut sh')
    nobody = {"fp32": tmp_path / "gone.onnx"}
    assert _Bench(nobody, wanted, 0.02, notes, told := Told()).rounds(settings, 1) == first
    assert told.shares == sorted(told.shares) and len(told.shares) == 2


def test_a_worker_that_dies_is_an_error(tmp_path):
    with pytest.raises(MlopsError, match="a worker of the measurement died"):
        measure(Setting(), {"fp32": tmp_path / "none.onnx"}, ["{}"], 0.02)
