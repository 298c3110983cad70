"""Reading the folder in which W&B keeps the runs that it wrote on this machine, offline or before it sent them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mlops_tui.contracts.exchange import FoundExperiment, FoundLogged, FoundRun
from mlops_tui.core.errors import BadInput
from mlops_tui.core.jsonx import canonical
from mlops_tui.tracking.exchange import wandb_run
from mlops_tui.tracking.exchange.local_files import files_below
from mlops_tui.tracking.exchange.mlflow_facts import UNFINISHED
from mlops_tui.tracking.exchange.source import FROM_DISK, Candidate, FoundModel, Points, SourceFile, marked, run_id
from mlops_tui.tracking.exchange.wandb_run import Told

TAG = "wandb."
BYTES_A_POINT = 100
UNNAMED = "uncategorized"
"""What W&B calls the project of runs that name none."""


class WandbSource:
    """A folder of W&B's. Several folders of one run, which went on there, are that run."""

    at_once = FROM_DISK

    def __init__(self, folder: Path) -> None:
        """Read what is told of every run.

        Raises:
            BadInput: there is no run file in it.
        """
        places = [folder, folder / "wandb"]
        files = [path for place in places for pattern in ("*.wandb", "*run-*/*.wandb") for path in place.glob(pattern)]
        if not files:
            raise BadInput(
                f"{folder} holds no runs of W&B's", "there is no offline-run-…/run-….wandb in it", "name wandb/ itself"
            )
        self.name = str(folder)
        runs: dict[tuple[str, str], list[tuple[Path, Told]]] = defaultdict(list)
        for path in sorted(files, key=lambda path: path.parent.name):
            if path.parent.name == "latest-run" or path.parent.is_symlink():
                continue
            told = wandb_run.facts(path)
            runs[told.project or UNNAMED, told.id or path.stem.removeprefix("run-")].append((path, told))
        self._runs = dict(runs)

    def experiments(self) -> list[FoundExperiment]:
        """Return the projects."""
        began: dict[str, int] = {}
        for (project, _), parts in self._runs.items():
            began[project] = min(began.get(project, parts[0][1].started), parts[0][1].started)
        return [FoundExperiment(name=name, created=created, source_id=name) for name, created in began.items()]

    def total(self) -> int:
        """Return how many runs there are."""
        return len(self._runs)

    def runs(self) -> Iterator[Candidate]:
        """Yield every run."""
        for (project, identifier), parts in self._runs.items():
            sizes = [path.stat().st_size for path, _ in parts]
            run = marked(_run(project, identifier, [told for _, told in parts]), {"bytes": sizes})
            yield Candidate(run, sum(sizes) // BYTES_A_POINT, [path for path, _ in parts])

    def points(self, some: Sequence[Candidate]) -> list[Points]:
        """Return the points of some runs."""
        return [wandb_run.points(one.place) for one in some]

    def files(self, one: Candidate) -> Iterator[SourceFile]:
        """Yield the files of a run, of each path the one written last."""
        found = {file.path: file for path in one.place for file in files_below(path.parent / "files")}
        yield from found.values()

    def models(self) -> Iterable[FoundModel]:
        """W&B keeps its registry on its server."""
        return ()

    def logged(self) -> Iterable[tuple[FoundLogged, Any]]:
        """W&B has none."""
        return ()

    def logged_files(self, one: FoundLogged, place: Any) -> Iterable[SourceFile]:
        """W&B has none."""
        return ()

    def close(self) -> None:
        """Nothing is held open."""


def _run(project: str, identifier: str, parts: list[Told]) -> FoundRun:
    told, first = parts[-1], parts[0]
    config: dict[str, Any] = {}
    for part in parts:
        config |= part.config
    config.pop("_wandb", None)
    status = "lost" if told.exit is None else "failed" if told.exit else "done"
    extras = {
        "tags": ", ".join(told.tags), "group": told.group, "job_type": told.job_type, "sweep": told.sweep,
        "entity": told.entity, **{f"summary.{key}": text for key, text in _words(told.summary)},
    }  # fmt: skip
    return FoundRun(
        id=run_id(identifier, f"wandb/{project}"),
        source_id=identifier,
        experiment=project,
        name=told.name or identifier,
        status=status,
        started=first.started,
        ended=None if told.exit is None else max(told.ended, first.started),
        actor=told.user,
        command=told.program,
        git_sha=told.commit,
        host=told.host,
        error=UNFINISHED if told.exit is None else f"exit code {told.exit}" if told.exit else "",
        note=told.notes,
        facts=canonical({"environment": told.environment}).decode(),
        params={key: _text(value) for key, value in wandb_run.flat(config)},
        tags={TAG + key: text for key, text in extras.items() if text},
    )


def _words(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a summary says in words; its figures are points."""
    for key, value in wandb_run.flat(summary):
        if isinstance(value, str) and not key.startswith("_"):
            yield key, value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
