"""What a model file is, by its content alone."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import struct
import zipfile

import pytest

from mlops_tui.core.errors import Refused
from mlops_tui.registry.formats import examine, pickle_imports
from mlops_tui.registry.onnx_file import NotOnnx, read_signature


class Harmful:
    def __reduce__(self):
        return os.system, ("touch /tmp/owned",)


def look(data):
    return examine(io.BytesIO(data), len(data), "model.onnx")


def safetensors(**changed):
    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {"a": "b"}, **changed}
    )
    return struct.pack("<Q", len(header)) + header.encode() + bytes(8)


def test_an_onnx_file_tells_what_it_takes_and_gives(onnx_file):
    kind, signature = look(onnx_file(4, {"mlops.features": '["a","b"]', "by": "train-v1"}))
    assert kind == "onnx"
    assert signature == {
        "ir": 8,
        "opset": {"ai.onnx": 13},
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["n", 4]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": ["n", 4]}],
        "metadata": {"mlops.features": '["a","b"]', "by": "train-v1"},
    }


def test_the_hand_written_file_is_one_that_the_runtime_loads(onnx_file):
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_file(2))
    assert session.run(None, {"x": np.ones((1, 2), np.float32)})[0].tolist() == [[1.0, 1.0]]


@pytest.mark.train
def test_the_signature_agrees_with_the_onnx_package():
    pytest.importorskip("onnx")
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.zeros((3, 2), np.float32), "w")
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 2]),
    ]
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2]),
        helper.make_tensor_value_info("id", TensorProto.INT64, None),
    ]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Shape", ["y"], ["id"])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, [weight]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
    )
    helper.set_model_props(model, {"mlops.outputs": '["p"]'})
    kind, signature = look(model.SerializeToString())
    assert kind == "onnx" and signature["opset"] == {"ai.onnx": 17, "com.microsoft": 1}
    assert signature["ir"] == model.ir_version and signature["metadata"] == {"mlops.outputs": '["p"]'}
    assert signature["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["n", 3]}], "a weight is no input"
    assert signature["outputs"] == [
        {"name": "y", "dtype": "float32", "shape": ["n", 2]},
        {"name": "id", "dtype": "int64", "shape": None},
    ]


@pytest.mark.train
def test_a_file_that_torch_exported_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "m.onnx"
    net = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Sigmoid()).eval()
    torch.onnx.export(
        net, (torch.zeros(2, 3),), path, dynamo=True, external_data=False, dynamic_shapes=({0: torch.export.Dim("b")},),
        input_names=["features"], output_names=["p"], verbose=False,
    )  # fmt: skip
    kind, signature = look(path.read_bytes())
    assert kind == "onnx" and signature["inputs"][0]["name"] == "features" and signature["outputs"][0]["name"] == "p"
    assert signature["inputs"][0]["shape"][1] == 3


def test_safetensors_and_json_are_taken():
    assert look(safetensors()) == ("safetensors", {})
    assert look(json.dumps({"trees": [1, 2]}).encode()) == ("json", {})
    with pytest.raises(Refused):
        look(safetensors() + b"more than its header says")
    with pytest.raises(Refused):
        look(b"42")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_any_protocol_is_refused_with_what_it_would_run(protocol):
    with pytest.raises(Refused) as caught:
        look(pickle.dumps(Harmful(), protocol))
    assert "it is a pickle" in caught.value.why and "posix.system" in caught.value.why
    assert not os.path.exists("/tmp/owned")


def test_an_archive_with_a_pickle_in_it_is_refused_with_what_it_would_run():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Harmful()))
    with pytest.raises(Refused) as caught:
        look(buffer.getvalue())
    assert "archive with a pickle" in caught.value.why and "posix.system" in caught.value.why


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (b"\x93NUMPY\x01\x00", "NumPy"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x7fELF\x02", "program"),
        (b"PK\x03\x04broken", "ZIP"),
        (b"customer,age\n1,2\n", "none of them"),
        (b"import os", "none of them"),
        (bytes(100), "none of them"),
    ],
)
def test_anything_else_is_refused_with_what_it_looks_like(data, word):
    with pytest.raises(Refused) as caught:
        look(data)
    assert word in caught.value.why
    assert caught.value.fix


def test_weights_in_another_file_are_refused(onnx_file, proto):
    outside = proto(5, proto(8, "w") + proto(14, 1))
    with pytest.raises(Refused, match="another file"):
        look(onnx_file(weights=outside))
    assert look(onnx_file(weights=proto(5, proto(8, "w") + proto(9, bytes(12)))))[0] == "onnx"


def test_a_model_with_something_hung_on_is_refused(onnx_file, proto):
    for more in (pickle.dumps(Harmful()), pickle.dumps(Harmful(), 0), b"PK\x03\x04", b"\x00", proto(99, "more")):
        with pytest.raises(Refused):
            look(onnx_file() + more)


def test_no_cut_and_no_changed_byte_does_more_than_be_refused(onnx_file):
    """Whatever the bytes are, the answer is a signature or NotOnnx, never another error and never a hang."""
    whole = onnx_file(3, {"k": "v"})
    chance = random.Random(7)
    broken = [whole[:end] for end in range(len(whole))]
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        broken.append(bytes(data))
    refused = 0
    for one in broken:
        try:
            read_signature(io.BytesIO(one), len(one))
        except NotOnnx:
            refused += 1
    assert refused > len(broken) / 2


def test_imports_of_a_pickle_are_read_without_running_it():
    assert pickle_imports(pickle.dumps([1, "a"])) == []
    assert pickle_imports(pickle.dumps(Harmful())) == ["posix.system"]
    assert pickle_imports(b"hello world") is None
