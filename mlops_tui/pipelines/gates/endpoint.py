"""The endpoint gate: the model is really served, asked over HTTP, and must answer what it answers in process."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlops_tui.contracts.model import GateResult
from mlops_tui.core.errors import MlopsError
from mlops_tui.pipelines.gates.verdict import unjudged
from mlops_tui.plugins.hookspecs import Candidate
from mlops_tui.serving.deployment import DEPLOYMENT, ROUTES, STATE, write_json

START_S, STOP_S = 20.0, 10.0


class EndpointGate:
    """Starts the inference server on loopback with the candidate alone, asks it row by row, stops it again."""

    name = "endpoint"

    def judge(self, candidate: Candidate) -> GateResult:
        """Judge answers and latency."""
        bounds = candidate.bounds
        if candidate.model is None:
            return unjudged(self.name, "the run has no ONNX model that could be served")
        count = int(bounds["rows"])
        columns = [np.asarray(candidate.columns[name][:count], dtype=np.float32) for name in candidate.inputs]
        rows, expected = np.stack(columns, axis=1), np.asarray(candidate.scores)[:count]
        with tempfile.TemporaryDirectory() as folder:
            try:
                answers, latencies = _ask(candidate.model, Path(folder), rows)
            except (MlopsError, OSError, http.client.HTTPException) as error:
                return unjudged(self.name, f"the model cannot be served: {error}")
        p95, difference = float(np.percentile(latencies, 95) * 1000), float(np.abs(answers - expected).max())
        wrong = []
        if not difference <= bounds["atol"]:
            wrong.append(f"served answers differ from the evaluation by up to {difference:.2g}")
        if p95 > bounds["max_p95_ms"]:
            wrong.append(f"p95 latency {p95:.1f} ms is above {bounds['max_p95_ms']} ms")
        text = "; ".join(wrong) or f"{len(rows)} requests, p95 {p95:.1f} ms, answers agree"
        detail = {"p50_ms": float(np.percentile(latencies, 50) * 1000), "max_difference": difference}
        return GateResult(
            gate=self.name, passed=not wrong, value=p95, threshold=float(bounds["max_p95_ms"]), text=text, detail=detail
        )


def _ask(model: Path, folder: Path, rows: Any) -> tuple[Any, Any]:
    """Serve the model from a scratch folder and return its answers and the seconds that each took."""
    write_json(
        folder / DEPLOYMENT,
        {"deployment": "gate", "name": "candidate", "spool": str(folder / "spool"), "log_predictions": False},
    )
    revision = {"id": "gate", "no": 1, "label": "candidate", "model": {"file": str(model)}, "weight": 100.0}
    write_json(folder / ROUTES, {"epoch": 1, "generation": 1, "revisions": [revision]})
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "mlops_tui.serving.process.supervisor", "--dir", str(folder)],
        stdin=subprocess.DEVNULL,
        process_group=0,
    )
    connection = None
    try:
        connection = http.client.HTTPConnection("127.0.0.1", _port(server, folder), timeout=10)
        tensor = _exchange(connection, "GET", "/v2/models/candidate")["inputs"][0]
        answers, latencies = [], []
        for row in rows:
            # As bytes: JSON has no NaN, which is how a missing value comes.
            size = {"binary_data_size": row.nbytes}
            given = {"name": tensor["name"], "datatype": "FP32", "shape": [1, len(row)], "parameters": size}
            head = msgspec.json.encode({"inputs": [given]})
            begin = time.perf_counter()
            found = _exchange(connection, "POST", "/v2/models/candidate/infer", head, row.tobytes())
            latencies.append(time.perf_counter() - begin)
            # The last column is the probability of class 1; a value that is no number comes as null.
            answers.append(found["outputs"][0]["data"][-1])
        return np.array(answers, dtype=np.float64), np.array(latencies)
    finally:
        if connection is not None:
            connection.close()
        _end(server)


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, head: bytes = b"", body: bytes = b""
) -> Any:
    connection.request(method, path, head + body, {"inference-header-content-length": str(len(head))} if head else {})
    answer = connection.getresponse()
    found = msgspec.json.decode(answer.read())
    if answer.status != HTTPStatus.OK:
        raise MlopsError(f"it answered {answer.status}", str(found.get("error", "")))
    return found


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ask the server to drain; one that does not is killed with its workers."""
    server.terminate()
    try:
        server.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _port(server: subprocess.Popen[bytes], folder: Path) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            state = msgspec.json.decode((folder / STATE).read_bytes())
        except (OSError, msgspec.DecodeError):
            state = {}
        if state.get("ready"):
            return int(state["port"])
        if refused := state.get("refused"):
            raise MlopsError("the server refused it", str(refused["why"]))
        time.sleep(0.05)
    raise MlopsError(
        "the server did not become ready",
        f"exit code {server.poll()}" if server.poll() is not None else f"waited {START_S:g} s",
    )
