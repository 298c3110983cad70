"""A serving profile: how a model is best run on one kind of machine, as ``mlops model tune`` has measured it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from mlops_tui.core.jsonx import canonical

_MACHINE = ("arch", "cpu_model", "cores", "cpus_allowed", "cpu_limit")


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One way to serve a model.

    Attributes:
        precision: fp32, int8-dynamic or int8-static.
        threads: of one run.
        workers: processes that answer.
        gather_ms: how long requests wait for others to run with; 0: only those of one turn of the loop do.
    """

    precision: str = "fp32"
    threads: int = 1
    workers: int = 1
    gather_ms: float = 0.0

    @property
    def name(self) -> str:
        """The setting in a few words, which tell it from all others."""
        gather = f" +{self.gather_ms:g}ms" if self.gather_ms else ""
        return f"{self.precision} {self.threads}t×{self.workers}w{gather}"


DEFAULT = Setting()


def fingerprint(facts: Mapping[str, Any], gpus: list[str]) -> str:
    """Return what tells one kind of machine from others: processors that may be used, their model, GPUs.

    Args:
        facts: of a host, as the hardware room notes them.
        gpus: names of its GPUs.
    """
    seen = {name: facts.get(name) for name in _MACHINE}
    return hashlib.sha256(canonical({**seen, "gpus": sorted(gpus)})).hexdigest()[:16]
