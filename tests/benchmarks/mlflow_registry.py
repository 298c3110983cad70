"""Files and models over MLflow's API, this agent beside ``mlflow server`` on SQLite: ``mlflow_registry.py [MB]``.

Raw HTTP on one kept connection, so that servers are compared and not the client; the same calls of both in turns.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil

ROUNDS = 40
sys.path.insert(0, str(Path(__file__).parent))


class Peer:
    """A server, its process, and the milliseconds that its calls took."""

    def __init__(self, name: str, url: str, pid: int) -> None:
        self.name, self._host = name, urlsplit(url).netloc
        self._process = psutil.Process(pid)
        self.times: dict[str, list[float]] = {}
        self._open()
        self.run = self.ask("POST", "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]

    def _open(self) -> None:
        self._connection, self._used = http.client.HTTPConnection(self._host, timeout=600), time.monotonic()

    def ask(self, method: str, path: str, body: object = None) -> dict:
        """Return an answer's JSON."""
        headers = {"content-type": "application/json"}
        if time.monotonic() - self._used > 3:  # a server closes a connection that rests
            self._open()
        self._connection.request(method, f"/api/2.0/mlflow/{path}", body and json.dumps(body), headers)
        answer = self._connection.getresponse()
        content = answer.read()
        self._used = time.monotonic()
        assert answer.status == 200, content
        return json.loads(content or b"{}")

    def small(self, number: int) -> None:
        """Put a file of 1 kB, and note how long it took."""
        path = f"/api/2.0/mlflow-artifacts/artifacts/0/{self.run}/artifacts/small/{number}"
        began = time.perf_counter()
        self._connection.request("PUT", path, os.urandom(1000))
        answer = self._connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        self.times.setdefault("a file of 1 kB", []).append((time.perf_counter() - began) * 1000)

    def timed(self, what: str, method: str, path: str, body: object = None) -> None:
        """Ask, and note how long it took."""
        began = time.perf_counter()
        self.ask(method, path, body)
        self.times.setdefault(what, []).append((time.perf_counter() - began) * 1000)

    def file(self, size_mb: int) -> tuple[float, float, float]:
        """Return MB/s up and down of one file, and by how many MB the server's memory rose meanwhile."""
        path = f"/api/2.0/mlflow-artifacts/artifacts/0/{self.run}/artifacts/big.bin"
        piece, highest, done = os.urandom(1 << 20), [0], threading.Event()
        tree = [self._process, *self._process.children(recursive=True)]
        before = sum(one.memory_info().rss for one in tree)

        def watch() -> None:
            while not done.wait(0.02):
                highest[0] = max(highest[0], sum(one.memory_info().rss for one in tree))

        watching = threading.Thread(target=watch)
        watching.start()
        self._open()
        began = time.perf_counter()
        self._connection.request("PUT", path, (piece for _ in range(size_mb)), {"content-length": str(size_mb << 20)})
        answer = self._connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        up = size_mb / (time.perf_counter() - began)
        began = time.perf_counter()
        self._connection.request("GET", path)
        answer, size = self._connection.getresponse(), 0
        while part := answer.read(1 << 20):
            size += len(part)
        down = size_mb / (time.perf_counter() - began)
        assert size == size_mb << 20
        done.set()
        watching.join()
        return up, down, max(0, highest[0] - before) / 2**20


def models(peers: list[Peer]) -> None:
    """Make, read and search models and versions."""
    for number in range(ROUNDS):
        name = f"m{number:03}"
        for peer in peers:
            peer.timed("registered-models/create", "POST", "registered-models/create", {"name": name})
            for version in range(3):
                made = {"name": name, "source": f"s3://b/{version}", "tags": [{"key": "i", "value": str(number)}]}
                peer.timed("model-versions/create", "POST", "model-versions/create", made)
            moved = {"name": name, "alias": "champion", "version": "2"}
            peer.timed("alias set", "POST", "registered-models/alias", moved)
            peer.timed("alias get", "GET", f"registered-models/alias?name={name}&alias=champion")
            peer.timed("registered-models/get", "GET", f"registered-models/get?name={name}")
            peer.timed("model-versions/search, 100", "GET", "model-versions/search?max_results=100")
            wanted = quote(f"tags.i = '{number}'")
            peer.small(number)
            peer.timed("model-versions/search, a tag", "GET", f"model-versions/search?filter={wanted}")


def main(size_mb: int) -> None:
    """Start both, ask, print, end them."""
    import mlflow
    from mlflow_wire import free_port, serve

    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as name:
        folder, port = Path(name), free_port()
        os.environ.update(MLOPS_HOME=f"{name}/home", XDG_RUNTIME_DIR=name, MLOPS_QUIET="1")
        from mlops_tui.client import Client

        with Client() as client:
            ours = Peer("mlops agent", client.call("agent.url").url, client.hello.pid)
        words = ["server", "--port", str(port), "--backend-store-uri", f"sqlite:///{name}/mlflow.db", "--workers", "1"]
        server = serve([sys.executable, "-c", "from mlflow.cli import cli; cli()", *words], port, folder)
        try:
            theirs = Peer(f"mlflow {mlflow.__version__} server", f"http://127.0.0.1:{port}", server.pid)
            models([ours, theirs])
            print(f"{'median ms':<32}{ours.name:>14}{theirs.name:>24}{'ratio':>8}")
            for what, found in ours.times.items():
                mine, other = statistics.median(found), statistics.median(theirs.times[what])
                print(f"{what:<32}{mine:>14.1f}{other:>24.1f}{other / mine:>8.1f}")
            for peer in (ours, theirs):
                up, down, more = peer.file(size_mb)
                print(
                    f"{peer.name}: a file of {size_mb} MB up {up:.0f} MB/s, down {down:.0f} MB/s, memory +{more:.0f} MB"
                )
        finally:
            os.killpg(server.pid, 15)
            server.wait()
            with Client(start=False) as client:
                client.call("agent.stop")
            time.sleep(2)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
