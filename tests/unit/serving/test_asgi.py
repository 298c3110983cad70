from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from mlops_tui.serving.record.segments import read_segment
from mlops_tui.serving.transport.asgi import Asgi


@pytest.fixture
def url(bench: Any, onnx_models: Any) -> Iterator[str]:
    """The application behind a real uvicorn."""
    import uvicorn

    bench.route(bench.arm(1, onnx_models.summing(1.0)), bench.arm(2, onnx_models.summing(2.0), 0, "shadow"))
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(Asgi(bench.app, 1000), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def test_the_same_answers_come_through_an_asgi_server(url: str, bench: Any) -> None:
    tensor = {"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    body = json.dumps({"inputs": [tensor], "id": "r"}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v2/models/m/infer", body), timeout=10) as answer:
        assert answer.headers["x-mlops-revision"] == "v1"
        assert json.load(answer)["outputs"][1]["data"] == [7.0]
    deadline = time.monotonic() + 5
    while True:
        (path,) = bench.spool.glob("*.seg")
        if (batch := read_segment(path)).flags.tolist() == [0, 1]:
            break
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert batch.request_id == ["r", "r"]


def test_bodies_too_large_and_mistakes_are_told(url: str) -> None:
    for body, status in ((b"x" * 2000, 413), (b"{", 400)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(f"{url}/invocations", body), timeout=10)
        assert caught.value.code == status and "error" in json.load(caught.value)
