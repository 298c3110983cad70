"""What one request costs the server's CPU, feature by feature: ``serving_cpu.py [--seconds 3]``.

One worker, 32 connections, a tree ensemble of 100 trees and depth 3 over 20 float features. The CPU time is the
server process's own, user and system, from the kernel, divided by the requests it answered. Beside it in the same run:
a bare front (the same event loop and HTTP parser, which answers a constant), the bare runtime, and the real server
with one feature after the other switched off. All take turns in windows of a quarter of a second; medians are printed.
Server and client have a core each where there are two.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FEATURES, TREES, CONNECTIONS, WINDOW_S = 20, 100, 32, 0.25
TOKEN = "bench-token-of-a-usual-length-0123456789"
_TICK = os.sysconf("SC_CLK_TCK")
WITHOUT = {
    "token": "bearer token",
    "log": "inference log",
    "metrics": "metrics",
    "routing": "routing (two revisions, weighted)",
    "validation": "validation of tensors",
    "together": "running requests of a turn together",
    "heads": "knowing heads that came before",
}


def ensemble() -> bytes:
    """Return the model: X (n, 20) float → label (n) int64 and probabilities (n, 2), of 100 random trees."""
    from onnx import TensorProto, helper

    rng = np.random.default_rng(0)
    nodes: dict[str, list[Any]] = {name: [] for name in ("tree", "node", "feature", "value", "mode", "yes", "no")}
    leaves: dict[str, list[Any]] = {name: [] for name in ("tree", "node", "weight")}
    for tree in range(TREES):
        for node in range(15):
            inner = node < 7
            nodes["tree"].append(tree)
            nodes["node"].append(node)
            nodes["feature"].append(int(rng.integers(FEATURES)) if inner else 0)
            nodes["value"].append(float(rng.normal()) if inner else 0.0)
            nodes["mode"].append("BRANCH_LEQ" if inner else "LEAF")
            nodes["yes"].append(2 * node + 1 if inner else 0)
            nodes["no"].append(2 * node + 2 if inner else 0)
            if not inner:
                leaves["tree"].append(tree)
                leaves["node"].append(node)
                leaves["weight"].append(float(rng.normal() / 10))
    trees = helper.make_node(
        "TreeEnsembleClassifier",
        ["X"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_int64s=[0, 1],
        post_transform="LOGISTIC",
        nodes_treeids=nodes["tree"],
        nodes_nodeids=nodes["node"],
        nodes_featureids=nodes["feature"],
        nodes_values=nodes["value"],
        nodes_modes=nodes["mode"],
        nodes_truenodeids=nodes["yes"],
        nodes_falsenodeids=nodes["no"],
        class_treeids=leaves["tree"],
        class_nodeids=leaves["node"],
        class_ids=[1] * len(leaves["tree"]),
        class_weights=leaves["weight"],
    )
    graph = helper.make_graph(
        [trees],
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", FEATURES])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
        ],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


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
        f"Accept: */*\r\nUser-Agent: bench\r\nAuthorization: Bearer {TOKEN}\r\n{extra}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


# What is measured, each in a process of its own.


def bare() -> None:
    """Answer every request with a constant; prints the port."""
    import httptools
    import uvloop

    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n" + b'{"ok":true}'

    class Bare(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.parser = transport, httptools.HttpRequestParser(self)

        def data_received(self, data: bytes) -> None:
            self.parser.feed_data(data)

        def on_url(self, url: bytes) -> None:
            self.url = url

        def on_header(self, name: bytes, value: bytes) -> None:
            pass

        def on_body(self, body: bytes) -> None:
            self.body = body

        def on_message_complete(self) -> None:
            self.transport.write(answer)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    uvloop.run(serve())


def ours(without: str) -> None:
    """Serve the model with one feature switched off; prints the port."""
    import uvloop

    from mlops_tui.serving.deployment import Deployment, Revision
    from mlops_tui.serving.deployment import Model as Where
    from mlops_tui.serving.models.model import Model
    from mlops_tui.serving.protocol.app import App
    from mlops_tui.serving.record.counters import Counters, Slot
    from mlops_tui.serving.record.inference_log import InferenceLog
    from mlops_tui.serving.traffic.routing import Arm, Router
    from mlops_tui.serving.transport.connection import Connection
    from mlops_tui.serving.transport.front import SWEEP_S, Front

    async def serve(folder: Path) -> None:
        token = None if without == "token" else TOKEN
        deployment = Deployment(deployment="b", name="bench", spool=str(folder), token=token)
        counters = Counters(folder / "counters", 1)
        slot = counters.slot(0)
        log = None if without == "log" else InferenceLog(folder, "b", 1 << 40, slot)
        app = App(deployment, counters, slot, log)
        model = Model(ensemble())
        stream = log.stream(model.features, model.outputs) if log else None
        shares = [100.0] if without == "routing" else [50.0, 50.0]
        arms = [
            Arm("bench", Revision(f"r{n}", n, f"v{n}", Where("f"), share), model, n, stream)
            for n, share in enumerate(shares, 1)
        ]
        app.route(Router((1, 1), arms, None, None), [(0, "", "none")])
        if without == "metrics":
            for name in ("observe", "add", "count"):
                setattr(Slot, name, lambda *any: None)
        if without == "validation":
            model.check = lambda feed: 1  # type: ignore[method-assign]
            model.takes = lambda rows: True  # type: ignore[method-assign]
        if without == "together":
            model.joins = False
        loop = asyncio.get_running_loop()
        front = Front(app, deployment, slot, loop)
        if without == "heads":
            front.learn = lambda *any: None  # type: ignore[method-assign]
        server = await loop.create_server(lambda: Connection(front), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        while True:
            front.sweep()
            if log:
                log.tick()
            await asyncio.sleep(SWEEP_S)

    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(serve(Path(folder)))


def raw(rows: int) -> float:
    """Return the CPU microseconds of a bare session's run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(ensemble(), options, providers=["CPUExecutionProvider"])
    data = np.round(np.random.default_rng(1).normal(size=(rows, FEATURES)).astype(np.float32), 4)
    began, n = time.process_time(), 0
    while time.process_time() - began < WINDOW_S or n < 10:
        session.run(None, {"X": data})
        n += 1
    return (time.process_time() - began) / n * 1e6


