"""The agent: cold start, calls, ingestion of a long run, its curve: ``python tests/benchmarks/agent.py [points]``.

A home of its own on disk, a real agent, the ordinary client. Everything is measured from the client's side; ingestion
from the agent's first answer until the last point can be read. Takes about a minute for a million points.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LOG = """
import sys
import mlops_tui as mlops
points, width = map(int, sys.argv[1:])
names = ["loss", *(f"train/metric_{n}" for n in range(1, width))]
with mlops.start_run("benchmark", name="long") as run:
    for step in range(points // width):
        run.log({name: 1.0 / (step + 1) for name in names}, step=step)
print(run.id)
"""


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long something took."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def row(name: str, times: list[float]) -> None:
    """Print a line of the table: median, p99 and slowest in ms."""
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{name:<44}{statistics.median(ordered):>9.2f}{p99:>9.2f}{ordered[-1]:>9.2f}{len(ordered):>7}", flush=True)


def stop() -> None:
    """Stop the agent and wait until it is gone."""
    from mlops_tui.client import Client
    from mlops_tui.spool.process import created_us

    client = Client(start=False)
    client.call("agent.stop")
    while created_us(client.hello.pid) is not None:
        time.sleep(0.01)


def cold_starts(rounds: int) -> None:
    """A client that finds no agent, with a new store and with one that is there."""
    from mlops_tui.client import Client

    row("cold start, new store", [milliseconds(Client)])
    stop()
    times = []
    for _ in range(rounds):
        times.append(milliseconds(Client))
        stop()
    row("cold start", times)


def calls(count: int) -> None:
    """Round trips over one kept connection, and one that changes something."""
    from mlops_tui.client import Client
    from mlops_tui.client.start import hello
    from mlops_tui.core.paths import home

    client, where = Client(), home()
    me = {"name": client.call("home.show").user, "role": "admin"}
    time.sleep(3)  # let the agent settle after its start
    row("ping: hello, a new connection each", [milliseconds(lambda: hello(where)) for _ in range(count)])
    row("call: host.show, one connection", [milliseconds(lambda: client.call("host.show")) for _ in range(count)])
    row("call: home.show", [milliseconds(lambda: client.call("home.show")) for _ in range(count)])
    change = [milliseconds(lambda: client.call("identity.create", me)) for _ in range(count // 4)]
    row("change: planned, audited, committed", change)
    print(f"event loop lag p99 {client.call('agent.status').lag_ms:.1f} ms")


def ingestion(points: int, width: int) -> str:
    """A spool of so many points, ``width`` a step, that was written while no agent ran; returns the run."""
    from mlops_tui.client import Client

    stop()
    began = time.perf_counter()
    words = [sys.executable, "-c", LOG, str(points), str(width)]
    written = subprocess.run(words, capture_output=True, text=True, check=True)
    run = written.stdout.split()[-1]
    print(f"{points:,} points, {width} a step, logged by the SDK in {time.perf_counter() - began:.1f} s", end="; ")
    client = Client()
    began = time.perf_counter()
    count = {"query": f"SELECT coalesce(sum(n), 0)::BIGINT FROM series WHERE owner = '{run}'"}
    while client.call("sql.query", count).rows[0][0] < points:
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    lag = client.call("agent.status").lag_ms
    print(f"ingested in {seconds:.2f} s: {points / seconds / 1e6:.2f} M points/s, event loop lag p99 {lag:.1f} ms")
    return run


def curves(run: str, count: int) -> None:
    """The curve of the long run, in as many buckets as a wide screen has."""
    from mlops_tui.client import Client

    client = Client()
    request = {"run": run, "keys": ["loss"], "points": 500}
    row("run.curve, 500 buckets", [milliseconds(lambda: client.call("run.curve", request)) for _ in range(count)])
    lines = {"filter": "experiment:benchmark"}
    row("run.list", [milliseconds(lambda: client.call("run.list", lines)) for _ in range(count)])


def main(points: int = 1_000_000) -> None:
    """Print the table."""
    os.environ["MLOPS_QUIET"] = "1"
    with tempfile.TemporaryDirectory(
        prefix="mlops-bench-", dir=os.environ.get("MLOPS_BENCH_DIR", "/var/tmp")
    ) as folder:
        os.environ.update(
            MLOPS_HOME=str(Path(folder) / "home"), XDG_RUNTIME_DIR=folder, MLOPS_AGENT_START_TIMEOUT_S="60"
        )
        load = os.getloadavg()[0]
        print(f"{'ms':<44}{'median':>9}{'p99':>9}{'slowest':>9}{'n':>7}   {os.cpu_count()} cores, load {load:.1f}")
        cold_starts(5)
        calls(1000)
        ingestion(points, 20)
        curves(ingestion(points, 1), 50)
        stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
