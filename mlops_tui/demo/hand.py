"""The demo's hand: the calls that its steps share, each a thing that a person could type."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlops_tui.client import Client
from mlops_tui.contracts.operation import Started
from mlops_tui.core.errors import MlopsError

LABEL_DELAY_S = 0.3
"""How late the labels come."""
PATIENCE_S = 90.0


class Hand:
    """Calls to one agent about one sample project.

    Args:
        client: of the demo's agent.
        folder: of the project; its ``mlops.toml`` says what there is.
    """

    def __init__(self, client: Client, folder: Path) -> None:
        self.client, self.folder = client, folder
        self.project: dict[str, Any] = tomllib.loads((folder / "mlops.toml").read_text())["project"]
        self.name = str(self.project["name"])
        self.raw = folder / self.project["data"]

    def file(self, what: str) -> str:
        """Return the absolute path of one of the project's files."""
        return str((self.folder / self.project[what]).resolve())

    def labelled(self, file: str) -> str:
        """Return a raw file's data set, joined with its labels' one where they lie apart: ``data+labels``."""
        data, labels = Path(file), Path(file.replace(self.name, "labels"))
        return f"{data.stem}+{labels.stem}" if (self.raw / labels).exists() else data.stem

    def until(self, ask: Callable[[], Any], good: Callable[[Any], bool], what: str) -> Any:
        """Ask until the answer is good, and return it.

        Raises:
            MlopsError: it did not become good in time.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not good(found := ask()):
            if time.monotonic() > deadline:
                why = f"waited {PATIENCE_S:g} s"
                raise MlopsError(f"it did not come to pass that {what}", why, "mlops event list shows how far it came")
            time.sleep(0.1)
        return found

    def deployment(self) -> Any:
        """Return the demo's deployment."""
        return self.client.call("deploy.show", {"deployment": self.name})

    def settled_run(self, run: str) -> Any:
        """Return a run once its last words have been taken in."""
        return self.until(
            lambda: self.client.call("run.show", {"run": run}),
            lambda one: one.ended is not None and len(one.artifacts) >= 2,
            "the run is complete",
        )

    def begin_replay(self, file: str, **options: Any) -> Started:
        """Begin to send a raw file as live traffic."""
        data, _, labels = self.labelled(file).partition("+")
        prefix = f"{data}-{time.monotonic_ns()}-"
        body = {"deployment": self.name, "data": data, "labels": labels, "label_delay_s": LABEL_DELAY_S}
        started: Started = self.client.call("deploy.replay", {**body, "prefix": prefix, **options})
        return started

    def replay(self, file: str, **options: Any) -> dict[str, Any]:
        """Send a raw file as live traffic and wait until all of it was answered."""
        return self.client.follow(self.begin_replay(file, **options))

    def drift(self) -> Any:
        """Return drift as judged after this moment."""
        before = self.client.call("drift.show", {"deployment": self.name}).ts or 0
        return self.until(
            lambda: self.client.call("drift.show", {"deployment": self.name}),
            lambda one: (one.ts or 0) > before,
            "drift is judged",
        )

    def watch(self) -> None:
        """Watch the deployment against what its stable version was evaluated on."""
        wanted = {"window_s": 8.0, "every_s": 1.0, "min_rows": 300, "k": 2, "n": 3}
        self.client.run_job("monitor.add", {"deployment": self.name, **wanted})

    def canary(self, model: str, file: str) -> Any:
        """Bring a version in under replayed traffic and return the rollout once it is over."""
        steps = {"steps": [10.0, 30.0, 60.0], "step_s": 2.0, "look_s": 1.0, "min_requests": 150}
        steps |= {"max_ratio": 1.5, "keep_old_s": 2.0}
        started = self.client.call("rollout.start", {"deployment": self.name, "model": model, **steps})
        traffic = self.begin_replay(file, rate=500).job

        def status() -> Any:
            # A canary without traffic holds, as it should; live traffic would not end, a file does.
            nonlocal traffic
            if self._ended(traffic):
                traffic = self.begin_replay(file, rate=500).job
            return self.client.call("rollout.status", {"rollout": started.id})

        rollout = self.until(status, lambda one: one.ended is not None, f"the canary of {model} ends")
        if not self._ended(traffic):
            self.client.call("job.stop", {"job": traffic}, reason="the rollout is over")
        return rollout

    def _ended(self, job: str) -> bool:
        return self.client.call("job.show", {"job": job}).ended is not None