class Real:
    """The whole product: a supervisor and its worker, two revisions by weight, token and log on."""

    def __init__(self, folder: Path) -> None:
        (folder / "model.onnx").write_bytes(ensemble())
        model = {"file": str(folder / "model.onnx")}
        revisions = [{"id": f"r{n}", "no": n, "label": f"v{n}", "weight": 50, "model": model} for n in (1, 2)]
        facts = {"deployment": "bench", "name": "bench", "spool": str(folder / "spool"), "token": TOKEN}
        (folder / "deployment.json").write_text(json.dumps(facts))
        (folder / "routes.json").write_text(json.dumps({"epoch": 1, "generation": 1, "revisions": revisions}))
        command = [sys.executable, "-m", "mlops_tui.serving.process.supervisor", "--dir", str(folder)]
        env = {**os.environ, "MLOPS_HOME": str(folder / "home"), "MLOPS_SPOOL_MAX_BYTES": str(1 << 40)}
        self.process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        self.port, self.pid = self._ready(folder)

    def _ready(self, folder: Path) -> tuple[int, int]:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            path = folder / "state.json"
            state = json.loads(path.read_bytes()) if path.exists() else {}
            if state.get("ready"):
                return state["port"], state["workers"][0]["process"]["pid"]
            time.sleep(0.05)
        raise RuntimeError("the server does not come up")


