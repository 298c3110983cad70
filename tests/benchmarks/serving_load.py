"""What one request costs the server: CPU time and throughput, beside the same front answering a constant.

``python tests/benchmarks/serving_load.py [--seconds 2]``. Server and client are pinned to one core each where there are
two. The CPU time is the server's own, from the kernel; the client sends to eight connections and then reads eight
answers, so several requests are ready in a turn of the server's loop. Each case is measured in windows of a quarter of
a second, taken in turns, and the best window counts: whatever else runs on the machine only makes one slower.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FEATURES = 18
CONNECTIONS = 8
_WINDOW_S = 0.25
_TICK = os.sysconf("SC_CLK_TCK")


def model() -> bytes:
    """Return an ONNX model of 18 features: 32 hidden units, two classes, label and probabilities."""
    from onnx import TensorProto, helper

    rng = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> Any:
        return helper.make_tensor(name, TensorProto.FLOAT, shape, rng.normal(size=shape).astype(np.float32).ravel())

    nodes = [
        helper.make_node("Gemm", ["X", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["l"]),
        helper.make_node("Softmax", ["l"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["l"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", FEATURES])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
        ],
        [constant("w1", FEATURES, 32), constant("b1", 32), constant("w2", 32, 2), constant("b2", 2)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(made.SerializeToString())


def request(rows: int, binary: bool = False) -> bytes:
    """Return a whole HTTP request with as many rows."""
    data = np.round(np.random.default_rng(1).normal(size=(rows, FEATURES)).astype(np.float32), 4)
    tensor: dict[str, Any] = {"name": "X", "shape": [rows, FEATURES], "datatype": "FP32"}
    extra = ""
    if binary:
        tensor["parameters"] = {"binary_data_size": data.nbytes}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        extra = f"Inference-Header-Content-Length: {len(head)}\r\n"
        body = head + data.tobytes()
    else:
        body = json.dumps({"inputs": [{**tensor, "data": [round(float(v), 4) for v in data.ravel()]}]}).encode()
    return (
        f"POST /v2/models/bench/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Accept: */*\r\nUser-Agent: bench\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


_CASES = {
    "1 row, JSON": request(1),
    "1 row, binary": request(1, True),
    "100 rows, JSON": request(100),
    "1,000 rows, JSON": request(1000),
    "1,000 rows, binary": request(1000, True),
}


class _Constant:
    """An application that answers every request with the same bytes."""

    def __init__(self) -> None:
        from mlops_tui.serving.problem import JSON, Answer

        self.answer = Answer(200, JSON, b'{"ok":true}')
        self.predictor = self
        self.owes_shadows = False

    def handle(self, *request: object) -> Any:
        return self.answer

    def flush(self) -> None:
        pass


def floor() -> None:
    """Serve a constant through the same front; prints the port."""
    import uvloop

    from mlops_tui.serving.counters import SLOT, Slot
    from mlops_tui.serving.deployment import Deployment
    from mlops_tui.serving.front import SWEEP_S, Connection, Front

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        slot = Slot(memoryview(bytearray(8 * SLOT)).cast("Q"))
        front = Front(_Constant(), Deployment(deployment="f", name="bench", spool="/"), slot, loop)  # type: ignore[arg-type]
        server = await loop.create_server(lambda: Connection(front), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        while True:
            front.sweep()
            await asyncio.sleep(SWEEP_S)

    uvloop.run(serve())


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far, user and system, to the nanosecond where the kernel tells."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK


def drive(port: int, pid: int, data: bytes, seconds: float) -> dict[str, float]:
    """Send one request after the other on each connection; returns CPU per request in µs and requests a second."""
    socks = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(CONNECTIONS)]
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for sock in socks:
        sock.sendall(data)
        size = len(_answer(sock))
    done, cpu, began = 0, cpu_s(pid), time.perf_counter()
    while time.perf_counter() - began < seconds:
        for sock in socks:
            sock.sendall(data)
        for sock in socks:
            _read(sock, size)
        done += len(socks)
    spent, used = time.perf_counter() - began, cpu_s(pid) - cpu
    for sock in socks:
        sock.close()
    return {"cpu_us": used / done * 1e6, "per_second": done / spent, "requests": done}


def _answer(sock: socket.socket) -> bytes:
    """Read one answer whole and make sure that it is one."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    head, _, _ = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), data[:500]
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(data) < len(head) + 4 + length:
        data += sock.recv(1 << 20)
    return data


def _read(sock: socket.socket, about: int) -> None:
    """Read one answer; its length may differ by the digits of the request's id."""
    data = sock.recv(1 << 20)
    if len(data) < about - 64:
        while len(data) < about - 64:
            data += sock.recv(1 << 20)


def measure(seconds: float = 2.0) -> list[dict[str, Any]]:
    """Return one line a case: name, CPU per request in µs, requests a second."""
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        floor_process = subprocess.Popen([sys.executable, __file__, "--floor"], stdout=subprocess.PIPE, text=True)
        supervisor = _start(Path(folder))
        try:
            assert floor_process.stdout is not None
            floor_port = int(floor_process.stdout.readline())
            port, worker = _ready(Path(folder), supervisor)
            _pin(worker, floor_process.pid)
            cases = [("floor: a constant", floor_port, floor_process.pid, request(1))]
            cases += [(name, port, worker, data) for name, data in _CASES.items()]
            for _ in range(max(1, round(seconds / _WINDOW_S))):
                for name, *where in cases:
                    lines.append({"case": name, **drive(*where, _WINDOW_S)})
        finally:
            for process in (supervisor, floor_process):
                process.terminate()
                process.wait(20)
    return [_best([line for line in lines if line["case"] == name]) for name, *_ in cases]


def _best(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the best of several windows of one case."""
    return {
        "case": lines[0]["case"],
        "cpu_us": min(line["cpu_us"] for line in lines),
        "per_second": max(line["per_second"] for line in lines),
        "requests": sum(line["requests"] for line in lines),
    }


def _start(folder: Path) -> subprocess.Popen[bytes]:
    (folder / "model.onnx").write_bytes(model())
    revision = {"id": "r1", "no": 1, "label": "v1", "weight": 100, "model": {"file": str(folder / "model.onnx")}}
    facts = {"deployment": "bench", "name": "bench", "spool": str(folder / "spool")}
    (folder / "deployment.json").write_text(json.dumps(facts))
    (folder / "routes.json").write_text(json.dumps({"epoch": 1, "generation": 1, "revisions": [revision]}))
    command = [sys.executable, "-m", "mlops_tui.serving.supervisor", "--dir", str(folder)]
    return subprocess.Popen(command, env={**os.environ, "MLOPS_HOME": str(folder / "home")})


def _ready(folder: Path, supervisor: subprocess.Popen[bytes]) -> tuple[int, int]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and supervisor.poll() is None:
        path = folder / "state.json"
        state = json.loads(path.read_bytes()) if path.exists() else {}
        if state.get("ready"):
            return state["port"], state["workers"][0]["process"]["pid"]
        time.sleep(0.05)
    raise RuntimeError("the server does not come up")


def _pin(*servers: int) -> None:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        return
    for pid in servers:
        os.sched_setaffinity(pid, {cores[0]})
    os.sched_setaffinity(0, {cores[1]})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds a case")
    parser.add_argument("--floor", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.floor:
        floor()
        return
    for line in measure(args.seconds):
        print(f"{line['case']:<22} {line['cpu_us']:9.1f} µs CPU {line['per_second']:10,.0f} requests/s")


if __name__ == "__main__":
    main()
