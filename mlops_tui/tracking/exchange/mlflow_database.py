"""Writing an MLflow database: SQLite, with the tables of MLflow 3.0, which every later one brings up to date itself."""

from __future__ import annotations

import sqlite3
import sys
import uuid
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlops_tui.contracts.exchange import FoundExperiment, FoundLogged, FoundRun, OutModel, OutVersion
from mlops_tui.tracking.exchange.mlflow_facts import OWN
from mlops_tui.tracking.exchange.source import NAMESPACE, Points

STATUS = {"done": "FINISHED", "failed": "FAILED", "running": "RUNNING", "scheduled": "SCHEDULED"}
LOGGED = {"pending": 1, "ready": 2, "failed": 3}


def hexed(run: str) -> str:
    """Return a run's id as MLflow writes it."""
    return run.replace("-", "")


def mlflow_tags(run: FoundRun) -> dict[str, str]:
    """Return a run's tags as MLflow shows them: with name, note and the rest that it has no other place for."""
    told = {
        "mlflow.runName": run.name,
        "mlflow.user": run.actor,
        "mlflow.note.content": run.note,
        "mlflow.parentRunId": hexed(run.parent or ""),
        "mlflow.source.name": run.command,
        "mlflow.source.git.commit": run.git_sha,
        "mlflow.source.git.branch": run.git_branch,
        OWN + "kind": "" if run.kind == "train" else run.kind,
        OWN + "status": run.status if run.status not in STATUS and run.status != "killed" else "",
        OWN + "error": run.error,
        OWN + "host": run.host,
        OWN + "facts": "" if run.facts == "{}" else run.facts,
    }
    return {**run.tags, **{key: text for key, text in told.items() if text}}


