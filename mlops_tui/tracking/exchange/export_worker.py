"""The worker of an export: asks the agent for whole runs, page by page, and writes them in three forms.

A mark in the folder says that it is not finished yet. Files that were written already are not written again, so an
export that was killed goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mlops_tui import __version__
from mlops_tui.contracts import exchange as contract
from mlops_tui.contracts.exchange import FoundFile, FoundRun
from mlops_tui.contracts.operation import Empty
from mlops_tui.core.clock import iso, now_us
from mlops_tui.core.errors import BadInput
from mlops_tui.jobs.worker import WorkerJob, serve
from mlops_tui.spool.text import logical_path
from mlops_tui.tracking.exchange import digest
from mlops_tui.tracking.exchange.mlflow_database import MlflowDatabase, mlflow_tags
from mlops_tui.tracking.exchange.mlflow_facts import OWN
from mlops_tui.tracking.exchange.parquet import TABLES, ParquetTables
from mlops_tui.tracking.exchange.source import NO_POINTS, Points
from mlops_tui.tracking.exchange.target import UNFINISHED, check_target

MANIFEST, DATABASE, DATABASE_NEW = "manifest.json", "mlflow.db", "mlflow.db.new"
PIECE = 1 << 20


class Export:
    """One export into a folder."""

    def __init__(self, request: dict[str, Any], job: WorkerJob) -> None:
        self._job, self._names, self._with_files = job, request["experiment"], request["artifacts"]
        self._folder, self._total = Path(request["folder"]), request["runs"]
        self._begin()
        self._parquet = ParquetTables(self._folder / "parquet")
        self._database = MlflowDatabase(self._folder / DATABASE_NEW, self._folder / "mlartifacts")
        self._written: dict[str, Path] = {}
        self._digests: dict[str, str] = {}
        self._counts = dict.fromkeys(("runs", "points", "files", "bytes", "logged_models", "models", "versions"), 0)

    def write(self) -> dict[str, Any]:
        """Write everything and return what it was."""
        began = time.monotonic()
        rest = self._job.client.call(contract.rest, contract.ExportRest(experiments=self._names))
        self._database.experiments(rest.experiments)
        self._parquet.add_rows(
            "experiment",
            [(one.source_id, one.number, one.name, one.note, one.created, one.deleted) for one in rest.experiments],
        )
        for runs, points in self._pages():
            self._runs(runs, points)
        self._logged(rest.logged)
        self._models()
        self._database.close()
        self._parquet.close()
        return self._finish(round(time.monotonic() - began, 2))

    def _begin(self) -> None:
        """Make the folder, or take up one in which an export was stopped."""
        folder = self._folder
        check_target(folder)
        for left in Path.cwd().glob("page-*.npy"):  # by an attempt that was killed
            left.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UNFINISHED).write_text("an export goes on here, or was stopped: start it again\n")
        for old in sorted((folder / "parquet").rglob("*"), reverse=True):
            old.unlink() if old.is_file() else old.rmdir()

    def _pages(self) -> Iterator[tuple[list[FoundRun], list[Points]]]:
        after = ""
        while True:
            request = contract.ExportPage(job=self._job.id, experiments=self._names, after=after)
            found = self._job.client.call(contract.page, request)
            if not found.runs:
                return
            yield found.runs, _points(found)
            after = found.runs[-1].id

    def _runs(self, runs: list[FoundRun], points: list[Points]) -> None:
        for run, part in zip(runs, points, strict=True):
            if self._with_files:
                self._files(self._database.runs_folder(run), run.files)
            else:
                run.files = []
            self._database.run(run, part)
            run.tags = {key: text for key, text in mlflow_tags(run).items() if not key.startswith(OWN)}
            self._digests[run.id] = digest.run_digest(run, part)
            self._counts["points"] += len(part.which)
        self._counts["runs"] += len(runs)
        self._job.progress(self._counts["runs"] / max(self._total, self._counts["runs"]))
        self._tables(runs, points)

    def _tables(self, runs: list[FoundRun], points: list[Points]) -> None:
        table = self._parquet.add_rows
        table(
            "run",
            [
                (*(getattr(run, name) for name in TABLES["run"] if name != "digest"), self._digests[run.id])
                for run in runs
            ],
        )
        table("param", [(run.id, *pair) for run in runs for pair in run.params.items()])
        table("tag", [(run.id, *pair) for run in runs for pair in run.tags.items()])
        table("artifact", [(run.id, one.path, one.digest, one.size) for run in runs for one in run.files])
        table("dataset", [(run.id, one.name, one.digest, one.context) for run in runs for one in run.data])
        owner = np.repeat(np.array([run.id for run in runs]), [len(part.which) for part in points])
        filled = [part for part in points if len(part.which)]
        if filled:
            self._parquet.add(
                "metric",
                {
                    "run": owner,
                    "key": np.concatenate([np.array(part.names)[part.which] for part in filled]),
                    "step": np.concatenate([part.step for part in filled]),
                    "ts": np.concatenate([part.ts for part in filled]),
                    "value": np.concatenate([part.value for part in filled]),
                },
            )

    def _logged(self, models: list[contract.FoundLogged]) -> None:
        for one in models:
            self._database.logged(one)
            if self._with_files:
                self._files(self._database.logged_folder(one), one.files)
        self._parquet.add_rows(
            "logged_model", [tuple(getattr(one, name) for name in TABLES["logged_model"]) for one in models]
        )
        self._counts["logged_models"] = len(models)

    def _models(self) -> None:
        models = self._job.client.call(contract.registered, Empty()).models
        rows = []
        for model in models:
            self._database.registered(model)
            aliases = {
                number: [alias for alias, at in model.aliases.items() if at == number]
                for number in model.aliases.values()
            }
            for one in model.versions:
                if self._with_files:
                    self._files(self._database.version_folder(model, one), one.files)
                shown = " ".join(aliases.get(one.version, ()))
                rows.append(
                    (model.name, one.version, one.source, one.run, one.stage, shown, one.description, one.created)
                )
        self._parquet.add_rows("model_version", rows)
        self._counts["models"], self._counts["versions"] = len(models), len(rows)

    def _files(self, folder: Path, some: list[FoundFile]) -> None:
        """Write files; content that was written already is linked."""
        for one in some:
            if logical_path(one.path) != one.path:
                raise BadInput(f"a file is called {one.path!r:.100}", "it would be written elsewhere")
            target = folder / one.path
            if not (target.is_file() and target.stat().st_size == one.size):
                target.parent.mkdir(parents=True, exist_ok=True)
                self._put(one.digest, target)
            self._written.setdefault(one.digest, target)
            self._counts["files"] += 1
            self._counts["bytes"] += one.size

    def _put(self, content: str, target: Path) -> None:
        scratch = target.with_name(f".{target.name[:200]}.new")
        scratch.unlink(missing_ok=True)
        if content in self._written:
            try:
                os.link(self._written[content], scratch)
            except OSError:  # a file system without links, or too many of them
                del self._written[content]
        if content not in self._written:
            with self._job.blobs.open(content) as source, open(scratch, "wb") as file:
                while piece := source.read(PIECE):
                    file.write(piece)
        scratch.rename(target)

    def _finish(self, seconds: float) -> dict[str, Any]:
        whole = digest.whole_digest(self._digests)
        os.rename(self._folder / DATABASE_NEW, self._folder / DATABASE)
        told = {**self._counts, "digest": whole}
        said = {
            "format": 1,
            "program": f"mlops_tui {__version__}",
            "written": iso(now_us()),
            "experiments": self._names or "all",
        }
        (self._folder / MANIFEST).write_text(json.dumps({**said, **told}, indent=2) + "\n")
        (self._folder / "README.md").write_text(_README)
        (self._folder / UNFINISHED).unlink()
        return {"folder": str(self._folder), **told, "seconds": seconds}


def _points(page: contract.ExportedPage) -> list[Points]:
    """Return the points of a page's runs, in their order."""
    if not page.points:
        return [NO_POINTS] * len(page.runs)
    path = Path.cwd() / page.points
    rows = np.load(path, allow_pickle=False)
    path.unlink()
    rows = rows[np.argsort(rows["series"], kind="stable")]
    bounds = np.searchsorted(rows["series"], np.arange(len(page.series) + 1))
    found = []
    for index in range(len(page.runs)):
        mine = [at for at, (owner, _) in enumerate(page.series) if owner == index]
        if not mine:
            found.append(NO_POINTS)
            continue
        part = rows[bounds[mine[0]] : bounds[mine[-1] + 1]]
        names = [page.series[at][1] for at in mine]
        columns = (np.ascontiguousarray(part[name]) for name in ("step", "ts", "value"))
        found.append(Points(names, part["series"] - mine[0], *columns))
    return found


_README = """# An export of mlops_tui

- `parquet/`: a folder a table (`experiment`, `run`, `param`, `tag`, `metric`, `artifact`, `dataset`, `logged_model`,
  `model_version`). DuckDB reads `select * from 'parquet/metric/*.parquet'`; so does anything that reads Parquet.
- `mlflow.db` with `mlartifacts/`: an MLflow store. `mlflow server` in this folder opens it, and so does
  `sqlite:///mlflow.db` as a tracking URI; MLflow 3.1 or newer brings its tables up to date when it does. The paths of
  the files in it are absolute: they are right where the export was written.
- `manifest.json`: what is here, and a digest over the runs. `mlops import mlflow .` brings everything back and prints
  the same digest.
"""


def export(request: dict[str, Any], job: WorkerJob) -> dict[str, Any]:
    """Write an export."""
    return Export(request, job).write()


if __name__ == "__main__":
    serve(export)
