"""Bringing runs from a real MLflow server: ``import_mlflow.py [runs] [points a run] [peers' folder]``.

The server (MLflow 3.17.2 on SQLite, four workers as it starts by itself) runs in an environment of its own, which is
made in the peers' folder at the first time. Its database is filled by SQLite, run by run; every tenth run lies in an
experiment of its own. What is measured is ``mlops import mlflow`` as a person types it, agent and worker included:
from the server on this machine, from its database as a file, and with ``--wire``, every tenth run, over HTTP alone;
beside the last stands a client that only fetches the same answers. CPU is that of agent and workers together.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

MLFLOW = "mlflow==3.17.2"
KEYS = 10
T0 = 1_760_000_000_000
WANTED_S = 60


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def mlflow_of(peers: Path) -> Path:
    """Return the Python that has MLflow, installing it when it is not there."""
    python = peers / "mlflow" / "bin" / "python"
    if not python.exists():
        print(f"making an environment with {MLFLOW} in {python.parents[1]}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", MLFLOW], check=True)
    return python


def serve(python: Path, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server and wait until it answers."""
    port = free_port()
    argv = [
        str(python),
        "-m",
        "mlflow",
        "server",
        "--port",
        str(port),
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
    ]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder, env=env, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).read()
            return process, url
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the server does not come up: {(folder / 'server.log').read_text()[-2000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def fill(path: Path, runs: int, points: int) -> None:
    """Write runs of ten metrics, one after the other, as training does."""
    db = sqlite3.connect(path)
    db.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA cache_size = -400000")
    columns = [row[1] for row in db.execute("PRAGMA table_info(experiments)")]
    for number, name in ((1, "most"), (2, "tenth")):
        row = {"experiment_id": number, "name": name, "artifact_location": "", "lifecycle_stage": "active"}
        row |= {"creation_time": T0, "last_update_time": T0, "workspace": "default"}
        kept = {key: value for key, value in row.items() if key in columns}
        db.execute(
            f"INSERT INTO experiments ({', '.join(kept)}) VALUES ({', '.join('?' * len(kept))})", [*kept.values()]
        )
    steps, chance = points // KEYS, random.Random(7)
    for number in range(runs):
        run, began = uuid.UUID(int=chance.getrandbits(128), version=4).hex, T0 + number * steps * 1000
        db.execute(
            """INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage,
                 artifact_uri, experiment_id) VALUES (?, ?, 'UNKNOWN', 'amal', 'FINISHED', ?, ?, 'active', '', ?)""",
            [run, f"run-{number}", began, began + steps * 1000, 1 if number % 10 else 2],
        )
        db.executemany("INSERT INTO params VALUES (?, ?, ?)", [(f"p{k}", str(number * k), run) for k in range(20)])
        db.execute("INSERT INTO tags VALUES ('mlflow.runName', ?, ?)", [f"run-{number}", run])
        for key in range(KEYS):
            values = [(f"m{key}", chance.random(), began + step * 1000, run, step, 0) for step in range(steps)]
            db.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", values)
            name, value, ts, _, step, nan = values[-1]
            db.execute("INSERT INTO latest_metrics VALUES (?, ?, ?, ?, ?, ?)", [name, value, ts, step, nan, run])
    db.commit()
    db.close()


def bring(what: str, *words: str) -> dict[str, object]:
    """Import into a home of its own and print how long it took."""
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as home:
        env = {**os.environ, "MLOPS_HOME": home, "XDG_RUNTIME_DIR": home}
        program = [sys.executable, "-m", "mlops_tui"]
        began = time.perf_counter()
        asked = [*program, "import", "mlflow", *words, "--yes", "--json", "--quiet"]
        told = json.loads(subprocess.run(asked, env=env, check=True, capture_output=True, text=True).stdout)["result"]
        seconds = time.perf_counter() - began
        agent = subprocess.run([*program, "agent", "status", "--json"], env=env, capture_output=True, text=True).stdout
        time.sleep(2)  # the agent takes notice of the job's end, and with it of what its processes used
        used = sum(psutil.Process(json.loads(agent)["pid"]).cpu_times()[:4])
        again = json.loads(subprocess.run(asked, env=env, check=True, capture_output=True, text=True).stdout)["result"]
        subprocess.run([*program, "agent", "stop"], env=env, capture_output=True)
        time.sleep(1)
    assert (again["new_points"], again["digest"]) == (0, told["digest"])
    rate = told["new_points"] / seconds
    print(
        f"{what:<44}{told['new_points']:>12,}{seconds:>9.1f}{rate:>12,.0f}{again['seconds']:>9.1f}{used:>9.1f}",
        flush=True,
    )
    return told


def fetched(url: str, experiment: str) -> tuple[int, float]:
    """Fetch the same answers with as many connections as the import, and do nothing with them."""
    body = json.dumps({"experiment_ids": [experiment], "max_results": 1000}).encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{url}/api/2.0/mlflow/runs/search", body, headers)
    runs = json.loads(urllib.request.urlopen(asked).read())["runs"]
    steps = int(runs[0]["data"]["metrics"][0]["step"]) + 1
    ids = [run["info"]["run_id"] for run in runs]
    some = max(1, 20_000 // steps)
    questions = [
        f"{url}/ajax-api/2.0/mlflow/metrics/get-history-bulk?metric_key=m{key}&max_results=25000&"
        + "&".join(f"run_id={run}" for run in ids[first : first + some])
        for key in range(KEYS)
        for first in range(0, len(ids), some)
    ]
    began = time.perf_counter()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda question: urllib.request.urlopen(question).read(), questions))
    return len(ids) * steps * KEYS, time.perf_counter() - began


def main() -> None:
    """Fill, serve, import."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    points = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    peers = Path(sys.argv[3] if len(sys.argv) > 3 else Path(tempfile.gettempdir()) / "mlops-peers")
    python = mlflow_of(peers)
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as scratch:
        folder = Path(scratch)
        process, _ = serve(python, folder)  # it makes its tables
        end(process)
        fill(folder / "mlflow.db", runs, points)
        process, url = serve(python, folder)
        try:
            print(f"{runs:,} runs of {points:,} points each, from {MLFLOW}")
            print(f"{'':<44}{'points':>12}{'s':>9}{'points/s':>12}{'again s':>9}{'CPU s':>9}", end="")
            print(f"   load {os.getloadavg()[0]:.1f}", flush=True)
            whole = bring("mlflow server on this machine", url)
            file = bring("its database as a file", f"sqlite:///{folder}/mlflow.db")
            assert whole["digest"] == file["digest"]
            wire = bring("every tenth run, --wire", url, "--wire", "--experiment", "tenth")
            count, seconds = fetched(url, "2")
            print(f"{'  its answers alone, thrown away':<44}{count:>12,}{seconds:>9.1f}{count / seconds:>12,.0f}")
            assert wire["new_points"] == count
        finally:
            end(process)


if __name__ == "__main__":
    main()