class MlflowDatabase:
    """A new database; ``artifacts`` is the folder below which the files lie, as MLflow lays them out."""

    def __init__(self, path: Path, artifacts: Path) -> None:
        path.unlink(missing_ok=True)
        self._artifacts, self._numbers = artifacts, dict[str, int]()
        self._runs: set[str] = set()
        self._db = sqlite3.connect(path)
        # Written once, whole, under another name: a crash leaves nothing that anybody opens.
        self._db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000")
        self._db.executescript((files("mlops_tui.tracking.exchange") / "mlflow_schema.sql").read_text())

    def experiments(self, found: Iterable[FoundExperiment]) -> None:
        """Write experiments; each keeps its number."""
        for one in found:
            self._numbers[one.name] = one.number
            stage = "deleted" if one.deleted else "active"
            place = str(self._artifacts / str(one.number))
            created = one.created // 1000
            self._insert("experiments", [(one.number, one.name, place, stage, created, created)])
            tags = {**one.tags, **({"mlflow.note.content": one.note} if one.note else {})}
            self._insert("experiment_tags", [(key, text, one.number) for key, text in tags.items()])

    def runs_folder(self, run: FoundRun) -> Path:
        """Return the folder of a run's files."""
        return self._artifacts / str(self._numbers[run.experiment]) / hexed(run.id) / "artifacts"

    def logged_folder(self, model: FoundLogged) -> Path:
        """Return the folder of a logged model's files."""
        return self._artifacts / str(self._numbers[model.experiment]) / "models" / model.id / "artifacts"

    def version_folder(self, model: OutModel, version: OutVersion) -> Path:
        """Return the folder of a registered version's files."""
        name = str(uuid.uuid5(NAMESPACE, f"model/{model.name}"))
        return self._artifacts / "versions" / name / str(version.version)

    def run(self, run: FoundRun, points: Points) -> None:
        """Write a run with its points."""
        identifier, number = hexed(run.id), self._numbers[run.experiment]
        self._runs.add(identifier)
        ended = run.ended // 1000 if run.ended is not None else None
        self._insert(
            "runs",
            [
                (
                    identifier, run.name, "UNKNOWN", run.command, "", run.actor, STATUS.get(run.status, "KILLED"),
                    run.started // 1000, ended, run.git_sha, "deleted" if run.deleted else "active",
                    str(self.runs_folder(run)), number, ended or run.started // 1000 if run.deleted else None,
                )
            ],
        )  # fmt: skip
        self._insert("params", [(key, text, identifier) for key, text in run.params.items()])
        self._insert("tags", [(key, text, identifier) for key, text in mlflow_tags(run).items()])
        self._points(identifier, points)
        for used in run.data:
            self._data(identifier, number, msgspec.structs.asdict(used))
        for link in run.models:
            way = ("RUN_OUTPUT", "MODEL_OUTPUT") if link.way == "out" else ("RUN_INPUT", "MODEL_INPUT")
            at = _uuid(f"{identifier}/{link.model}/{link.way}")
            self._insert("inputs", [(at, way[0], identifier, way[1], link.model, link.step)])

    def logged(self, one: FoundLogged) -> None:
        """Write a logged model."""
        number = self._numbers[one.experiment]
        stage = "deleted" if one.deleted else "active"
        times = (one.created // 1000, one.updated // 1000)
        place, run = str(self.logged_folder(one)), hexed(one.run)
        row = (
            one.id,
            number,
            one.name,
            place,
            *times,
            LOGGED.get(one.status, 1),
            stage,
            one.kind or None,
            run or None,
            None,
        )
        self._insert("logged_models", [row])
        self._insert("logged_model_params", [(one.id, number, key, text) for key, text in one.params.items()])
        self._insert("logged_model_tags", [(one.id, number, key, text) for key, text in one.tags.items()])
        for figure in one.metrics:
            if hexed(figure.run) in self._runs:
                told = (one.id, figure.key, figure.ts // 1000, figure.step, _finite(float(figure.value)), number)
                data = (figure.dataset or None, figure.digest or None)
                self._insert("logged_model_metrics", [(*told, hexed(figure.run), None, *data)])

    def registered(self, model: OutModel) -> None:
        """Write a registered model with its versions."""
        times = (model.created // 1000, model.updated // 1000)
        self._insert("registered_models", [(model.name, *times, model.description)])
        self._insert("registered_model_tags", [(key, text, model.name) for key, text in model.tags.items()])
        self._insert(
            "registered_model_aliases", [(alias, number, model.name) for alias, number in model.aliases.items()]
        )
        for one in model.versions:
            source = one.source.replace(one.run, hexed(one.run)) if one.run else one.source
            place = str(self.version_folder(model, one)) if one.files else None
            row = (
                model.name, one.version, one.created // 1000, one.updated // 1000, one.description, one.actor,
                one.stage or "None", source, hexed(one.run) or None, "READY", None, None, place,
            )  # fmt: skip
            self._insert("model_versions", [row])
            self._insert("model_version_tags", [(key, text, model.name, one.version) for key, text in one.tags.items()])

    def close(self) -> None:
        """Commit and close."""
        self._db.commit()
        self._db.close()

    def _points(self, run: str, points: Points) -> None:
        ms = points.ts // 1000
        nan = np.isnan(points.value)
        value = np.where(nan, 0.0, np.clip(points.value, -sys.float_info.max, sys.float_info.max))
        order = np.lexsort((value, ms, points.step, points.which))
        last = np.flatnonzero(np.append(np.diff(points.which[order]) != 0, True)) if len(order) else order
        keys = [points.names[index] for index in points.which.tolist()]
        columns = (keys, value.tolist(), ms.tolist(), points.step.tolist(), nan.astype(int).tolist())
        self._db.executemany(
            f"""INSERT OR IGNORE INTO metrics (key, value, timestamp, step, is_nan, run_uuid)
                VALUES (?, ?, ?, ?, ?, '{run}')""",
            zip(*columns, strict=True),
        )
        latest = [tuple(column[at] for column in columns) for at in order[last].tolist()]
        self._insert("latest_metrics", [(*row, run) for row in latest])

    def _data(self, run: str, experiment: int, used: dict[str, Any]) -> None:
        identifier, at = (
            _uuid(f"{experiment}/{used['name']}/{used['digest']}"),
            _uuid(f"{run}/{used['name']}/{used['digest']}"),
        )
        told = (used["name"], used["digest"], used["source_type"] or "local", used["source"] or "{}")
        row = (identifier, experiment, *told, used["schema"] or None, used["profile"] or None)
        self._insert("datasets", [row])
        self._insert("inputs", [(at, "DATASET", identifier, "RUN", run, 0)])
        self._insert("input_tags", [(at, key, text) for key, text in used["tags"].items()])

    def _insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Write rows that have every column of a table; one that is there stays."""
        if rows:
            self._db.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _uuid(text: str) -> str:
    return uuid.uuid5(NAMESPACE, text).hex


def _finite(value: float) -> float | None:
    """Return a figure as MLflow's table can hold it; what is no number is null."""
    return None if np.isnan(value) else float(np.clip(value, -sys.float_info.max, sys.float_info.max))
