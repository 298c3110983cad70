"""The worker of an import: reads another tracker's runs in a process of its own and hands them in, some at a time.

Several groups of runs are read at once while one is handed in. Each is handed in whole or not at all, with a note; so
an import that was killed goes on where it was, and one that is repeated adds nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mlops_tui.contracts import exchange as contract
from mlops_tui.contracts.exchange import FoundExperiment, FoundFile
from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import MlopsError, NotFound, Unreachable
from mlops_tui.jobs.worker import WorkerJob, serve
from mlops_tui.spool.text import logical_path
from mlops_tui.tracking.exchange import digest, models
from mlops_tui.tracking.exchange.open import mlflow_source, wandb_source
from mlops_tui.tracking.exchange.source import COLUMNS, Candidate, Points, Source, SourceFile

RUNS_AT_ONCE = 100
RUNS_A_CHUNK = 2000
READERS = 6
"""Groups that are read at the same time."""


@dataclass
class Tally:
    """What an import did."""

    runs: int = 0
    new: int = 0
    points: int = 0
    files: int = 0
    models: int = 0
    versions: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


def bring(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Read a source and hand in what is not here."""
    began = time.monotonic()
    for left in Path.cwd().glob("points-*.npy"):  # by an attempt that was killed
        left.unlink()
    with closing(_open(request)) as source:
        experiments = _experiments(source, request["experiment"])
        if request["look"]:
            return _looked(source, job, request, experiments)
        desk = Desk(source, job, experiments, request["artifacts"])
        for some in _chunks(source, experiments):
            desk.bring(some)
        if request.get("models"):
            _bring_models(desk)
    tally = desk.tally
    return {
        "source": source.name,
        "runs": tally.runs,
        "new_runs": tally.new,
        "new_points": tally.points,
        "files": tally.files,
        "new_models": tally.models,
        "new_versions": tally.versions,
        "left_out": [f"{text} ({count}×)" if count > 1 else text for text, count in tally.left_out.items()],
        "seconds": round(time.monotonic() - began, 2),
        "digest": digest.whole_digest(tally.digests),
    }


class Desk:
    """Where runs of a source are compared with what is here, read, and handed in."""

    def __init__(self, source: Source, job: WorkerJob, experiments: dict[str, FoundExperiment], files: bool) -> None:
        self.source, self.job, self.files = source, job, files
        self.experiments, self.tally = experiments, Tally()
        self._total = source.total()

    def bring(self, some: Sequence[Candidate]) -> None:
        """Hand in those of some runs that are new or have changed."""
        answer = _wanted(self.job, some, self.files)
        self.tally.digests |= answer.digests
        chosen = set(answer.runs)
        self._digest_ours([one for one in some if answer.digests.get(one.run.id) == ""])
        self.tally.runs += len(some) - len(chosen)
        wanted = [one for one in some if one.run.id in chosen]
        with ThreadPoolExecutor(READERS) as readers:
            waiting: list[tuple[list[Candidate], Future[list[Points]]]] = []
            for group in [*_groups(wanted, self.source.at_once), None]:
                if group is not None:
                    waiting.append((group, readers.submit(self._read, group)))
                while waiting and (group is None or len(waiting) > READERS):
                    ready, future = waiting.pop(0)
                    self._hand_in(ready, future.result())
        self._progress()

    def keep(self, files: Callable[[], Iterable[SourceFile]], ts: int) -> list[FoundFile]:
        """Keep files among the artifacts; those of a place that is not read are left out, and that is told."""
        kept: list[FoundFile] = []
        try:
            for file in files() if self.files else ():
                if logical_path(file.path) != file.path:
                    self.tally.left_out[f"a file is called {file.path!r:.100}, which leads out of its run"] += 1
                    continue
                with file.open() as content:
                    blob = self.job.blobs.put_stream(_pieces(content))
                kept.append(FoundFile(path=file.path, digest=blob.digest, size=blob.size, ts=ts))
        except (OSError, HTTPException) as error:
            raise Unreachable("a file could not be read to its end", str(error), "import again: it goes on") from error
        except Unreachable:
            raise
        except MlopsError as error:
            self.tally.left_out[str(error)] += 1
        return kept

    def _digest_ours(self, ours: Sequence[Candidate]) -> None:
        """Digest runs that this store made itself as the source has them: nothing of them is handed in."""
        for group in _groups(ours, self.source.at_once):
            self._read(group)
            self.tally.digests |= {one.run.id: one.run.digest for one in group}

    def _read(self, group: list[Candidate]) -> list[Points]:
        """Read the points of some runs, keep their files and fill in their digests."""
        points = self.source.points(group)
        for one, found in zip(group, points, strict=True):
            one.run.files = self.keep(partial(self.source.files, one), one.run.ended or one.run.started)
            one.run.digest = digest.run_digest(one.run, found)
        return points

    def _hand_in(self, group: list[Candidate], points: list[Points]) -> None:
        series = [(index, name) for index, part in enumerate(points) for name in part.names]
        path = _written(points, Path.cwd() / f"points-{now_us()}.npy") if series else None
        for one in group:
            _say_where_from(one, self.source, self.experiments[one.run.experiment])
        names = dict.fromkeys(one.run.experiment for one in group)
        wanted = contract.Take(
            job=self.job.id, source=self.source.name, series=series, points=path.name if path else "",
            files=self.files, experiments=[self.experiments[name] for name in names], runs=[one.run for one in group],
        )  # fmt: skip
        taken = self.job.client.call(contract.take, wanted)
        if path:
            path.unlink()
        tally = self.tally
        tally.runs += len(group)
        tally.new += taken.runs
        tally.points += taken.points
        tally.files += sum(len(one.run.files) for one in group)
        tally.digests |= {one.run.id: one.run.digest for one in group}
        self._progress()

    def _progress(self) -> None:
        if self._total:
            self.job.progress(self.tally.runs / max(self._total, self.tally.runs))


