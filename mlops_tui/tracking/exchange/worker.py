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
from pathlib import Path
from typing import Any

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

POINTS_AT_ONCE = 300_000
RUNS_AT_ONCE = 100
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
        experiments, found = _listed(source, request["experiment"])
        wanted = _wanted(job, found, request["artifacts"])
        tally = Tally(runs=len(found), digests=wanted.digests)
        if request["look"]:
            return _looked(source, experiments, found, wanted.runs)
        chosen = set(wanted.runs)
        _digest_ours(source, job, request["artifacts"], found, tally)
        _hand_in_all(source, job, request, experiments, [one for one in found if one.run.id in chosen], tally)
        if request.get("models"):
            _bring_models(source, job, experiments, request["artifacts"], tally)
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


def _open(request: dict[str, Any]) -> Source:
    if request["tool"] == "mlflow":
        return mlflow_source(request["source"], wire=request["wire"])
    return wandb_source(request["source"])


def _listed(source: Source, names: Sequence[str]) -> tuple[dict[str, FoundExperiment], list[Candidate]]:
    """Return the experiments that are wanted and their runs."""
    experiments = {one.name: one for one in source.experiments()}
    for name in names:
        if name not in experiments:
            raise NotFound(
                f"{source.name} has no experiment {name!r}", "", f"it has {', '.join(experiments) or 'none'}"
            )
    wanted = {name: one for name, one in experiments.items() if not names or name in names}
    return wanted, [one for one in source.runs() if one.run.experiment in wanted]


def _wanted(job: WorkerJob, found: Sequence[Candidate], files: bool) -> contract.Wanted:
    answer = contract.Wanted(runs=[], digests={})
    for begin in range(0, len(found), 5000):
        runs = {one.run.id: one.run.mark for one in found[begin : begin + 5000]}
        part = job.client.call(contract.known, contract.Known(runs=runs, files=files))
        answer.runs += part.runs
        answer.digests |= part.digests
    return answer


def _looked(
    source: Source, experiments: dict[str, FoundExperiment], found: Sequence[Candidate], wanted: Sequence[str]
) -> dict[str, Any]:
    chosen = set(wanted)
    sizes = Counter(one.run.experiment for one in found if one.run.id in chosen)
    return {
        "source": source.name,
        "runs": len(found),
        "new_runs": len(wanted),
        "points": sum(one.size for one in found if one.run.id in chosen),
        "models": len(list(source.models())),
        "experiments": [{"experiment": name, "new_runs": sizes[name]} for name in experiments],
    }


def _hand_in_all(
    source: Source, job: WorkerJob, request: dict[str, Any], experiments: dict[str, FoundExperiment],
    wanted: list[Candidate], tally: Tally,
) -> None:  # fmt: skip
    groups = list(_groups(wanted))
    with ThreadPoolExecutor(READERS) as readers:
        waiting: list[tuple[list[Candidate], Future[list[Points]]]] = []
        done = 0
        for group in [*groups, None]:
            if group is not None:
                waiting.append((group, readers.submit(_read, source, job, request["artifacts"], group, tally)))
            while waiting and (group is None or len(waiting) > READERS):
                ready, future = waiting.pop(0)
                _hand_in(source, job, request, experiments, ready, future.result(), tally)
                done += 1
                job.progress(done / len(groups))


def _groups(wanted: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    group: list[Candidate] = []
    size = 0
    for one in wanted:
        if group and (len(group) >= RUNS_AT_ONCE or size + one.size > POINTS_AT_ONCE):
            yield group
            group, size = [], 0
        group.append(one)
        size += one.size
    if group:
        yield group


def _digest_ours(source: Source, job: WorkerJob, files: bool, found: Sequence[Candidate], tally: Tally) -> None:
    """Digest runs that this store made itself as the source has them: nothing of them is handed in."""
    ours = [one for one in found if tally.digests.get(one.run.id) == ""]
    for group in _groups(ours):
        _read(source, job, files, group, tally)
        tally.digests |= {one.run.id: one.run.digest for one in group}


def _read(source: Source, job: WorkerJob, files: bool, group: list[Candidate], tally: Tally) -> list[Points]:
    """Read the points of some runs, keep their files and fill in their digests."""
    points = source.points(group)
    for one, found in zip(group, points, strict=True):
        if files:
            one.run.files = _keep(job, partial(source.files, one), one.run.ended or one.run.started, tally)
        one.run.digest = digest.run_digest(one.run, found)
    return points


def _keep(job: WorkerJob, files: Callable[[], Iterable[SourceFile]], ts: int, tally: Tally) -> list[FoundFile]:
    """Keep files among the artifacts; those of a place that is not read are left out, and that is told."""
    kept = []
    try:
        for file in files():
            if logical_path(file.path) != file.path:
                tally.left_out[f"a file is called {file.path!r:.100}, which leads out of its run"] += 1
                continue
            with file.open() as content:
                blob = job.blobs.put_stream(iter(lambda: content.read(1 << 20), b""))
            kept.append(FoundFile(path=file.path, digest=blob.digest, size=blob.size, ts=ts))
    except (OSError, HTTPException) as error:
        raise Unreachable("a file could not be read to its end", str(error), "import again: it goes on") from error
    except Unreachable:
        raise
    except MlopsError as error:
        tally.left_out[str(error)] += 1
    return kept


def _bring_models(
    source: Source, job: WorkerJob, experiments: dict[str, FoundExperiment], files: bool, tally: Tally
) -> None:
    def keep(some: Callable[[], Iterable[SourceFile]], ts: int) -> list[FoundFile]:
        return _keep(job, some, ts, tally) if files else []

    models.bring_logged(source, job, experiments, keep)
    tally.models, tally.versions = models.bring_registered(source, job, lambda text: tally.left_out.update([text]))


def _hand_in(
    source: Source, job: WorkerJob, request: dict[str, Any], experiments: dict[str, FoundExperiment],
    group: list[Candidate], points: list[Points], tally: Tally,
) -> None:  # fmt: skip
    series = [(index, name) for index, part in enumerate(points) for name in part.names]
    path = _written(points, Path.cwd() / f"points-{now_us()}.npy") if series else None
    for one in group:
        _say_where_from(one, source, experiments[one.run.experiment])
    taken = job.client.call(
        contract.take,
        contract.Take(
            job=job.id, source=source.name, series=series, points=path.name if path else "", files=request["artifacts"],
            experiments=[experiments[name] for name in dict.fromkeys(one.run.experiment for one in group)],
            runs=[one.run for one in group],
        ),
    )  # fmt: skip
    if path:
        path.unlink()
    tally.new += taken.runs
    tally.points += taken.points
    tally.files += sum(len(one.run.files) for one in group)
    tally.digests |= {one.run.id: one.run.digest for one in group}


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
