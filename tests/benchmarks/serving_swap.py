"""A swap of a large model under load: how long requests are held up, and how long two revisions answer at once.

``python tests/benchmarks/serving_swap.py [--mb 100] [--workers 2] [--swaps 5]``. A real supervisor with its workers;
eight clients on kept-alive connections ask all the time. Loading and warming happen beside the traffic; what counts is
what clients notice: failed requests, the longest answer, and the time from the first answer of the new revision to the
last one of the old.
"""

from __future__ import annotations

import argparse
import http.client
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.integration.serving.conftest import Server, model_bytes, request

CLIENTS = 8


def large(bias: float, mb: int) -> bytes:
    """Return a model of so many megabytes that answers in microseconds: a table of which one row is read."""
    from onnx import TensorProto, helper

    table = np.random.default_rng(0).random((mb * 250, 1000), np.float32)
    nodes = [
        helper.make_node("ReduceSum", ["X", "axes"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "nothing"], ["zeros"]),
        helper.make_node("Cast", ["zeros"], ["which"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["which", "axes"], ["index"]),
        helper.make_node("Gather", ["table", "index"], ["row"]),
        helper.make_node("ReduceMean", ["row", "axes"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "nothing"], ["none"]),
        helper.make_node("Sum", ["sum", "bias", "none"], ["score"]),
        helper.make_node("Greater", ["score", "nothing"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["wide", "axes"], ["label"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("bias", TensorProto.FLOAT, [1], [bias]),
        helper.make_tensor("nothing", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("table", TensorProto.FLOAT, table.shape, table.tobytes(), raw=True),
    ]
    return model_bytes(nodes, constants, [("X", TensorProto.FLOAT, ["n", 4])], None)


class Client(threading.Thread):
    """Asks all the time on one connection and notes when which revision answered, and how long that took."""

    def __init__(self, port: int, pause: float) -> None:
        super().__init__(daemon=True)
        self.port, self.pause = port, pause
        self.answers: list[tuple[float, float, str]] = []
        self.failed: list[str] = []
        self.done = threading.Event()

    def run(self) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = json.dumps(request([[1, 2, 3, 4]]))
        while not self.done.is_set():
            began = time.perf_counter()
            try:
                line.request("POST", "/v2/models/employment/infer", body)
                answer = line.getresponse()
                said = json.loads(answer.read())
                if answer.status != 200:
                    self.failed.append(str(said))
                else:
                    self.answers.append((began, time.perf_counter() - began, said["model_version"]))
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                line.close()
            time.sleep(self.pause)
        line.close()


def measure(mb: int, workers: int, swaps: int) -> dict[str, Any]:
    """Swap two models of a size to and fro and return what the clients noticed, times in ms."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), workers=workers, log_predictions=True)
        try:
            return _measured(server, mb, swaps)
        finally:
            server.close()


def _measured(server: Server, mb: int, swaps: int) -> dict[str, Any]:
    models = [large(float(n), mb) for n in range(2)]
    revisions = [server.revision(n + 1, models[n]) for n in range(2)]
    del models
    server.routes(1, revisions[0])
    server.start()
    clients = [Client(server.port, 0.002) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(1.0)
    quiet_until = time.perf_counter()
    spans, begun = [], []
    for swap in range(swaps):
        no = (swap + 1) % 2
        begun.append(time.perf_counter())
        server.routes(swap + 2, revisions[no])
        server.serving(swap + 2)
        time.sleep(0.5)
    for client in clients:
        client.done.set()
    for client in clients:
        client.join(30)
    answers = sorted(one for client in clients for one in client.answers)
    for swap, at in enumerate(begun):
        label, until = f"v{(swap + 1) % 2 + 1}", begun[swap + 1] if swap + 1 < swaps else float("inf")
        window = [one for one in answers if at <= one[0] < until]
        first = min(one[0] + one[1] for one in window if one[2] == label)
        last = max((one[0] + one[1] for one in window if one[2] != label), default=first)
        spans.append((first - at, max(0.0, last - first)))
    calm = [took for began, took, _ in answers if began < quiet_until]
    moved = [took for began, took, _ in answers if began >= quiet_until]
    return {
        "model_mb": mb,
        "workers": len(server.workers),
        "requests": len(answers),
        "failed": sum(len(client.failed) for client in clients),
        "answer_p50_ms": round(float(np.median(calm)) * 1e3, 2),
        "answer_worst_calm_ms": round(max(calm) * 1e3, 1),
        "answer_worst_swapping_ms": round(max(moved) * 1e3, 1),
        "until_first_new_ms": [round(one * 1e3) for one, _ in spans],
        "switch_ms": [round(one * 1e3, 1) for _, one in spans],
        "worker_rss_mb": [round(_memory(pid, "VmRSS")) for pid in server.workers],
        "worker_peak_mb": [round(_memory(pid, "VmHWM")) for pid in server.workers],
    }


def _memory(pid: int, field: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith(field)).split()[1]) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--swaps", type=int, default=5)
    wishes = parser.parse_args()
    print(json.dumps(measure(wishes.mb, wishes.workers, wishes.swaps), indent=1))


if __name__ == "__main__":
    main()
