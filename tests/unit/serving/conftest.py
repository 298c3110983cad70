"""Models and an application without a process around them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlops_tui.serving.deployment import Deployment, Revision
from mlops_tui.serving.deployment import Model as ModelRef
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.protocol.app import App
from mlops_tui.serving.record.counters import Counters
from mlops_tui.serving.record.inference_log import InferenceLog
from mlops_tui.serving.traffic.routing import Arm, Router

Inputs = list[tuple[str, int, list[Any]]]


def onnx_bytes(nodes: Any, inputs: Inputs, outputs: Inputs, constants: Any = (), props: Any = None) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if props:
        helper.set_model_props(made, props)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def summing(bias: float = 0.0, width: int = 3, names: list[str] | None = None) -> bytes:
    """X (n, width) float → score (n, 1) = Σ X + bias, count (n) int64 = width."""
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("bias", TensorProto.FLOAT, [1], [bias]),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["X", "axis"], ["sum"], keepdims=1),
        helper.make_node("Add", ["sum", "bias"], ["score"]),
        helper.make_node("Sign", ["X"], ["s"]),
        helper.make_node("Abs", ["s"], ["a"]),
        helper.make_node("ReduceSum", ["a", "axis"], ["c"], keepdims=0),
        helper.make_node("Cast", ["c"], ["count"], to=TensorProto.INT64),
    ]
    outputs: Inputs = [("count", TensorProto.INT64, ["n"]), ("score", TensorProto.FLOAT, ["n", 1])]
    props = {"mlops.features": json.dumps(names)} if names else None
    return onnx_bytes(nodes, [("X", TensorProto.FLOAT, ["n", width])], outputs, constants, props)


def mixed() -> bytes:
    """age (n, 1) float, hours (n) int64, job (n, 1) string → pay (n, 1) = age × hours, job_out (n, 1)."""
    constants = [helper.make_tensor("axis", TensorProto.INT64, [1], [1])]
    nodes = [
        helper.make_node("Cast", ["hours"], ["h"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["h", "axis"], ["hc"]),
        helper.make_node("Mul", ["age", "hc"], ["pay"]),
        helper.make_node("Identity", ["job"], ["job_out"]),
    ]
    inputs: Inputs = [
        ("age", TensorProto.FLOAT, ["n", 1]),
        ("hours", TensorProto.INT64, ["n"]),
        ("job", TensorProto.STRING, ["n", 1]),
    ]
    outputs: Inputs = [("pay", TensorProto.FLOAT, ["n", 1]), ("job_out", TensorProto.STRING, ["n", 1])]
    return onnx_bytes(nodes, inputs, outputs, constants)


def images() -> bytes:
    """X (n, 2, w) float with a free width → mean (n) float."""
    constants = [helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2])]
    nodes = [helper.make_node("ReduceMean", ["X", "axes"], ["mean"], keepdims=0)]
    return onnx_bytes(nodes, [("X", TensorProto.FLOAT, ["n", 2, "w"])], [("mean", TensorProto.FLOAT, ["n"])], constants)


def brittle() -> bytes:
    """X (n, 3) → count (n) and score (n, 1); fails in the middle of the graph when X[0] is 10 or more."""
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("from", TensorProto.INT64, [1], [0]),
        helper.make_tensor("table", TensorProto.FLOAT, [10], [0.5] * 10),
    ]
    nodes = [
        helper.make_node("Slice", ["X", "from", "axis", "axis"], ["first"]),
        helper.make_node("Cast", ["first"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["score"]),
        helper.make_node("Squeeze", ["index", "axis"], ["count"]),
    ]
    outputs: Inputs = [("count", TensorProto.INT64, ["n"]), ("score", TensorProto.FLOAT, ["n", 1])]
    return onnx_bytes(nodes, [("X", TensorProto.FLOAT, ["n", 3])], outputs, constants)


class Bench:
    """An application with a log and counters in a folder, and a short way to ask it."""

    def __init__(self, folder: Path, **facts: Any) -> None:
        self.spool = folder / "spool"
        self.deployment = Deployment(deployment="d", name="m", spool=str(self.spool), **facts)
        self.counters = Counters(folder / "counters", 1)
        self.slot = self.counters.slot(0)
        self.log = InferenceLog(self.spool, "d", 1 << 30, self.slot)
        self.app = App(self.deployment, self.counters, self.slot, self.log)
        self.models: dict[bytes, Model] = {}

    def arm(self, no: int, data: bytes | Model, weight: float = 100.0, role: str = "stable") -> Arm:
        model = data if isinstance(data, Model) else self.models.setdefault(data, Model(data))
        revision = Revision(f"rev-{no}", no, f"v{no}", ModelRef("f"), weight, role)
        return Arm("m", revision, model, no, self.log.stream(model.features, model.outputs))

    def route(self, *arms: Arm, sticky: str | None = None, fallback: str | None = None) -> Router:
        router = Router((1, 1), arms, sticky, fallback)
        self.app.route(router, [(0, "", "none"), *((a.column, a.id, a.label) for a in arms)])
        return router

    def ask(self, path: str, body: Any = b"", method: str = "POST", **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {k.replace("_", "-").lower().encode(): v.encode() for k, v in headers.items()}
        return self.app.handle(method, path, {b"host": b"localhost", **named}, data)

    def infer(self, rows: Any, **more: Any) -> Any:
        array = np.array(rows, np.float32)
        tensor = {"name": "X", "shape": list(array.shape), "datatype": "FP32", "data": array.ravel().tolist()}
        return self.ask("/v2/models/m/infer", {"inputs": [tensor], **more})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[..., Bench]:
    return lambda **facts: Bench(tmp_path, **facts)


@pytest.fixture
def onnx_models() -> Any:
    class Models:
        summing = staticmethod(summing)
        mixed = staticmethod(mixed)
        images = staticmethod(images)
        brittle = staticmethod(brittle)
        raw = staticmethod(onnx_bytes)

    return Models