def _open(request: dict[str, Any]) -> Source:
    if request["tool"] == "mlflow":
        return mlflow_source(request["source"], wire=request["wire"])
    return wandb_source(request["source"])


def _experiments(source: Source, names: Sequence[str]) -> dict[str, FoundExperiment]:
    """Return the experiments that are wanted, by name."""
    known = {one.name: one for one in source.experiments()}
    for name in names:
        if name not in known:
            raise NotFound(f"{source.name} has no experiment {name!r}", "", f"it has {', '.join(known) or 'none'}")
    return {name: one for name, one in known.items() if not names or name in names}


def _chunks(source: Source, experiments: dict[str, FoundExperiment]) -> Iterator[list[Candidate]]:
    """Yield the runs some at a time, so that a hundred thousand of them need not be held at once."""
    wanted = (one for one in source.runs() if one.run.experiment in experiments)
    while some := list(islice(wanted, RUNS_A_CHUNK)):
        yield some


def _wanted(job: WorkerJob, some: Sequence[Candidate], files: bool) -> contract.Wanted:
    return job.client.call(contract.known, contract.Known(runs={one.run.id: one.run.mark for one in some}, files=files))


def _looked(
    source: Source, job: WorkerJob, request: dict[str, Any], experiments: dict[str, FoundExperiment]
) -> dict[str, Any]:
    runs = points = 0
    sizes: Counter[str] = Counter()
    for some in _chunks(source, experiments):
        chosen = set(_wanted(job, some, request["artifacts"]).runs)
        fresh = [one for one in some if one.run.id in chosen]
        runs += len(some)
        points += sum(one.size for one in fresh)
        sizes.update(one.run.experiment for one in fresh)
    return {
        "source": source.name,
        "runs": runs,
        "new_runs": sizes.total(),
        "points": points,
        "models": len(list(source.models())),
        "experiments": [{"experiment": name, "new_runs": sizes[name]} for name in experiments],
    }


def _groups(wanted: Sequence[Candidate], points: int) -> Iterator[list[Candidate]]:
    group: list[Candidate] = []
    size = 0
    for one in wanted:
        if group and (len(group) >= RUNS_AT_ONCE or size + one.size > points):
            yield group
            group, size = [], 0
        group.append(one)
        size += one.size
    if group:
        yield group


def _bring_models(desk: Desk) -> None:
    models.bring_logged(desk.source, desk.job, desk.experiments, desk.keep)
    tally = desk.tally
    told = models.bring_registered(desk.source, desk.job, lambda text: tally.left_out.update([text]))
    tally.models, tally.versions = told


def _pieces(content: BinaryIO) -> Iterator[bytes]:
    while piece := content.read(1 << 20):
        yield piece


def _say_where_from(one: Candidate, source: Source, experiment: FoundExperiment) -> None:
    """Tag a run with its source; one that was imported before it came here keeps what it says of its first source."""
    told = {"source": source.name, "run": one.run.source_id, "experiment": experiment.source_id or experiment.name}
    one.run.tags = {**{digest.OURS + key: text for key, text in told.items()}, **one.run.tags}


def _written(points: list[Points], path: Path) -> Path:
    """Write points of several runs as one array; the series are numbered through."""
    rows = np.empty(sum(len(part.which) for part in points), dtype=COLUMNS)
    begin = first = 0
    for part in points:
        some = rows[begin : begin + len(part.which)]
        some["series"], some["step"], some["ts"], some["value"] = part.which + first, part.step, part.ts, part.value
        begin, first = begin + len(part.which), first + len(part.names)
    np.save(path, rows)
    return path


if __name__ == "__main__":
    serve(bring)
