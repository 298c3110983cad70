"""Ingestion and who looks on meanwhile: ``python tests/benchmarks/ingest_load.py [seconds] [metrics a step]``.

Four spool files lie on disk, enough for so many seconds at the rate that is asked of the agent (500,000 points/s).
A real agent takes them in while a client reads a curve and a list four times a second and another posts metrics
over the MLflow wire. Beside each latency stands the same one of the idle agent. About 25 bytes a point lie on disk.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

WANTED = 500_000
"""Points a second that the agent must take in."""
SPOOLS = 4

LOG = """
import sys, orjson
import mlops_tui as mlops
points, width, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
run = mlops.start_run("load", name=name)
print(run.id, flush=True)
path, names = run._writer.path, [f"m{n}" for n in range(width)]
with open(path, "ab") as file:  # the writer's lines, a block at a time: what is measured begins when they lie there
    began, end = 1_790_000_000_000_000, b"\\n"
    for first in range(0, points // width, 5000):
        steps = range(first, min(first + 5000, points // width))
        file.write(b"".join(
            orjson.dumps({"v": 1, "e": "m", "t": began + 10 * s, "s": s, "m": {n: 1.0 / (s + 1) for n in names}}) + end
            for s in steps
        ))
run.end()
"""


def reads(run: str, over: threading.Event, times: list[float]) -> None:
    """Read a curve and a list four times a second, and note how long each took, in ms."""
    from mlops_tui.client import Client

    client = Client(start=False)
    while not over.wait(0.25):
        for call, request in (
            ("run.curve", {"run": run, "keys": ["m0"], "points": 500}),
            ("run.list", {"limit": 50}),
        ):
            began = time.perf_counter()
            client.call(call, request)
            times.append((time.perf_counter() - began) * 1000)


class Poster:
    """An MLflow client's connection: one metric a call, kept alive."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        made = self._ask("runs/create", {"experiment_id": "0", "start_time": 1})
        self._run, self._step = made["run"]["info"]["run_id"], 0

    def _ask(self, route: str, body: dict[str, object]) -> dict[str, dict[str, dict[str, str]]]:
        self._connection.request("POST", f"/api/2.0/mlflow/{route}", json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        found: dict[str, dict[str, dict[str, str]]] = json.loads(content)
        return found

    def post(self) -> float:
        """Post one value and return how long that took, in ms."""
        self._step += 1
        began = time.perf_counter()
        body = {"run_id": self._run, "key": "x", "value": 0.5, "timestamp": 1, "step": self._step}
        self._ask("runs/log-metric", body)
        return (time.perf_counter() - began) * 1000


def row(name: str, times: list[float]) -> None:
    """Print median, p95 and slowest, in ms."""
    ordered = sorted(times)
    if ordered:
        p95 = ordered[int(len(ordered) * 0.95)]
        print(
            f"{name:<44}{statistics.median(ordered):>9.2f}{p95:>9.2f}{ordered[-1]:>9.2f}{len(ordered):>7}", flush=True
        )


def main(seconds: int = 60, width: int = 20) -> None:
    """Print the figures."""
    from mlops_tui.client import Client
    from mlops_tui.spool.process import created_us

    points = seconds * WANTED // SPOOLS
    with tempfile.TemporaryDirectory(
        prefix="mlops-bench-", dir=os.environ.get("MLOPS_BENCH_DIR", "/var/tmp")
    ) as folder:
        os.environ.update(MLOPS_HOME=str(Path(folder) / "home"), XDG_RUNTIME_DIR=folder, MLOPS_QUIET="1")
        client = Client()
        listener = client.call("agent.url")
        quiet = subprocess.check_output([sys.executable, "-c", LOG, "100000", str(width), "idle"], text=True).strip()
        poster, over = Poster(listener.url, listener.token), threading.Event()
        taken = {"query": "SELECT coalesce(sum(n), 0)::BIGINT FROM series WHERE scope = 'run' AND key <> 'x'"}
        while client.call("sql.query", taken).rows[0][0] < 100_000:
            time.sleep(0.1)
        print(f"{'ms':<44}{'median':>9}{'p95':>9}{'slowest':>9}{'n':>7}   load {os.getloadavg()[0]:.1f}")
        row("wire, one metric, idle, one after the other", [poster.post() for _ in range(1000)])
        paced = []
        for _ in range(300):  # as it is asked while it ingests
            paced.append(poster.post())
            time.sleep(0.01)
        row("wire, one metric, idle", paced)
        idle: list[float] = []
        looker = threading.Thread(target=reads, args=(quiet, over, idle))
        looker.start()
        time.sleep(5)
        over.set()
        looker.join()
        row("reads, idle", idle)
        client.call("agent.stop")
        while created_us(client.hello.pid) is not None:  # an agent that leaves takes in what comes until it is gone
            time.sleep(0.05)
        words = [[sys.executable, "-c", LOG, str(points), str(width), f"load-{n}"] for n in range(SPOOLS)]
        for script in words:
            subprocess.check_call(script, stdout=subprocess.DEVNULL)
        client = Client()
        listener = client.call("agent.url")
        poster, over, busy, posts = Poster(listener.url, listener.token), threading.Event(), [], []
        looker = threading.Thread(target=reads, args=(quiet, over, busy))
        looker.start()
        began, before = time.perf_counter(), client.call("sql.query", taken).rows[0][0]
        while (now := client.call("sql.query", taken).rows[0][0]) < 100_000 + points * SPOOLS:
            pause = time.perf_counter() + 0.5
            while time.perf_counter() < pause:
                posts.append(poster.post())
                time.sleep(0.01)
        took = time.perf_counter() - began
        over.set()
        looker.join()
        row("wire, one metric, while it ingests", posts)
        row("reads at 4 Hz, while it ingests", busy)
        print(f"{(now - before) / took / 1e6:.2f} M points/s over {took:.1f} s ({width} a step, {SPOOLS} spools)")
        print(f"event loop lag p99 {client.call('agent.status').lag_ms:.1f} ms")
        client.call("agent.stop")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
