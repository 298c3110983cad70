from __future__ import annotations

import msgspec
import numpy as np
import pytest


@pytest.fixture(scope="session")
def make_model():
    """Write an ONNX model: sigmoid of the sum of its inputs, each times its weight."""
    onnx = pytest.importorskip("onnx")
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
