"""The endpoint gate: the model is really served, asked over HTTP, and must answer what it answers in process."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mlops_tui.contracts.model import GateResult
from mlops_tui.core.errors import MlopsError
from mlops_tui.plugins.hookspecs import Candidate
from mlops_tui.serving.deployment import DEPLOYMENT, ROUTES, STATE, write_json

START_S = 20.0


class EndpointGate:
    """Starts the inference server on loopback with the candidate alone, asks it row by row, stops it again."""

    name = "endpoint"

    def judge(self, candidate: Candidate) -> GateResult:
        """Judge answers and latency."""
        bounds = candidate.bounds
        if candidate.model is None:
            return GateResult(
                gate=self.name,
                passed=False,
                value=None,
                threshold=None,
                text="the run has no ONNX model that could be served",
            )
        rows = np.stack([np.asarray(candidate.columns[name], dtype=np.float32) for name in candidate.inputs], axis=1)[
            : int(bounds["rows"])
        ]
        expected = np.asarray(candidate.scores)[: len(rows)]
        with tempfile.TemporaryDirectory() as folder:
            try:
                answers, latencies = _ask(candidate.model, Path(folder), rows)
            except (MlopsError, OSError, http.client.HTTPException) as error:
                return GateResult(
                    gate=self.name,
                    passed=False,
                    value=None,
                    threshold=None,
                    text=f"the model cannot be served: {error}",
                )
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
        [sys.executable, "-m", "mlops_tui.serving.supervisor", "--dir", str(folder)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        connection = http.client.HTTPConnection("127.0.0.1", _port(server, folder), timeout=10)
        connection.request("GET", "/v2/models/candidate")
        tensor = json.loads(connection.getresponse().read())["inputs"][0]
        answers, latencies = [], []
        for row in rows:
            body = {
                "inputs": [
                    {
                        "name": tensor["name"],
                        "datatype": tensor["datatype"],
                        "shape": [1, len(row)],
                        "data": [float(value) for value in row],
                    }
                ]
            }
            begin = time.perf_counter()
            connection.request(
                "POST", "/v2/models/candidate/infer", json.dumps(body), {"content-type": "application/json"}
            )
            answer = connection.getresponse()
            found = json.loads(answer.read())
            latencies.append(time.perf_counter() - begin)
            if answer.status != 200:
                raise MlopsError(f"it answered {answer.status}", str(found.get("error", "")))
            answers.append(found["outputs"][0]["data"][0])
        return np.array(answers), np.array(latencies)
    finally:
        os.kill(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def _port(server: subprocess.Popen[bytes], folder: Path) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            state = json.loads((folder / STATE).read_bytes())
        except (OSError, ValueError):
            state = {}
        if state.get("ready"):
            return int(state["port"])
        time.sleep(0.05)
    raise MlopsError(
        "the server did not become ready",
        f"exit code {server.poll()}" if server.poll() is not None else f"waited {START_S:g} s",
    )
