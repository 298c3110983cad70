"""What a runner is told, over its standard input: nothing of a job's request lies in a file."""

from __future__ import annotations

from typing import Any

import msgspec


class DataFile(msgspec.Struct, kw_only=True):
    """A stored artifact that the child reads as a file; its path comes as ``MLOPS_DATA_<NAME>``."""

    name: str
    digest: str
    suffix: str = ""


class Spec(msgspec.Struct, kw_only=True):
    """One job: what to run, with what, and how patient to be."""

    job: str
    name: str
    kind: str
    argv: list[str]
    lane: str = "work"
    env: dict[str, str] = {}
    cwd: str = ""
    run: str | None = None
    request: dict[str, Any] = {}
    data: list[DataFile] = []
    grace_s: float = 20.0
