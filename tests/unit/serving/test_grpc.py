"""The gRPC service around an application, without a process: what goes in typed comes out, mistakes have their code."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

grpc = pytest.importorskip("grpc")

from mlops_tui.serving.transport.front import Front  # noqa: E402
from mlops_tui.serving.transport.grpc_messages import SERVICE, messages  # noqa: E402
from mlops_tui.serving.transport.grpc_server import GrpcServer  # noqa: E402

Call = Callable[..., Coroutine[Any, Any, Any]]


@pytest.fixture
def served(make_bench: Any, onnx_models: Any) -> Callable[..., None]:
    """Run a scenario with a way to call the service: a message or bytes in, the answer out."""

    def run(scenario: Callable[[Call, Any], Coroutine[Any, Any, None]], **facts: Any) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        bench = make_bench(grpc_port=port, **facts)
        bench.route(bench.arm(1, onnx_models.summing()))

        async def served() -> None:
            server = GrpcServer(
                Front(bench.app, bench.deployment, bench.slot, asyncio.get_running_loop()), bench.deployment
            )
            await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

                async def call(name: str, request: Any) -> Any:
                    data = request if isinstance(request, bytes) else request.SerializeToString()
                    answer = messages()[f"{name}Response"].FromString
                    known = [("authorization", f"Bearer {facts['token']}")] if facts else []
                    ask = channel.unary_unary(f"/{SERVICE}/{name}", response_deserializer=answer)
                    return await asyncio.wait_for(ask(data, metadata=known), 10)

                await scenario(call, bench)
            await server.stop(0)

        asyncio.run(served())

    return run


def rows(values: list[float], shape: tuple[int, ...] = (1, 3)) -> Any:
    request = messages()["ModelInferRequest"](model_name="m")
    request.inputs.add(name="X", datatype="FP32", shape=shape).contents.fp32_contents.extend(values)
    return request


async def refused(call: Call, name: str, request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(name, request)
    return caught.value.code().name, str(caught.value.details())


def test_typed_contents_are_numbers_whatever_they_are(served: Any) -> None:
    async def scenario(call: Call, bench: Any) -> None:
        for values in ([1.0, 2.0, 3.0], [1.0, math.nan, 3.0], [math.inf, 1.0, 1.0]):
            answer = await call("ModelInfer", rows(values))
            score = np.frombuffer(answer.raw_output_contents[1], "<f4")
            np.testing.assert_equal(score, np.float32([sum(values)]))
        assert await refused(call, "ModelInfer", rows([1.0, 2.0])) == (
            "INVALID_ARGUMENT", "input 'X': 2 values for shape [1, 3]"
        )  # fmt: skip
        assert (await refused(call, "ModelInfer", rows([1.0], (-1, 3))))[0] == "INVALID_ARGUMENT"
        small = messages()["ModelInferRequest"](model_name="m")
        small.inputs.add(name="X", datatype="INT8", shape=(1,)).contents.int_contents.append(300)
        code, words = await refused(call, "ModelInfer", small)
        assert code == "INVALID_ARGUMENT" and "not INT8" in words, "nothing wraps around"

    served(scenario)


def test_what_is_no_message_is_the_clients_mistake(served: Any) -> None:
    async def scenario(call: Call, bench: Any) -> None:
        code, words = await refused(call, "ModelInfer", b"\xff\xff\xff")
        assert code == "INVALID_ARGUMENT" and "no ModelInferRequest" in words

    served(scenario)


def test_the_repository_is_there_too(served: Any) -> None:
    async def scenario(call: Call, bench: Any) -> None:
        bench.app.repository.shelf = ("away", "m")
        kinds = messages()
        found = await call("RepositoryIndex", kinds["RepositoryIndexRequest"]())
        assert [(one.name, one.version, one.state) for one in found.models] == [
            ("m", "v1", "READY"), ("away", "", "UNAVAILABLE")
        ]  # fmt: skip
        found = await call("RepositoryIndex", kinds["RepositoryIndexRequest"](ready=True))
        assert [one.name for one in found.models] == ["m"]
        wish = kinds["RepositoryModelLoadRequest"](model_name="away")
        wish.parameters["version"].string_param = "3"
        asked: list[Any] = []
        told = {"status": 200, "why": ""}

        def supervisor(message: Any) -> bool:
            asked.append((message["do"], message["name"], message["version"]))
            bench.app.repository.told({"id": message["id"], **told})
            return True

        bench.app.repository.ask = lambda message: asyncio.get_running_loop().call_soon(supervisor, message) is not None
        assert await call("RepositoryModelLoad", wish) == kinds["RepositoryModelLoadResponse"]()
        told |= {"status": 409, "why": "it stays"}
        unload = kinds["RepositoryModelUnloadRequest"](model_name="away")
        assert await refused(call, "RepositoryModelUnload", unload) == ("FAILED_PRECONDITION", "it stays")
        assert asked == [("load", "away", "3"), ("unload", "away", "")]
        wish.parameters["file:1/model.onnx"].bytes_param = b"\xff"
        code, words = await refused(call, "RepositoryModelLoad", wish)
        assert code == "INVALID_ARGUMENT" and "the server's folder" in words

    served(scenario, token="s3cret")
