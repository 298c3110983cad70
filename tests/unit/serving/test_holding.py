"""Which memory file of a model a worker keeps, and what it lets go of."""

import asyncio
import os

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper

from mlops_tui.core.errors import BadInput
from mlops_tui.serving.deployment import Deployment
from mlops_tui.serving.deployment import Model as Place
from mlops_tui.serving.models.holding import Holding


class Loaded:
    def __init__(self):
        self.condition, self.closed = {"engine": "onnx"}, False

    def close(self):
        self.closed = True


@pytest.fixture
def held():
    held = Holding(Deployment(deployment="d", name="m", spool=""))
    yield held
    held.in_use = ()
    held.forget()


def memory(content):
    fd = os.memfd_create("model")
    os.write(fd, content)
    return fd


def is_open(fd):
    return os.path.exists(f"/proc/self/fd/{fd}")


def test_a_file_that_changed_takes_the_place_of_the_old_one_and_of_its_model(held):
    old, new, model = memory(b"1"), memory(b"2"), Loaded()
    held.keep("a", old)
    held.models["a"] = model
    held.keep("a", new)
    assert held.files == {"a": new} and not is_open(old)
    held._loader.shutdown()
    assert model.closed and held.conditions() == {}


def test_the_same_file_again_changes_nothing(held):
    old = memory(b"1")
    again = os.dup(old)
    held.keep("a", old)
    held.models["a"] = Loaded()
    held.keep("a", again)
    assert held.files == {"a": old} and not is_open(again)
    assert held.conditions() == {"a": {"engine": "onnx"}}
    held.models.clear()


def test_what_is_in_use_is_neither_exchanged_nor_forgotten(held):
    old, new, other, idle = memory(b"1"), memory(b"2"), memory(b"3"), Loaded()
    held.keep("a", old)
    held.keep("b", other)
    held.models["b"] = idle
    held.in_use = {"a"}
    held.keep("a", new)
    held.forget()
    assert held.files == {"a": old} and is_open(old) and not is_open(new) and not is_open(other)
    held._loader.shutdown()
    assert idle.closed and not held.models


def slow_to_load(products):
    """A model whose constants the runtime multiplies while it loads: so many products of large matrices."""
    size = helper.make_tensor("size", TensorProto.INT64, [2], [1200, 1200])
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.001])
    nodes = [helper.make_node("ConstantOfShape", ["size"], ["p0"], value=value)]
    nodes += [helper.make_node("MatMul", [f"p{i}", "p0"], [f"p{i + 1}"]) for i in range(products)]
    nodes.append(helper.make_node("ReduceMean", [f"p{products}"], ["mean"], keepdims=0))
    nodes.append(helper.make_node("Add", ["X", "mean"], ["Y"]))
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 1])]
    outputs = [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["n", 1])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [size])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def test_a_model_that_takes_too_long_to_load_is_refused_and_holds_the_next_up_no_more():
    held = Holding(Deployment(deployment="d", name="m", spool="", load_s=0.05))
    for key, products in (("slow", 20), ("quick", 0)):
        held.keep(key, memory(slow_to_load(products)))

    async def load():
        busy = held._loader
        with pytest.raises(BadInput, match=r"not loaded after 0\.05 s · slow"):
            await held.load({"slow": Place("slow")}, print)
        assert held._loader is not busy
        held._deployment = msgspec.structs.replace(held._deployment, load_s=20.0)
        await held.load({"quick": Place("quick")}, print)

    asyncio.run(load())
    assert [*held.models] == ["quick"] and held.models["quick"].run({"X": np.ones((1, 1), np.float32)})
    held.in_use = ()
    held.forget()
