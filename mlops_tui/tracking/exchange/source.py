"""What a reader of another tracker offers, and what it hands over: runs with facts, points and files."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
from blake3 import blake3

from mlops_tui.contracts.exchange import FoundExperiment, FoundLogged, FoundRun
from mlops_tui.core.jsonx import canonical

NAMESPACE = uuid.UUID("5d0b6c4e-6a43-5a0e-9d8e-2f3c1b7a9e10")
"""Ids that are no UUIDs become UUIDs within this namespace, the same each time."""


class Points(NamedTuple):
    """Points of one run: ``which`` indexes ``names``; ``ts`` in µs; all arrays are equally long."""

    names: list[str]
    which: Any
    step: Any
    ts: Any
    value: Any


COLUMNS = np.dtype([("series", np.int32), ("step", np.int64), ("ts", np.int64), ("value", np.float64)])
"""How points of many runs lie in a file between worker and agent; the series are numbered through."""
FROM_DISK, OVER_HTTP = 300_000, 50_000
"""Points that are read at once; over HTTP the server's processes share the work."""
NO_POINTS = Points([], *(np.zeros(0, dtype=kind) for kind in (np.int32, np.int64, np.int64, np.float64)))


class SourceFile(NamedTuple):
    """A file of a run: its path there, and how to open it."""

    path: str
    open: Callable[[], BinaryIO]


@dataclass
class FoundVersion:
    """A version of a registered model."""

    version: int
    source: str
    run: str = ""
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    stage: str = ""


@dataclass
class FoundModel:
    """A registered model."""

    name: str
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    versions: list[FoundVersion] = field(default_factory=list)
    aliases: dict[str, int] = field(default_factory=dict)


@dataclass
class Candidate:
    """A run as a reader lists it: its facts, a guess at how many points it has, and what the reader needs to go on."""

    run: FoundRun
    size: int
    place: Any = None


class Source(Protocol):
    """A place to read from. ``points`` and ``files`` may be called by several threads at once."""

    name: str
    """What it is called in messages and tags; holds no password."""
    at_once: int
    """How many points are read at once, by each of several threads."""

    def experiments(self) -> list[FoundExperiment]:
        """Return every experiment, deleted ones too."""

    def total(self) -> int | None:
        """Return how many runs there are, None when only reading them all tells."""

    def runs(self) -> Iterable[Candidate]:
        """Yield every run, deleted ones too."""

    def points(self, some: Sequence[Candidate]) -> list[Points]:
        """Return the points of some runs, in their order."""

    def files(self, one: Candidate) -> Iterable[SourceFile]:
        """Yield the files of a run.

        Raises:
            MlopsError: they lie where this program does not read.
        """

    def models(self) -> Iterable[FoundModel]:
        """Yield the registered models."""

    def logged(self) -> Iterable[tuple[FoundLogged, Any]]:
        """Yield the logged models, each with what ``logged_files`` needs to go on."""

    def logged_files(self, one: FoundLogged, place: Any) -> Iterable[SourceFile]:
        """Yield the files of a logged model; see ``files``."""

    def close(self) -> None:
        """Let go of files and connections."""


def run_id(source_id: str, scope: str = "") -> str:
    """Return our id of a run: its own when that is a UUID in whatever spelling, else one made from it and its scope."""
    try:
        return str(uuid.UUID(source_id))
    except ValueError:
        return str(uuid.uuid5(NAMESPACE, f"{scope}/{source_id}"))


def marked(run: FoundRun, latest: Mapping[str, Any]) -> FoundRun:
    """Return the run with its mark, made from all that the source says of it before its points are read."""
    run.mark = blake3(canonical([_facts(run), latest])).hexdigest()[:32]
    return run


def _facts(run: FoundRun) -> dict[str, Any]:
    return {name: str(getattr(run, name)) for name in run.__struct_fields__ if name not in ("mark", "digest", "files")}


def joined(parts: Iterable[tuple[str, Any, Any, Any]]) -> Points:
    """Return metrics, each with its steps, times (µs) and values, as the points of one run."""
    kept = [part for part in parts if len(part[1])]
    if not kept:
        return NO_POINTS
    return Points(
        [name for name, *_ in kept],
        np.repeat(np.arange(len(kept), dtype=np.int32), [len(step) for _, step, _, _ in kept]),
        np.concatenate([np.asarray(step, dtype=np.int64) for _, step, _, _ in kept]),
        np.concatenate([np.asarray(ts, dtype=np.int64) for _, _, ts, _ in kept]),
        np.concatenate([np.asarray(value, dtype=np.float64) for _, _, _, value in kept]),
    )
