"""What clients see over a real socket: protocol, limits, timeouts. One server for the file."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def server(tmp_path_factory: Any, kit: Any) -> Iterator[Any]:
    one = kit.Server(tmp_path_factory.mktemp("protocol"), header_timeout_s=0.6, body_timeout_s=1.2, idle_timeout_s=1.5)
    one.routes(1, one.revision(1, kit.linear(0.5, names=kit.FEATURES)))
    yield one.start()
    one.close()


def read_all(sock: socket.socket, within: float = 10.0) -> bytes:
    sock.settimeout(within)
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def post(body: bytes, extra: bytes = b"", path: bytes = b"/v2/models/employment/infer") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%b\r\n%b" % (path, len(body), extra, body)


def test_server_model_and_health(server: Any, kit: Any) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/employment/ready", "/ping"):
        status, headers, body = server.call("GET", path)
        assert status == 200 and headers["content-type"] == "application/json" and json.loads(body)
    _, _, body = server.call("GET", "/v2")
    assert json.loads(body)["extensions"] == ["binary_tensor_data", "model_repository"]
    _, _, body = server.call("GET", "/v2/models/employment/versions/v1")
    said = json.loads(body)
    assert said["platform"] == "onnxruntime_onnx" and said["parameters"]["features"] == kit.FEATURES


def test_inference_by_json_and_by_hand_built_bytes(server: Any, kit: Any) -> None:
    said = server.infer([[1, 2, 3, 4], [0, 0, 0, -9]], id="abc")
    assert said["id"] == "abc" and said["model_version"] == "v1"
    assert [o["data"] for o in said["outputs"]] == [[1, 0], [10.5, -8.5]]
    head = (
        b'{"inputs":[{"name":"X","shape":[2,4],"datatype":"FP32","parameters":{"binary_data_size":32}}],'
        b'"outputs":[{"name":"score","parameters":{"binary_data":true}},{"name":"label","parameters":{"binary_data":true}}]}'
    )
    body = head + np.array([[1, 2, 3, 4], [0, 0, 0, -9]], "<f4").tobytes()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    status, found, answer = server.call("POST", "/v2/models/employment/infer", body, headers)
    assert status == 200 and found["x-mlops-revision"] == "v1"
    end = int(found["inference-header-content-length"])
    outputs = json.loads(answer[:end])["outputs"]
    assert [(o["name"], o["parameters"]["binary_data_size"]) for o in outputs] == [("score", 8), ("label", 16)]
    assert np.frombuffer(answer[end : end + 8], "<f4").tolist() == [10.5, -8.5]
    assert np.frombuffer(answer[end + 8 :], "<i8").tolist() == [1, 0]


def test_invocations_and_metrics(server: Any) -> None:
    body = {"dataframe_split": {"columns": ["years", "degree", "hours", "age"], "data": [[1, 2, 3, 4]]}}
    status, headers, answer = server.call("POST", "/invocations", body, {"X-Request-Id": "r-77"})
    assert status == 200 and headers["x-request-id"] == "r-77"
    assert json.loads(answer) == {"predictions": {"label": [1], "score": [[10.5]]}}
    _, headers, text = server.call("GET", "/metrics")
    assert headers["content-type"].startswith("text/plain; version=0.0.4") and b'outcome="ok"' in text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"inputs":[{"name":"X","shape":[1,4],"datatype":"FP32","data":["a",2,3,4]}]}',
        b"\xff" * 99,
    ],
)
@pytest.mark.parametrize("path", ["/v2/models/employment/infer", "/invocations"])
def test_malformed_bodies_are_4xx_and_the_connection_lives_on(server: Any, kit: Any, body: bytes, path: str) -> None:
    with server.connect() as sock:
        sock.sendall(
            post(body, path=path.encode())
            + post(json.dumps(kit.request([[1, 2, 3, 4]])).encode(), b"Connection: close\r\n")
        )
        first, second = read_all(sock).split(b"HTTP/1.1 ")[1:]
    assert first[:1] == b"4" and b'{"error":' in first and second[:3] == b"200"


def test_a_hundred_pipelined_requests_are_answered_in_order(server: Any, kit: Any) -> None:
    bodies = [json.dumps(kit.request([[i, 0, 0, 0]], id=f"p-{i}")).encode() for i in range(100)]
    with server.connect() as sock:
        sock.sendall(b"".join(map(post, bodies[:-1])) + post(bodies[-1], b"Connection: close\r\n"))
        answers = read_all(sock).split(b"HTTP/1.1 200 OK")[1:]
    said = [json.loads(a.partition(b"\r\n\r\n")[2]) for a in answers]
    assert [s["id"] for s in said] == [f"p-{i}" for i in range(100)]
    assert [s["outputs"][1]["data"][0] for s in said] == [i + 0.5 for i in range(100)]


def test_a_body_in_pieces_and_chunks(server: Any, kit: Any) -> None:
    body = json.dumps(kit.request([[1, 2, 3, 4]])).encode()
    with server.connect() as sock:
        for byte in post(body, b"Connection: close\r\n"):
            sock.sendall(bytes([byte]))
        assert read_all(sock).startswith(b"HTTP/1.1 200")
    with server.connect() as sock:
        sock.sendall(b"POST /v2/models/employment/infer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")
        sock.sendall(
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n"
            % (9, body[:9], len(body) - 9, body[9:])
        )
        assert read_all(sock).startswith(b"HTTP/1.1 200")


def test_slow_clients_are_told_and_ended_while_others_are_served(server: Any) -> None:
    loris, sleeper, half = server.connect(), server.connect(), server.connect()
    loris.sendall(b"POST /v2/models/employment/infer HTTP/1.1\r\nHost: loc")
    half.sendall(post(b"x" * 100)[:-50])
    began = time.monotonic()
    assert read_all(loris).startswith(b"HTTP/1.1 408") and time.monotonic() - began < 5
    assert read_all(sleeper) == b""
    assert read_all(half).startswith(b"HTTP/1.1 408") and time.monotonic() - began < 5
    assert server.infer([[1, 2, 3, 4]])["outputs"][1]["data"] == [10.5]
    with server.connect() as idle:
        idle.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_all(idle).endswith(b'{"live":true}')


def test_a_client_that_never_reads_is_ended_and_costs_no_memory(server: Any, kit: Any) -> None:
    import psutil

    worker = psutil.Process(server.workers[0])
    before = worker.memory_info().rss
    body = json.dumps({"inputs": np.ones((20_000, 4)).tolist()}).encode()
    with server.connect() as sock:
        sock.settimeout(4)
        with pytest.raises(OSError):
            for _ in range(400):
                sock.sendall(post(body, path=b"/invocations"))
    assert worker.memory_info().rss - before < 150 << 20
    assert server.call("GET", "/v2/health/live")[0] == 200


def test_a_body_too_large_is_refused_before_it_is_sent(server: Any) -> None:
    with server.connect() as sock:
        sock.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 1_000_000
        )
        assert read_all(sock).startswith(b"HTTP/1.1 413")


def test_foreign_hosts_are_refused(server: Any) -> None:
    for host, status in (("evil.example", 403), ("localhost", 200), ("127.0.0.1:99", 200)):
        assert server.call("GET", "/v2", headers={"Host": host})[0] == status


def test_a_token_is_asked_for(make: Any, kit: Any) -> None:
    one = make(token="s3cret")
    one.routes(1, one.revision(1, kit.linear(0.0)))
    one.start()
    assert one.call("GET", "/v2/models/employment")[0] == 401
    assert one.call("GET", "/v2/models/employment", headers={"Authorization": "Bearer s3cret"})[0] == 200
    assert one.call("GET", "/v2/health/ready")[0] == 200
    assert b"s3cret" not in one.log.read_bytes()
