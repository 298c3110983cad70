"""``python -m mlops_tui.pipelines.tuning.bench``: one worker's share of a measurement.

It loads the model as a server's worker does and answers JSON requests of one row through the servers' application,
everything but the socket. It says when it is ready, and measures when it is told to: first one request at a time, then
as many as come together under load.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TOGETHER = 16
"""Requests that come in one turn of the loop under load."""
_MOST = 200_000


def main() -> int:
    """Measure as the line on standard input says: model, threads, gather_ms, seconds, bodies."""
    wish = json.loads(sys.stdin.readline())
    from mlops_tui.serving.models.model import Model
    from mlops_tui.serving.models.session import Wish

    began = time.perf_counter()
    model = Model(Path(wish["model"]).read_bytes(), Wish(threads=int(wish["threads"])))
    loaded = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        client = _Client(model, Path(folder), wish)
        client.warm()
        _say({"load_s": loaded, "rss": _memory()})
        sys.stdin.readline()
        _say(client.one_by_one())
        sys.stdin.readline()
        _say(client.under_load())
    return 0


class _Client:
    """Asks the application, and keeps the time."""

    def __init__(self, model: Any, folder: Path, wish: dict[str, Any]) -> None:
        from mlops_tui.serving.deployment import Deployment, Revision
        from mlops_tui.serving.deployment import Model as Place
        from mlops_tui.serving.protocol.app import App
        from mlops_tui.serving.record.counters import Counters
        from mlops_tui.serving.traffic.routing import Arm, Router

        counters = Counters(folder / "counters", 1)
        self._app = App(Deployment(deployment="t", name="t", spool=""), counters, counters.slot(0), None)
        arm = Arm("t", Revision("r", 1, "v1", Place("f"), 100.0), model, 1, None)
        self._app.route(Router((1, 1), [arm], None, None), [])
        self._entry = self._app.admit("POST", "/v2/models/t/infer", {b"host": b"localhost"})
        self._bodies = [body.encode() for body in wish["bodies"]]
        self._wait_s, self._seconds = float(wish["gather_ms"]) / 1000, float(wish["seconds"])
        self.failed = 0
        self._at = 0

    def warm(self) -> None:
        """Let caches and threads come up."""
        for _ in range(200):
            self._turn(1, 0.0)
        self.failed = 0

    def one_by_one(self) -> dict[str, Any]:
        """Return the latency of requests that come alone."""
        latencies: list[int] = []
        until = time.perf_counter() + self._seconds
        while time.perf_counter() < until and len(latencies) < _MOST:
            begin = time.perf_counter_ns()
            self._turn(1, self._wait_s)
            latencies.append(time.perf_counter_ns() - begin)
        latencies.sort()
        found = {"p50_ms": _quantile(latencies, 0.5), "p99_ms": _quantile(latencies, 0.99)}
        return {**found, "requests": len(latencies), "failed": self.failed}

    def under_load(self) -> dict[str, Any]:
        """Return how many requests are answered a second when there are always some more."""
        done, begin, cpu = 0, time.perf_counter(), time.process_time()
        while (spent := time.perf_counter() - begin) < self._seconds:
            self._turn(TOGETHER, self._wait_s)
            done += TOGETHER
        used = time.process_time() - cpu
        return {"rate": done / spent, "cpu_us": used / done * 1e6, "failed": self.failed, "rss": _memory()}

    def _turn(self, requests: int, wait_s: float) -> None:
        app, bodies = self._app, self._bodies
        for _ in range(requests):
            app.ask(self._entry, bodies[self._at % len(bodies)])
            self._at += 1
        if wait_s:
            time.sleep(wait_s)
        for ticket in app.settle():
            if ticket.answer is None or ticket.answer.status != 200:
                self.failed += 1


def _quantile(sorted_ns: list[int], share: float) -> float:
    """Return a quantile in milliseconds."""
    return sorted_ns[min(len(sorted_ns) - 1, int(share * len(sorted_ns)))] / 1e6


def _memory() -> int:
    """Return bytes that this process alone keeps, with its part of what it shares, where the system tells."""
    try:
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
