"""The soak's stage: the real demo, a keeper of what it spools, a prober of its server, and a killer with a seed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from mlops_tui.client.start import hello
from mlops_tui.core.paths import Home

AGENT, TRAINER, WORKER, SUPERVISOR = "agent", "trainer", "worker", "supervisor"
MODULES = {
    AGENT: "mlops_tui.agent",
    WORKER: "mlops_tui.serving.process.worker",
    SUPERVISOR: "mlops_tui.serving.process.supervisor",
}
SPARED = 0.6
"""How often the agent is let go where it is the only one there, so that some of its kills meet training and serving."""
A_JOB_BEARS = 2
"""Kills of one training job: the demo lets it begin again three times."""


def processes(home: Home) -> dict[str, list[psutil.Process]]:
    """Return the living processes of a home by what they are, from the system's table alone.

    A server that a gate tries a model on is none of them: it answers nobody but the gate.
    """
    found: dict[str, list[psutil.Process]] = {kind: [] for kind in (AGENT, TRAINER, WORKER, SUPERVISOR)}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("MLOPS_HOME") != str(home.data):
                continue
            argv = process.cmdline()
            for kind, module in MODULES.items():
                ours = kind == AGENT or any(text.startswith(str(home.deployments)) for text in argv)
                if ours and "-m" in argv and argv[argv.index("-m") + 1] == module:
                    found[kind].append(process)
            if len(argv) > 1 and Path(argv[1]).name == "train.py":
                found[TRAINER].append(process)
    return found


def served(home: Home) -> tuple[str, int] | None:
    """Return name and port of the demo's deployment once its server has been ready."""
    for folder in home.deployments.glob("*"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            state = json.loads((folder / "state.json").read_bytes())
            if state["port"] and state["generation"] >= 0:
                return json.loads((folder / "deployment.json").read_bytes())["name"], state["port"]
    return None


class Keeper(threading.Thread):
    """Hard-links every spool file as it appears: what was written is compared with the store after it was deleted."""

    def __init__(self, spool: Path, folder: Path) -> None:
        super().__init__(name="keeper", daemon=True)
        self.spool, self.folder = spool, folder
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.01):
            self.look()

    def look(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            for owner in list(os.scandir(self.spool)):
                for entry in list(os.scandir(owner.path)):
                    if entry.name.endswith((".jsonl", ".seg")):
                        kept = self.folder / owner.name / entry.name
                        with contextlib.suppress(FileExistsError):
                            kept.parent.mkdir(parents=True, exist_ok=True)
                            os.link(entry.path, kept)

    def end(self) -> None:
        self.over.set()
        self.join()
        self.look()


@dataclass
class Probe:
    """One request: when it was sent and answered (monotonic seconds), and the status; 0 when no answer came."""

    id: str
    began: float
    ended: float
    status: int
    trouble: str = ""


class Prober(threading.Thread):
    """Posts real rows to the demo's server, each once, from its first answer on; it knows nothing of the agent."""

    def __init__(self, home: Home, rows: np.ndarray, rate: float = 25.0) -> None:
        super().__init__(name="prober", daemon=True)
        self.home, self.rows, self.rate = home, rows.astype(np.float32), rate
        self.probes: list[Probe] = []
        self.over = threading.Event()
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        while not (place := served(self.home)):
            if self.over.wait(0.1):
                return
        name, port = place
        while not self.over.wait(1 / self.rate):
            self.probes.append(self._one(name, port, len(self.probes)))

    def end(self) -> None:
        self.over.set()
        self.join()

    def _one(self, name: str, port: int, number: int) -> Probe:
        probe = Probe(f"probe-{number}", time.monotonic(), 0.0, 0)
        row = self.rows[number % len(self.rows)]
        tensor = {"name": "features", "datatype": "FP32", "shape": [1, len(row)]}
        tensor["parameters"] = {"binary_data_size": row.nbytes}
        head = json.dumps({"id": probe.id, "inputs": [tensor]}).encode()
        fields = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            self._connection.request("POST", f"/v2/models/{name}/infer", head + row.tobytes(), fields)
            answer = self._connection.getresponse()
            text = answer.read()
            probe.status, probe.trouble = answer.status, text.decode() if answer.status != 200 else ""
        except (OSError, http.client.HTTPException) as error:
            probe.trouble = f"{type(error).__name__}: {error}"
            self._connection = None
        probe.ended = time.monotonic()
        return probe


@dataclass
class Kill:
    """One kill -9: of what, when (monotonic seconds), and when its successor was seen at work."""

    kind: str
    pid: int
    at: float
    job: str = ""
    back: float = float("inf")


@dataclass
class Killer(threading.Thread):
    """Kills what is planned, in order or in any, at moments that a seed decides.

    What nobody can kill yet is waited for, and then for a random while; ``gap`` is the time between two kills.
    """

    home: Home
    rng: random.Random
    plan: list[str]
    gap: tuple[float, float]
    in_order: bool
    kills: list[Kill] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(name="killer", daemon=True)
        self.over = threading.Event()

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        while self.plan and not self.over.is_set():
            self._pass(self.rng.uniform(*self.gap))
            if not self._targets():
                while not self._targets() and not self.over.is_set():
                    self._pass(0.1)
                self._pass(self.rng.uniform(0.0, 2.5))
            self._strike()
        while not self.over.wait(0.05):
            self._observe()

    def end(self) -> None:
        self.over.set()
        self.join()

    def settle(self, seconds: float = 20.0) -> None:
        """Wait until everything that was killed is back."""
        deadline = time.monotonic() + seconds
        while any(kill.back == float("inf") for kill in self.kills) and time.monotonic() < deadline:
            self._observe()
            time.sleep(0.05)

    def _pass(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self.over.wait(min(0.05, left)):
            self._observe()

    def _targets(self) -> dict[str, psutil.Process]:
        found = processes(self.home)
        targets = {}
        for kind in self.plan[:1] if self.in_order else sorted(set(self.plan)):
            for process in found[kind]:
                if self._is_due(kind, process):
                    targets[kind] = process
        return targets

    def _is_due(self, kind: str, process: psutil.Process) -> bool:
        if kind == TRAINER:
            return self._job_kills(process) < A_JOB_BEARS
        return kind == AGENT or served(self.home) is not None

    def _job_kills(self, process: psutil.Process) -> int:
        try:
            job = process.environ()["MLOPS_JOB_ID"]
        except psutil.Error:
            return A_JOB_BEARS
        return sum(kill.job == job for kill in self.kills)

    def _strike(self) -> None:
        targets = self._targets()
        if not targets or self.over.is_set():
            return
        if list(targets) == [AGENT] and not self.in_order and self.rng.random() < SPARED:
            return
        left = Counter(self.plan)
        # A trainer is seldom there: it goes first more often.
        kind = self.rng.choices(list(targets), [left[kind] * (4 if kind == TRAINER else 1) for kind in targets])[0]
        victim = targets[kind]
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            job = victim.environ().get("MLOPS_JOB_ID", "") if kind == TRAINER else ""
            kill = Kill(kind, victim.pid, time.monotonic(), job)
            os.kill(victim.pid, signal.SIGKILL)
            self.kills.append(kill)
            self.plan.remove(kind)

    def _observe(self) -> None:
        """Note which victims have a successor at work."""
        for kill in self.kills:
            if kill.back == float("inf") and self._is_back(kill):
                kill.back = time.monotonic()

    def _is_back(self, kill: Kill) -> bool:
        if kill.kind == TRAINER:
            return True
        if kill.kind == AGENT:
            found = hello(self.home, 1.0)
            return found is not None and found.pid != kill.pid
        for state in self.home.deployments.glob("*/state.json"):
            with contextlib.suppress(OSError, ValueError):
                now = json.loads(state.read_bytes())
                workers = [one["process"]["pid"] for one in now["workers"] if one["ready"] and one["process"]]
                pids = workers if kill.kind == WORKER else [now["pid"]]
                return bool(pids) and kill.pid not in pids and all(map(psutil.pid_exists, pids))
        return False


class Demo:
    """The demo's driver, as a person starts it."""

    def __init__(self, home: Home, folder: Path, *arguments: str) -> None:
        self.out, self.err = folder / "demo.json", folder / "demo.err"
        command = [sys.executable, "-m", "mlops_tui.demo", "--headless", "--json", "--home", str(home.data), *arguments]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def wait(self, seconds: float) -> int:
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the demo was not over after {seconds:g} s\n{self.story}") from None

    @property
    def summary(self) -> dict:
        return json.loads(self.out.read_bytes())

    @property
    def story(self) -> str:
        return self.err.read_text()
