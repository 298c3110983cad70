"""Measuring a candidate: as many worker processes as it has, all at once, through the servers' own path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlops_tui.core.errors import MlopsError
from mlops_tui.serving.models.profile import Setting

PATIENCE_S = 60.0
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of a candidate.

    Attributes:
        p50_ms: median latency of requests that come alone, ``p99_ms`` the latency that one in a hundred exceeds.
        rate: requests a second of all workers under load; ``cpu_us`` what each then costs.
        memory: bytes of all workers.
        failed: requests that were not answered.
    """

    p50_ms: float
    p99_ms: float
    rate: float
    cpu_us: float
    memory: int
    failed: int = 0


def measure(setting: Setting, files: Mapping[str, Path], bodies: Sequence[str], seconds: float) -> Figures:
    """Measure a candidate once.

    Args:
        setting: the candidate.
        files: the model in each precision.
        bodies: JSON requests of one row.
        seconds: for each of the two phases.

    Raises:
        MlopsError: a worker did not come up or died.
    """
    wish = {
        "model": str(files[setting.precision]), "threads": setting.threads, "gather_ms": setting.gather_ms,
        "seconds": seconds, "bodies": list(bodies),
    }  # fmt: skip
    workers = [_Worker(wish) for _ in range(setting.workers)]
    try:
        for worker in workers:
            worker.hear()
        alone = _together(workers)
        loaded = _together(workers)
    finally:
        for worker in workers:
            worker.end()
    return Figures(
        p50_ms=max(one["p50_ms"] for one in alone),
        p99_ms=max(one["p99_ms"] for one in alone),
        rate=sum(one["rate"] for one in loaded),
        cpu_us=sum(one["cpu_us"] for one in loaded) / len(loaded),
        memory=sum(int(one["rss"]) for one in loaded),
        failed=sum(int(one["failed"]) for one in loaded),
    )


def _together(workers: Sequence[_Worker]) -> list[dict[str, Any]]:
    for worker in workers:
        worker.tell("go")
    return [worker.hear() for worker in workers]


class _Worker:
    """A process of :mod:`~mlops_tui.pipelines.tuning.bench`; it ends with its parent, whose pipe it reads."""

    def __init__(self, wish: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mlops_tui.pipelines.tuning.bench"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **_ONE_THREAD},
        )
        self.tell(json.dumps(wish))

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # hear() says why

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait(PATIENCE_S)
            raise MlopsError("a worker of the measurement died", f"exit code {code}", "mlops job log shows its words")
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()
