"""Four processes that log while agent and loggers are killed: two use the SDK, two speak the MLflow API.

Each value is logged once and no other has it, so a value says which write it was. A logger notes a value in its ledger
after the call returned: what stands there was acknowledged.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from mlops_tui.core.ids import uuid7

SDK = """
import os, sys, time
import mlops_tui as mlops
run_id, ledger, attempt = sys.argv[1], os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND), int(sys.argv[3])
run = mlops.start_run("soak", run_id=run_id, console=False)
value = attempt * 1_000_000
while True:
    value += 1
    run.log({"value": value})
    os.write(ledger, b"%d\\n" % value)
    time.sleep(0.0005)
"""
WIRE = """
import http.client, json, os, signal, sys, time
from mlops_tui.client import Client
from mlops_tui.core.errors import MlopsError
run_id, ledger, attempt = sys.argv[1], os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND), int(sys.argv[3])
leaving = []
signal.signal(signal.SIGTERM, lambda *_: leaving.append(1))
connection = None

def connect():
    # Where the agent listens now, over loopback, as clients of MLflow go.
    url = Client(start=False, timeout=5).call("agent.url").url
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)

def post(route, body):
    global connection
    while True:
        try:
            connection = connection or connect()
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"/api/2.0/mlflow/runs/{route}", json.dumps(body), headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status == 200:
                return json.loads(said)
            raise OSError(said)
        except (OSError, http.client.HTTPException, MlopsError) as error:
            print(error, file=sys.stderr)
            connection = None
            time.sleep(0.05)

if not os.path.exists(run_id):
    made = post("create", {"experiment_id": "0", "run_name": os.path.basename(run_id)})
    with open(run_id, "w") as file: file.write(made["run"]["info"]["run_id"])
run, value = open(run_id).read(), attempt * 1_000_000
while not leaving:
    value += 1
    point = {"run_id": run, "key": "value", "value": value, "timestamp": time.time_ns() // 1_000_000, "step": value}
    post("log-metric", point)
    os.write(ledger, b"%d\\n" % value)
post("update", {"run_id": run, "status": "FINISHED", "end_time": time.time_ns() // 1_000_000})
"""


@dataclass
class Logger:
    """One logger: its run, its ledger, the process that it is now, and the attempts so far."""

    name: str
    wire: bool
    folder: Path
    attempts: int = 0
    process: subprocess.Popen[bytes] | None = None
    run_id: str = field(default_factory=uuid7)

    def start(self) -> Logger:
        """Begin, or go on with the same run in a new process."""
        self.attempts += 1
        run = str(self.folder / self.name) if self.wire else self.run_id
        command = [sys.executable, "-c", WIRE if self.wire else SDK, run, str(self.ledger), str(self.attempts)]
        with open(self.folder / f"{self.name}.err", "ab") as sink:
            self.process = subprocess.Popen(command, env={**os.environ}, stdout=sink, stderr=sink)
        return self

    @property
    def ledger(self) -> Path:
        return self.folder / f"{self.name}.ledger"

    @property
    def acknowledged(self) -> list[int]:
        """The values that were acknowledged, in order; a line that the kill tore was not."""
        text = self.ledger.read_text() if self.ledger.exists() else ""
        return [int(line) for line in text.split("\n")[:-1]]

    @property
    def stored_id(self) -> str:
        """The id of its run as the store has it."""
        if not self.wire:
            return self.run_id
        digits = (self.folder / self.name).read_text().replace("-", "")
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def end(self, number: int = signal.SIGKILL) -> None:
        """End its process: by kill -9, or with another signal."""
        self.process.send_signal(number)
        self.process.wait(30)

    def logs(self, beyond: int, within: float = 30.0) -> None:
        """Wait until it has logged more than so many values."""
        deadline = time.monotonic() + within
        while len(self.acknowledged) <= beyond:
            assert time.monotonic() < deadline, (self.name, (self.folder / f"{self.name}.err").read_text()[-2000:])
            time.sleep(0.05)
