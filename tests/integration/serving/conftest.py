"""A real supervisor with real workers on loopback, small ONNX models, and clients that speak raw HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from blake3 import blake3
from onnx import TensorProto, helper

from mlops_tui.serving.record.segments import Batch, read_segment

FEATURES = ["age", "hours", "degree", "years"]


def linear(bias: float, width: int = 4, names: list[str] | None = None, slow: int = 0) -> bytes:
    """X (n, width) → score (n, 1) = Σ X + bias, label (n) int64 = score > 0; ``slow`` multiplies matrices first."""
    nodes = [
        helper.make_node("ReduceSum", ["X", "axes"], ["sum"], keepdims=1),
        helper.make_node("Add", ["sum", "bias"], ["score"]),
        helper.make_node("Greater", ["score", "zero"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["wide", "axes"], ["label"]),
    ]
    initial = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("bias", TensorProto.FLOAT, [1], [bias]),
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
    ]
    if slow:
        # A long chain of products whose result is nothing, added to the bias.
        nodes[1] = helper.make_node("Sum", ["sum", "bias", "nothing"], ["score"])
        initial.append(helper.make_tensor("m", TensorProto.FLOAT, [600, 600], np.zeros(360_000, np.float32)))
        initial.append(helper.make_tensor("two", TensorProto.INT64, [2], [0, 1]))
        nodes.insert(0, helper.make_node("ReduceMean", ["X", "two"], ["seed"], keepdims=1))
        nodes.insert(1, helper.make_node("Add", ["m", "seed"], ["p0"]))
        for i in range(slow):
            nodes.insert(2 + i, helper.make_node("MatMul", [f"p{i}", "m"], [f"p{i + 1}"]))
        nodes.insert(2 + slow, helper.make_node("ReduceMean", [f"p{slow}", "two"], ["nothing"], keepdims=1))
    return model_bytes(nodes, initial, [("X", TensorProto.FLOAT, ["n", width])], names)


def brittle(bias: float) -> bytes:
    """As :func:`linear`, but fails in the middle of the graph when X[0] is 10 or more."""
    nodes = [
        helper.make_node("ReduceSum", ["X", "axes"], ["sum"], keepdims=1),
        helper.make_node("Slice", ["X", "from", "to", "axes"], ["first"]),
        helper.make_node("Cast", ["first"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["looked_up"]),
        helper.make_node("Sum", ["sum", "bias", "looked_up"], ["score"]),
        helper.make_node("Greater", ["score", "zero"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["wide", "axes"], ["label"]),
    ]
    initial = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("from", TensorProto.INT64, [1], [0]),
        helper.make_tensor("to", TensorProto.INT64, [1], [1]),
        helper.make_tensor("table", TensorProto.FLOAT, [10], [0.0] * 10),
        helper.make_tensor("bias", TensorProto.FLOAT, [1], [bias]),
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
    ]
    return model_bytes(nodes, initial, [("X", TensorProto.FLOAT, ["n", 4])], FEATURES)


def model_bytes(nodes: Any, initial: Any, inputs: Any, names: list[str] | None) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1]),
        ],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if names:
        helper.set_model_props(model, {"mlops.features": json.dumps(names)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class Server:
    """A deployment folder and the supervisor that serves it."""

    def __init__(self, folder: Path, **facts: Any) -> None:
        self.folder = folder / "deployment"
        self.folder.mkdir(mode=0o700)
        self.home = folder / "home"
        self.spool = folder / "spool"
        self.facts = {
            "deployment": "d-1",
            "name": "employment",
            "host": "127.0.0.1",
            "port": 0,
            "workers": 1,
            "spool": str(self.spool),
            **facts,
        }
        (self.folder / "deployment.json").write_text(json.dumps(self.facts))
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "server.log"
        self.pids: set[tuple[int, int]] = set()
        self.loads: list[Load] = []

    def model(self, data: bytes) -> dict[str, str]:
        digest = blake3(data).hexdigest()
        path = self.folder.parent / f"{digest[:12]}.onnx"
        path.write_bytes(data)
        return {"digest": digest, "file": str(path)}

    def routes(self, generation: int, *revisions: dict[str, Any], epoch: int = 1, **more: Any) -> None:
        routes = {"epoch": epoch, "generation": generation, "revisions": revisions, **more}
        new = self.folder / "routes.new"
        new.write_text(json.dumps(routes))
        new.replace(self.folder / "routes.json")

    def revision(self, no: int, data: bytes, weight: float = 100.0, role: str = "stable") -> dict[str, Any]:
        return {
            "id": f"rev-{no}",
            "no": no,
            "label": f"v{no}",
            "weight": weight,
            "role": role,
            "model": self.model(data),
        }

    def start(self, wait: bool = True, env: dict[str, str] | None = None) -> Server:
        environment = {**os.environ, "MLOPS_HOME": str(self.home), **(env or {})}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlops_tui.serving.process.supervisor", "--dir", str(self.folder)],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            pid = self.process.pid
            self.until(lambda s: s["pid"] == pid and all(w["ready"] for w in s["workers"]))
        return self

    @property
    def state(self) -> dict[str, Any]:
        try:
            state = json.loads((self.folder / "state.json").read_bytes())
        except FileNotFoundError:
            return {"pid": None, "ready": False, "workers": [], "epoch": -1, "generation": -1, "refused": None}
        self.pids |= {(w["process"]["pid"], w["process"]["created"]) for w in state["workers"] if w["process"]}
        return dict(state)

    def until(self, good: Callable[[dict[str, Any]], Any], within: float = 60.0) -> dict[str, Any]:
        deadline = time.monotonic() + within
        while not good(state := self.state):
            assert time.monotonic() < deadline, f"{state}\n{self.log.read_text()}"
            time.sleep(0.02)
        return state

    def serving(self, generation: int, epoch: int = 1) -> dict[str, Any]:
        return self.until(lambda s: (s["epoch"], s["generation"]) == (epoch, generation) and s["ready"])

    @property
    def port(self) -> int:
        return int(self.state["port"])

    @property
    def workers(self) -> list[int]:
        return [w["process"]["pid"] for w in self.state["workers"] if w["process"]]

    def stop(self, within: float = 20.0) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(within)

    def kill(self) -> None:
        """kill -9 of the supervisor alone."""
        assert self.process is not None
        self.state  # noqa: B018 — notes the workers, so that close() finds them
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        from mlops_tui.spool.process import created_us

        for load in self.loads:
            load.done.set()
        self.state  # noqa: B018
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid, created in self.pids:
            if created_us(pid) == created:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    # Clients.

    def connect(self, timeout: float = 10.0) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        client.request(method, path, data, headers or {})
        answer = client.getresponse()
        found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        client.close()
        return found

    def infer(self, rows: list[list[float]], **more: Any) -> dict[str, Any]:
        status, _, body = self.call("POST", "/v2/models/employment/infer", request(rows, **more))
        assert status == 200, body
        return dict(json.loads(body))

    def segments(self) -> list[Batch]:
        found = []
        for path in sorted(self.spool.glob("*.seg")):
            offset = 0
            while True:
                batch = read_segment(path, offset)
                assert not batch.corrupt
                if batch.next_offset == offset:
                    break
                offset = batch.next_offset
                found.append(batch)
        return found

    def rows(self, *statuses: int, shadow: bool = False) -> Counter[str]:
        """Logged rows by request id, of records with one of the statuses."""
        counted: Counter[str] = Counter()
        for batch in self.segments():
            for i, ident in enumerate(batch.request_id):
                if batch.status[i] in statuses and bool(batch.flags[i]) == shadow:
                    counted[ident] += int(batch.n_rows[i])
        return counted


def request(rows: list[list[float]], **more: Any) -> dict[str, Any]:
    flat = [value for row in rows for value in row]
    shape = [len(rows), len(rows[0]) if rows else 4]
    return {"inputs": [{"name": "X", "shape": shape, "datatype": "FP32", "data": flat}], **more}


class Load(threading.Thread):
    """A client that keeps asking on one connection, and connects again when the server hangs up between requests."""

    def __init__(self, server: Server, name: str, pause: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.server, self.label, self.pause = server, name, pause
        self.port = server.port
        # A client that outlives its test would talk to whoever gets the port next.
        server.loads.append(self)
        self.answered: list[tuple[str, str, float]] = []
        self.failed: list[str] = []
        self.lost: list[str] = []
        self.done = threading.Event()

    def run(self) -> None:
        client: http.client.HTTPConnection | None = None
        n = 0
        while not self.done.is_set():
            n += 1
            ident = f"{self.label}-{n}"
            try:
                if client is None:
                    client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
                client.request("POST", "/v2/models/employment/infer", json.dumps(request([[1, 2, 3, 4]], id=ident)))
                answer = client.getresponse()
                body = answer.read()
                if answer.status != 200:
                    self.failed.append(f"{ident}: {answer.status} {body[:200]!r}")
                else:
                    said = json.loads(body)
                    self.answered.append((ident, said["model_version"], said["outputs"][1]["data"][0]))
                if answer.getheader("connection") == "close":
                    client.close()
                    client = None
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(f"{ident}: {error!r}")
                client = None
                time.sleep(0.005)
            if self.pause:
                time.sleep(self.pause)
        if client is not None:
            client.close()

    def finish(self) -> Load:
        self.done.set()
        self.join(30)
        assert not self.is_alive()
        return self


@pytest.fixture(scope="session")
def kit() -> Any:
    """Return this file as a module: models, servers, clients."""
    return sys.modules[__name__]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return a maker of servers; each test ends without any process of theirs."""
    made: list[Server] = []

    def server(**facts: Any) -> Server:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Server(folder, **facts))
        return made[-1]

    yield server
    for one in made:
        one.close()