class Stand:
    """A server made by this file in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, __file__, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port, self.pid = int(self.process.stdout.readline()), self.process.pid


# How it is measured.


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far, all its threads, user and system."""
    try:
        return sum(int((t / "schedstat").read_text().split()[0]) for t in Path(f"/proc/{pid}/task").iterdir()) / 1e9
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def drive(port: int, pid: int, data: bytes, seconds: float, connections: int = CONNECTIONS) -> dict[str, Any]:
    """Keep every connection busy with one request at a time, as a load generator does; latencies in milliseconds.

    It ends when all that was asked is answered: what was taken in and not answered would cost and not count.
    """
    selector = selectors.DefaultSelector()
    sent: dict[socket.socket, float] = {}
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port), 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(data)
        size = len(_answer(sock))
        selector.register(sock, selectors.EVENT_READ)
        sent[sock] = 0.0
    latencies: list[float] = []
    got = dict.fromkeys(sent, 0)
    cpu, began = cpu_s(pid), time.perf_counter()
    for sock in sent:
        sent[sock] = time.perf_counter()
        sock.sendall(data)
    busy = set(sent)
    while busy:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            got[sock] += len(sock.recv(1 << 20))
            # Its length may differ by the digits of the request's id, or of a time.
            if got[sock] >= size - 8:
                now = time.perf_counter()
                latencies.append((now - sent[sock]) * 1e3)
                got[sock], sent[sock] = 0, now
                if now - began < seconds:
                    sock.sendall(data)
                else:
                    busy.discard(sock)
    spent, used = time.perf_counter() - began, cpu_s(pid) - cpu
    for sock in sent:
        sock.close()
    latencies.sort()
    done = len(latencies)
    return {
        "cpu_us": used / done * 1e6,
        "per_s": done / spent,
        "p50": latencies[done // 2],
        "p99": latencies[int(done * 0.99)],
        "done": done,
    }


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


def pin(*servers: int) -> None:
    """Give the servers one core and this process another."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        return
    for pid in servers:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {cores[0]})
    os.sched_setaffinity(0, {cores[1]})


def measure(seconds: float, only: bool = False) -> dict[str, dict[str, float]]:
    """Return the medians of each case."""
    one, thousand = request(1), request(1000, binary=True)
    with tempfile.TemporaryDirectory() as folder:
        real = Real(Path(folder))
        stands = {"bare front": Stand("--bare")}
        if not only:
            stands |= {f"without {name}": Stand("--ours", name) for name in WITHOUT}
            stands["with all of it"] = Stand("--ours", "nothing")
        try:
            pin(real.pid, *(stand.pid for stand in stands.values()))
            cases: list[tuple[str, int, int, bytes]] = [("the server", real.port, real.pid, one)]
            cases += [(name, stand.port, stand.pid, one) for name, stand in stands.items()]
            cases += [("1,000 rows, binary", real.port, real.pid, thousand)]
            found: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in cases}
            runs: dict[int, list[float]] = {1: [], 1000: []}
            for _ in range(max(1, round(seconds / WINDOW_S))):
                for name, *where in cases:
                    found[name].append(drive(*where, WINDOW_S))  # type: ignore[arg-type]
                for rows, times in runs.items():
                    times.append(raw(rows))
            memory = memory_mb(real.pid)
        finally:
            for server in (real, *stands.values()):
                server.process.terminate()
                server.process.wait(20)
    table = {name: {key: statistics.median(w[key] for w in ws) for key in ws[0]} for name, ws in found.items()}
    for rows, times in runs.items():
        table[f"session.run, {rows:,} rows"] = {"cpu_us": statistics.median(times)}
    table["the server"]["memory_mb"] = memory
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds a case")
    parser.add_argument("--short", action="store_true", help="the server and its floor, not feature by feature")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.bare:
        bare()
    elif args.ours:
        ours(args.ours)
    else:
        show(measure(args.seconds, args.short))


def show(table: dict[str, dict[str, float]]) -> None:
    """Print the medians, the cost of each feature and the ratios that count."""
    for name, line in table.items():
        more = (
            f" {line['per_s']:9,.0f}/s  p50 {line['p50']:.2f} ms  p99 {line['p99']:.2f} ms" if "per_s" in line else ""
        )
        print(f"{name:<28} {line['cpu_us']:8.1f} µs CPU{more}")
    server, front, run = table["the server"], table["bare front"], table["session.run, 1 rows"]
    whole = table.get("with all of it")
    for name, words in WITHOUT.items() if whole else ():
        print(f"  {words:<36} {whole['cpu_us'] - table[f'without {name}']['cpu_us']:+6.1f} µs")
    floor = front["cpu_us"] + run["cpu_us"]
    print(
        f"one row: {server['cpu_us']:.1f} µs, {server['cpu_us'] / floor:.2f} × bare front and runtime ({floor:.1f} µs)"
    )
    print(f"p99: {server['p99'] / front['p99']:.2f} × the bare front's; worker's memory {server['memory_mb']:.0f} MB")
    thousand = table["1,000 rows, binary"]["cpu_us"] / table["session.run, 1,000 rows"]["cpu_us"]
    print(f"1,000 rows, binary: {thousand:.2f} × session.run")


if __name__ == "__main__":
    main()
