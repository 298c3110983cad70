"""MLflow's own client against this agent and its peers: ``mlflow_wire.py [points] [peers' folder]``.

Peers: an ASGI server that does nothing, ``mlflow server`` on SQLite, and FastTrackML in an environment of its own,
which is made in the peers' folder at the first time. One client process asks them in turns, round by round, so that
whatever else the machine does falls on all of them alike; the ratios are those of the medians.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

ROUNDS, CALLS, BATCHES = 30, 20, 2
NULL = """
import sys
import uvicorn
BODY = open(sys.argv[2], "rb").read() if len(sys.argv) > 2 else b"{}"
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
async def application(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
uvicorn.run(application, port=int(sys.argv[1]), lifespan="off", log_level="error", access_log=False)
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def serve(argv: list[str], port: int, folder: Path) -> subprocess.Popen[bytes]:
    """Start a peer and wait until it answers."""
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with open(folder / f"{port}.log", "wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder, env=env, start_new_session=True)
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).read()
            return process
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{argv[:4]} does not come up: {(folder / f'{port}.log').read_text()[-2000:]}")


def fasttrackml(peers: Path) -> Path | None:
    """Return FastTrackML's program, installing it when it is not there; None when it cannot be had."""
    program = peers / "fasttrackml" / "bin" / "fml"
    try:
        if not program.exists():
            subprocess.run([sys.executable, "-m", "venv", str(program.parent.parent)], check=True)
            subprocess.run([str(program.with_name("pip")), "install", "-q", "fasttrackml"], check=True)
    except subprocess.CalledProcessError as error:
        print(f"without FastTrackML: {error}", file=sys.stderr)
        return None
    return program


class Peer:
    """A server as MLflow's client sees it, with the milliseconds that its calls took."""

    def __init__(self, name: str, url: str, run: str = "", uri: str = "") -> None:
        from mlflow import MlflowClient

        self.name, self.client = name, MlflowClient(tracking_uri=uri or url, registry_uri=uri or url)
        self.run = run or self.client.create_run("0").info.run_id
        self.times: dict[str, list[float]] = {}
        self._step = 0
        self._raw = http.client.HTTPConnection(urlsplit(url).netloc)

    def timed(self, what: str, work: Callable[[], object]) -> None:
        """Note how long something took."""
        began = time.perf_counter()
        work()
        self.times.setdefault(what, []).append((time.perf_counter() - began) * 1000)

    def metric(self) -> None:
        """Log one metric."""
        self._step += 1
        self.timed("log_metric", lambda: self.client.log_metric(self.run, "loss", 0.5, step=self._step))

    def raw_metric(self) -> None:
        """Log one metric over a kept connection, without MLflow's client and its share of the time."""
        self._step += 1
        body = {"run_id": self.run, "key": "raw", "value": 0.5, "timestamp": self._step, "step": self._step}

        def post() -> None:
            self._raw.request(
                "POST", "/api/2.0/mlflow/runs/log-metric", json.dumps(body), {"content-type": "application/json"}
            )
            self._raw.getresponse().read()

        self.timed("log-metric, raw HTTP", post)

    def batch(self) -> None:
        """Log a batch of a thousand."""
        from mlflow.entities import Metric

        now, first = int(time.time() * 1000), self._step
        self._step += 1000
        points = [Metric("many", float(n), now, first + n) for n in range(1000)]
        self.timed("log_batch of 1000", lambda: self.client.log_batch(self.run, points))


def calls(peers: list[Peer]) -> None:
    """Ask in turns and print the table."""
    for peer in peers:
        for _ in range(5):
            peer.metric()
    for peer in peers:
        peer.times.clear()
    for _ in range(ROUNDS):
        for peer in peers:
            for _ in range(CALLS):
                peer.metric()
            for _ in range(CALLS):
                peer.raw_metric()
    for _ in range(ROUNDS // 2):
        for peer in peers:
            for _ in range(BATCHES):
                peer.batch()
    ours = peers[0]
    for what in ours.times:
        for peer in peers:
            times = sorted(peer.times[what])
            middle, p99 = statistics.median(times), times[int(len(times) * 0.99)]
            ratio = middle / statistics.median(ours.times[what])
            print(f"{what:<22}{peer.name:<34}{middle:>9.2f}{p99:>9.2f}{ratio:>9.2f}", flush=True)


def history(ours: Peer, url: str, points: int, folder: Path) -> None:
    """Read a long history, and the same bytes from a server that does nothing else than send them."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for first in range(0, points, 1000):
        ours.client.log_batch(ours.run, [Metric("long", 1 / (n + 1), now + n, n) for n in range(first, first + 1000)])
    query = f"{url}/api/2.0/mlflow/metrics/get-history?run_id={ours.run}&metric_key=long&max_results=25000"
    body = folder / "page.json"
    # Of the null server every page is the last: it is asked as often as we are.
    page = urllib.request.urlopen(query, timeout=60).read()
    body.write_bytes(page[: page.rindex(b"]") + 1] + b"}")
    port = free_port()
    process = serve([sys.executable, "-c", NULL, str(port), str(body)], port, folder)
    null = Peer("null server, the same bytes", f"http://127.0.0.1:{port}", run=ours.run)
    for _ in range(3):
        ours.timed("history", lambda: ours.client.get_metric_history(ours.run, "long"))
        null.timed(
            "history", lambda: [null.client.get_metric_history(ours.run, "long") for _ in range(-(-points // 25_000))]
        )
    process.terminate()
    for peer in (ours, null):
        middle = statistics.median(peer.times["history"])
        ratio = middle / statistics.median(ours.times["history"])
        print(f"{f'history, {points:,} points':<30}{peer.name:<34}{middle:>9.0f}{'':>9}{ratio:>9.2f}", flush=True)


def main(points: int, peers: Path) -> None:
    """Start everybody, ask, print, end them."""
    import mlflow

    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as name:
        folder, started = Path(name), []
        os.environ.update(MLOPS_HOME=f"{name}/home", XDG_RUNTIME_DIR=name, MLOPS_QUIET="1")
        from mlops_tui.client import Client

        with Client() as client:
            url = client.call("agent.url").url
        found = [Peer("mlops agent", url)]
        found.append(Peer("mlops agent, mlops-tui:", url, run=found[0].run, uri="mlops-tui:"))
        port = free_port()
        started.append(serve([sys.executable, "-c", NULL, str(port)], port, folder))
        found.append(Peer("null ASGI server", f"http://127.0.0.1:{port}", run=found[0].run))
        port = free_port()
        words = ["server", "--port", str(port), "--backend-store-uri", f"sqlite:///{name}/mlflow.db", "--workers", "1"]
        started.append(serve([sys.executable, "-c", "from mlflow.cli import cli; cli()", *words], port, folder))
        found.append(Peer(f"mlflow {mlflow.__version__} server, SQLite", f"http://127.0.0.1:{port}"))
        if program := fasttrackml(peers):
            port = free_port()
            words = ["server", "-a", f"127.0.0.1:{port}", "-d", f"sqlite://{name}/fml.db", "-l", "error"]
            started.append(serve([str(program), *words], port, folder))
            version = next(importlib.metadata.distributions(name="fasttrackml", path=[*_site(program)])).version
            found.append(Peer(f"FastTrackML {version}, SQLite", f"http://127.0.0.1:{port}"))
        print(f"{'ms, through MlflowClient':<22}{'':<34}{'median':>7}{'p99':>9}{'ratio':>9}")
        try:
            calls(found)
            history(found[0], url, points, folder)
        finally:
            for process in started:
                os.killpg(process.pid, 15)
                process.wait()
            with Client(start=False) as client:
                client.call("agent.stop")
            time.sleep(2)


def _site(program: Path) -> list[str]:
    return [str(path) for path in program.parent.parent.glob("lib/python*/site-packages")]


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000,
        Path(sys.argv[2] if len(sys.argv) > 2 else f"{tempfile.gettempdir()}/mlops-peers"),
    )
