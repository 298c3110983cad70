"""The same model served by this server, MLServer and ``mlflow models serve``: ``serving_peers.py [--seconds 4]``.

One row of 20 float features as JSON over 32 connections, one worker each; the CPU of all a server's processes, and the
requests a second. The peers have environments of their own in the folder for temporary files, made at the first time.
MLServer runs the model by onnxruntime in a runtime of four lines, without its parallel workers (which cost it more).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.benchmarks.mlflow_wire import free_port
from tests.benchmarks.serving_cpu import FEATURES, Real, cpu_s, drive, request

PEERS = Path(tempfile.gettempdir()) / "mlops-peers"
NEEDS = {
    "mlserver": ["mlserver==1.7.1", "onnxruntime"],
    "mlflow-serve": ["mlflow==3.17.2", "onnxruntime", "onnx", "pandas"],
}
_RUNTIME = """
import numpy as np, onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
class Runtime(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        return True
    async def predict(self, payload):
        given = payload.inputs[0]
        data = NumpyCodec.decode_input(given).astype(np.float32).reshape(given.shape)
        label, scores = self._session.run(None, {"X": data})
        outputs = [NumpyCodec.encode_output("label", label), NumpyCodec.encode_output("probabilities", scores)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
"""


def environment(name: str) -> Path | None:
    """Return the scripts' folder of a peer's environment, made if need be; None when it cannot be had."""
    place = PEERS / name
    python = place / "bin" / "python"
    try:
        if not (place / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "-q", *NEEDS[name]], check=True)
            (place / "ready").touch()
    except subprocess.CalledProcessError as error:
        print(f"without {name}: {error}", file=sys.stderr)
        return None
    return python.parent


class Peer:
    """A peer's server, with all its processes."""

    def __init__(self, argv: list[str], folder: Path, port: int, ready: str, **env: str) -> None:
        self.port = port
        with open(folder / f"{port}.log", "wb") as log:
            self.process = subprocess.Popen(
                argv, cwd=folder, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **env}
            )
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=2).read()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"{argv[:3]} does not come up: {(folder / f'{port}.log').read_text()[-2000:]}")

    def pids(self) -> list[int]:
        """Return the server's processes."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
        return found

    def end(self) -> None:
        """End every process of it."""
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)


def mlserver(folder: Path) -> Peer | None:
    """Start MLServer on the model."""
    scripts = environment("mlserver")
    if scripts is None:
        return None
    place, port = folder / "mlserver", free_port()
    place.mkdir()
    (place / "runtime.py").write_text(_RUNTIME)
    model = {"name": "bench", "implementation": "runtime.Runtime", "parameters": {"uri": str(folder / "model.onnx")}}
    (place / "model-settings.json").write_text(json.dumps(model))
    settings = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "host": "127.0.0.1"}
    quiet = {"parallel_workers": 0, "logging_settings": None, "debug": False}
    (place / "settings.json").write_text(json.dumps({**settings, **quiet}))
    argv = [str(scripts / "mlserver"), "start", str(place)]
    return Peer(argv, place, port, "/v2/models/bench/ready", OMP_NUM_THREADS="1")


def mlflow(folder: Path) -> Peer | None:
    """Start ``mlflow models serve`` on the model."""
    scripts = environment("mlflow-serve")
    if scripts is None:
        return None
    place, port = folder / "mlflow", free_port()
    place.mkdir()
    save = (
        f"import onnx, mlflow; mlflow.onnx.save_model(onnx.load({str(folder / 'model.onnx')!r}), {str(place / 'm')!r})"
    )
    env = {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{scripts}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    subprocess.run([str(scripts / "python"), "-c", save], check=True, env={**os.environ, **env}, cwd=place)
    argv = [str(scripts / "mlflow"), "models", "serve", "-m", str(place / "m"), "-p", str(port), "-h", "127.0.0.1"]
    return Peer([*argv, "--env-manager", "local", "--workers", "1"], place, port, "/ping", **env)


def invocation(rows: int) -> bytes:
    """Return the same rows as MLflow takes them."""
    body = request(rows).partition(b"\r\n\r\n")[2]
    data = json.loads(body)["inputs"][0]["data"]
    table = json.dumps({"inputs": {"X": [data[i : i + FEATURES] for i in range(0, len(data), FEATURES)]}}).encode()
    head = "POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(table)}\r\n\r\n".encode() + table


def measure(seconds: float) -> dict[str, dict[str, float]]:
    """Return CPU and throughput of each server, medians of windows taken in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = Real(folder)
        peers = {"mlserver": mlserver(folder), "mlflow models serve": mlflow(folder)}
        windows: dict[str, list[dict[str, Any]]] = {}
        try:
            cases = [("this server", real.port, [real.pid, real.process.pid], request(1))]
            for label, peer in peers.items():
                if peer is not None:
                    data = invocation(1) if "mlflow" in label else request(1)
                    cases.append((label, peer.port, peer.pids(), data))
            for _ in range(max(1, round(seconds))):
                for label, port, pids, data in cases:
                    before = sum(map(cpu_s, pids))
                    found = drive(port, pids[0], data, 1.0)
                    used = sum(map(cpu_s, pids)) - before
                    found["cpu_us"] = used / found["done"] * 1e6
                    windows.setdefault(label, []).append(found)
        finally:
            real.process.terminate()
            real.process.wait(20)
            for peer in peers.values():
                if peer is not None:
                    peer.end()
    return {label: {key: statistics.median(w[key] for w in ws) for key in ws[0]} for label, ws in windows.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds a server")
    table = measure(parser.parse_args().seconds)
    ours = table["this server"]
    for label, line in table.items():
        times = (
            f"{line['cpu_us'] / ours['cpu_us']:5.1f} × the CPU, 1/{ours['per_s'] / line['per_s']:.1f} of the requests"
        )
        print(f"{label:<20} {line['cpu_us']:9.1f} µs CPU {line['per_s']:9,.0f}/s  p99 {line['p99']:8.2f} ms  {times}")


if __name__ == "__main__":
    main()
