"""Clients that others wrote, against a real server: tritonclient, MLflow's scoring client, schemathesis, kserve's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

KINDS = {
    "FP32": (TensorProto.FLOAT, np.float32),
    "FP64": (TensorProto.DOUBLE, np.float64),
    "FP16": (TensorProto.FLOAT16, np.float16),
    "INT8": (TensorProto.INT8, np.int8),
    "INT16": (TensorProto.INT16, np.int16),
    "INT32": (TensorProto.INT32, np.int32),
    "INT64": (TensorProto.INT64, np.int64),
    "UINT8": (TensorProto.UINT8, np.uint8),
    "UINT16": (TensorProto.UINT16, np.uint16),
    "UINT32": (TensorProto.UINT32, np.uint32),
    "UINT64": (TensorProto.UINT64, np.uint64),
    "BOOL": (TensorProto.BOOL, np.bool_),
    "BYTES": (TensorProto.STRING, np.object_),
}


def echo() -> bytes:
    """A model that gives back an input of every data type: NAME (n, 2) → NAME_out (n, 2)."""
    made = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", [name], [f"{name}_out"]) for name in KINDS],
            "g",
            [helper.make_tensor_value_info(name, kind, ["n", 2]) for name, (kind, _) in KINDS.items()],
            [helper.make_tensor_value_info(f"{name}_out", kind, ["n", 2]) for name, (kind, _) in KINDS.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def values(name: str, rows: int = 3) -> Any:
    if name == "BYTES":
        return np.array([[f"é{i}", "b"] for i in range(rows)], np.object_)
    return np.arange(rows * 2).reshape(rows, 2).astype(KINDS[name][1])


@pytest.fixture(scope="module")
def started(kit: Any) -> Iterator[Callable[[bytes], Any]]:
    """Start a server for a model once in this file."""
    made: dict[bytes, Any] = {}
    with tempfile.TemporaryDirectory() as folder:

        def server(model: bytes) -> Any:
            if model not in made:
                place = Path(folder) / str(len(made))
                place.mkdir()
                made[model] = one = kit.Server(place, workers=1)
                one.routes(1, one.revision(1, model))
                one.start()
            return made[model]

        yield server
        for one in made.values():
            one.close()


@pytest.fixture
def echoing(started: Any) -> Any:
    return started(echo())


@pytest.fixture
def linear(started: Any, kit: Any) -> Any:
    return started(kit.linear(1.0, names=kit.FEATURES))


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_tritonclient_sends_and_gets_every_data_type(echoing: Any, binary: bool, packed: str | None) -> None:
    http = pytest.importorskip("tritonclient.http")
    names = [name for name in KINDS if binary or name != "FP16"]
    inputs, outputs = [], []
    for name in KINDS:
        given = http.InferInput(name, [3, 2], name)
        # Of half floats the client has no JSON: they always go in binary.
        given.set_data_from_numpy(values(name), binary_data=binary or name == "FP16")
        inputs.append(given)
    for name in names:
        outputs.append(http.InferRequestedOutput(f"{name}_out", binary_data=binary))
    with http.InferenceServerClient(f"127.0.0.1:{echoing.port}") as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("employment", "v1")
        assert client.get_server_metadata()["extensions"]
        about = client.get_model_metadata("employment")
        assert {t["name"]: t["datatype"] for t in about["inputs"]} == {name: name for name in KINDS}
        more = {"request_compression_algorithm": packed, "response_compression_algorithm": packed}
        answer = client.infer("employment", inputs, outputs=outputs, request_id="r-1", **more)
        later = client.async_infer("employment", inputs, outputs=outputs, model_version="v1", **more).get_result()
    assert answer.get_response()["id"] == "r-1" and answer.get_response()["model_version"] == "v1"
    for found in (answer, later):
        for name in names:
            got, sent = found.as_numpy(f"{name}_out"), values(name)
            if name == "BYTES":
                texts = [text.decode() if isinstance(text, bytes) else text for text in got.ravel()]
                assert texts == sent.ravel().tolist()
            else:
                assert got.dtype == sent.dtype and np.array_equal(got, sent), name


async def test_tritonclient_with_asyncio_asks_many_at_once(linear: Any) -> None:
    import asyncio

    aio = pytest.importorskip("tritonclient.http.aio")

    async def one(client: Any, i: int) -> float:
        given = aio.InferInput("X", [1, 4], "FP32")
        given.set_data_from_numpy(np.full((1, 4), i, np.float32))
        found = await client.infer("employment", [given], outputs=[aio.InferRequestedOutput("score")])
        return float(found.as_numpy("score")[0, 0])

    client = aio.InferenceServerClient(f"127.0.0.1:{linear.port}")
    try:
        assert await asyncio.gather(*(one(client, i) for i in range(64))) == [4 * i + 1.0 for i in range(64)]
    finally:
        await client.close()


@pytest.fixture(scope="module")
def over_grpc(kit: Any) -> Iterator[Any]:
    pytest.importorskip("grpc")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.close()
        server = kit.Server(Path(folder), workers=1, grpc_port=port, token="s3cret")
        server.routes(1, server.revision(1, echo()))
        server.start()
        server.grpc = port
        yield server
        server.close()


@pytest.mark.parametrize("raw", [True, False])
def test_tritonclient_over_grpc(over_grpc: Any, raw: bool) -> None:
    triton = pytest.importorskip("tritonclient.grpc")
    from tritonclient.utils import InferenceServerException

    headers = {"authorization": "Bearer s3cret"}
    names = [name for name in KINDS if raw or name != "FP16"]
    inputs = []
    for name in KINDS:
        given = triton.InferInput(name, [3, 2], name)
        given.set_data_from_numpy(values(name))
        inputs.append(given)
    with triton.InferenceServerClient(f"127.0.0.1:{over_grpc.grpc}") as client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("employment", "v1", headers=headers)
        about = client.get_model_metadata("employment", headers=headers)
        assert {t.name: t.datatype for t in about.inputs} == {name: name for name in KINDS}
        assert client.get_server_metadata(headers=headers).name == "mlops_tui"
        asked = [triton.InferRequestedOutput(f"{name}_out") for name in names]
        more: dict[str, Any] = {"headers": headers, "request_id": "g-1", "outputs": asked}
        found = client.infer("employment", inputs, **more)
        assert found.get_response().id == "g-1" and found.get_response().model_version == "v1"
        for name in names:
            got, sent = found.as_numpy(f"{name}_out"), values(name)
            texts = [text.decode() for text in got.ravel()] if name == "BYTES" else []
            assert texts == sent.ravel().tolist() if texts else np.array_equal(got, sent), name
        for model, heads, words in (
            ("employment", {}, "UNAUTHENTICATED"),
            ("nobody", headers, "NOT_FOUND"),
            ("employment", headers, "INVALID_ARGUMENT"),
        ):
            with pytest.raises(InferenceServerException) as caught:
                client.infer(model, inputs[:2], headers=heads)
            assert words in str(caught.value.status())


def test_grpc_with_typed_contents_and_its_mistakes(over_grpc: Any) -> None:
    import grpc

    from mlops_tui.serving.transport.grpc_messages import SERVICE, messages

    fields = {"INT8": "int_contents", "INT16": "int_contents", "UINT8": "uint_contents", "UINT16": "uint_contents"}
    fields |= {"INT32": "int_contents", "UINT32": "uint_contents", "BOOL": "bool_contents", "BYTES": "bytes_contents"}
    request = messages()["ModelInferRequest"](model_name="employment")
    for name in KINDS:
        tensor = request.inputs.add(name=name, datatype=name, shape=[3, 2])
        if name != "FP16":
            field = fields.get(name, f"{name.lower()}_contents")
            sent = values(name).ravel().tolist()
            getattr(tensor.contents, field).extend([v.encode() for v in sent] if name == "BYTES" else sent)
    with grpc.insecure_channel(f"127.0.0.1:{over_grpc.grpc}") as channel:
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            messages()["ModelInferRequest"].SerializeToString,
            messages()["ModelInferResponse"].FromString,
        )
        token = [("authorization", "Bearer s3cret")]

        def mistake() -> str:
            with pytest.raises(grpc.RpcError) as caught:
                infer(request, metadata=token, timeout=10)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            return str(caught.value.details())

        assert "FP16" in mistake(), "half floats have no typed contents"
        request.inputs[0].contents.int_contents.append(1)
        assert "belongs into fp32_contents" in mistake()
        request.raw_input_contents.append(b"abc")
        assert "raw_input_contents for" in mistake()


@pytest.mark.parametrize(("generation", "sticky"), [(2, "X-User"), (3, "field:user")])
def test_clients_stick_over_grpc_by_their_metadata_and_by_a_parameter(
    over_grpc: Any, generation: int, sticky: str
) -> None:
    triton = pytest.importorskip("tritonclient.grpc")
    stable, canary = over_grpc.revision(1, echo(), 50), over_grpc.revision(2, echo(), 50, "canary")
    over_grpc.routes(generation, stable, canary, sticky=sticky)
    over_grpc.serving(generation)
    headers = {"authorization": "Bearer s3cret"}
    inputs = []
    for name in KINDS:
        given = triton.InferInput(name, [3, 2], name)
        given.set_data_from_numpy(values(name))
        inputs.append(given)
    asked = [triton.InferRequestedOutput("FP32_out")]

    def answered(user: str) -> str:
        by_header = sticky == "X-User"
        more: dict[str, Any] = {"headers": headers | ({"x-user": user} if by_header else {})}
        more |= {} if by_header else {"parameters": {"user": user}}
        return str(client.infer("employment", inputs, outputs=asked, **more).get_response().model_version)

    with triton.InferenceServerClient(f"127.0.0.1:{over_grpc.grpc}") as client:
        first = {user: answered(user) for user in map(str, range(16))}
        assert set(first.values()) == {"v1", "v2"}
        assert all(answered(user) == revision for user, revision in first.items())


def test_mistakes_come_as_errors_of_tritonclient(linear: Any) -> None:
    http = pytest.importorskip("tritonclient.http")
    from tritonclient.utils import InferenceServerException

    wrong = http.InferInput("X", [1, 3], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 3), np.float32))
    with http.InferenceServerClient(f"127.0.0.1:{linear.port}") as client:
        with pytest.raises(InferenceServerException, match="the model takes") as caught:
            client.infer("employment", [wrong])
        assert caught.value.status() == "400"
        with pytest.raises(InferenceServerException, match="there is no model"):
            client.infer("nobody", [wrong])


def test_mlflows_scoring_client(linear: Any, kit: Any) -> None:
    scoring = pytest.importorskip("mlflow.pyfunc.scoring_server.client")
    import pandas as pd

    client = scoring.ScoringServerClient("127.0.0.1", linear.port)
    client.wait_server_ready(timeout=20)
    frame = pd.DataFrame([[1.0, 2, 3, 4], [5, 6, 7, 8]], columns=kit.FEATURES)
    found = client.invoke(frame).get_predictions()
    assert found["score"].map(lambda row: row[0] if isinstance(row, list) else row).tolist() == [11.0, 27.0]
    turned = client.invoke(frame[kit.FEATURES[::-1]]).get_predictions()
    assert turned["label"].tolist() == found["label"].tolist() == [1, 1]
    assert client.invoke(frame.to_numpy().tolist()).get_predictions()["label"].tolist() == [1, 1]
    with pytest.raises(Exception, match="columns are missing"):
        client.invoke(frame.drop(columns=["age"]))


@pytest.mark.parametrize("model", ["linear", "echoing"])
def test_schemathesis_finds_the_server_to_be_what_its_document_says(model: str, request: Any) -> None:
    pytest.importorskip("schemathesis")
    server = request.getfixturevalue(model)
    program = Path(sysconfig.get_path("scripts")) / "schemathesis"
    command = [str(program) if program.exists() else "schemathesis", "run"]
    command += [f"http://127.0.0.1:{server.port}/openapi.json", "--checks", "all", "--max-examples", "2"]
    command += ["--phases", "coverage,fuzzing", "--no-color"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=server.folder.parent)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]


_KSERVE = """
import asyncio, sys
from kserve import InferenceRESTClient, InferRequest, InferInput, RESTConfig
async def main(url):
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    assert await client.is_server_live(url) and await client.is_server_ready(url)
    assert await client.is_model_ready(url, "employment")
    given = InferInput("X", [1, 4], "FP32", [1.0, 2.0, 3.0, 4.0])
    found = await client.infer(url, InferRequest("employment", [given], request_id="k-1"), model_name="employment")
    scores = next(o for o in found.outputs if o.name == "score")
    print(found.id, list(scores.data), found.model_name)
asyncio.run(main(sys.argv[1]))
"""


def test_kserves_client(linear: Any) -> None:
    """In an environment of its own, as it pins what others pin otherwise."""
    python = kserve()
    asked = [str(python), "-c", _KSERVE, f"http://127.0.0.1:{linear.port}"]
    found = subprocess.run(asked, capture_output=True, text=True, timeout=120, cwd="/")
    assert found.returncode == 0, found.stderr[-3000:]
    assert found.stdout.split() == ["k-1", "[11.0]", "employment"]


def kserve() -> Path:
    """Return a Python that has kserve's client; it is made once for all runs on a machine."""
    place = Path(tempfile.gettempdir()) / "mlops-peers" / "kserve"
    python, ready = place / "bin" / "python", place / "ready"
    if not ready.exists():
        make = f"{sys.executable} -m venv --clear {place} && {python} -m pip install -q kserve==0.21.0"
        quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        made = subprocess.run(["sh", "-c", make], capture_output=True, text=True, timeout=600, env=quiet)
        if made.returncode:
            pytest.skip(f"kserve's client cannot be had here: {made.stderr.strip().splitlines()[-1:]}")
        ready.touch()
    return python
