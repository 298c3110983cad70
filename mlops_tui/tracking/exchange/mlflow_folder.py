"""Reading a folder that MLflow's file store wrote (./mlruns)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mlops_tui.contracts.exchange import FoundData, FoundExperiment, FoundFigure, FoundLink, FoundLogged
from mlops_tui.core.errors import BadInput
from mlops_tui.tracking.exchange.local_files import files_below, local_folder
from mlops_tui.tracking.exchange.mlflow_facts import LOGGED_STATUS, found_run
from mlops_tui.tracking.exchange.source import (
    FROM_DISK,
    Candidate,
    FoundModel,
    FoundVersion,
    Points,
    SourceFile,
    joined,
    run_id,
)

META = "meta.yaml"
STATUS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
DATA_FIELDS = ("name", "digest", "source_type", "source", "schema", "profile")
TRASH, MODELS, DATASETS = ".trash", "models", "datasets"
BYTES_A_POINT = 30
_NULL = ("null", "~")
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Reads every value as text: an id may look like a number."""


class FolderSource:
    """A folder of experiments, as MLflow lays it out."""

    at_once = FROM_DISK

    def __init__(self, folder: Path) -> None:
        """Look into it.

        Raises:
            BadInput: there is no experiment in it.
        """
        inner = folder / "mlruns"
        self.folder = inner if not _experiments_in(folder) and _experiments_in(inner) else folder
        self.name = str(self.folder)
        self._experiments = _experiments_in(self.folder) + _experiments_in(self.folder / TRASH)
        if not self._experiments:
            raise BadInput(
                f"{folder} holds no experiments of MLflow's", f"no folder in it has a {META}", "give the path of mlruns"
            )

    def experiments(self) -> list[FoundExperiment]:
        """Return every experiment."""
        found = []
        for place in self._experiments:
            meta, tags = _meta(place), _texts(place / "tags")
            found.append(
                FoundExperiment(
                    name=_text(meta, "name") or place.name,
                    created=(_number(meta, "creation_time") or 0) * 1000,
                    source_id=place.name,
                    note=tags.get("mlflow.note.content", ""),
                    tags=tags,
                    deleted=_text(meta, "lifecycle_stage") == "deleted",
                )
            )
        return found

    def total(self) -> int:
        """Return how many runs there are."""
        return sum(len(_experiments_in(experiment)) for experiment in self._experiments)

    def runs(self) -> Iterator[Candidate]:
        """Yield every run."""
        for experiment in self._experiments:
            name = _text(_meta(experiment), "name") or experiment.name
            for place in sorted(experiment.iterdir()):
                if place.name not in (MODELS, DATASETS) and (place / META).is_file() and (place / "metrics").is_dir():
                    yield _candidate(place, name)

    def points(self, some: Sequence[Candidate]) -> list[Points]:
        """Return the points of some runs."""
        return [joined(_metric(name, path) for name, path in _entries(one.place / "metrics")) for one in some]

    def files(self, one: Candidate) -> Iterable[SourceFile]:
        """Yield the files of a run, where they lie on this machine."""
        own = one.place / "artifacts"
        folder = own if own.is_dir() else local_folder(_text(_meta(one.place), "artifact_uri"), self.folder.parent)
        return files_below(folder) if folder else ()

    def models(self) -> Iterator[FoundModel]:
        """Yield the registered models."""
        for place in _experiments_in(self.folder / MODELS):
            meta = _meta(place)
            model = FoundModel(_text(meta, "name") or place.name, _text(meta, "description"), _texts(place / "tags"))
            model.aliases = {alias: int(text) for alias, text in _texts(place / "aliases").items()}
            for folder in sorted(place.glob("version-*")):
                found = _meta(folder)
                if _text(found, "current_stage") != "Deleted_Internal":
                    model.versions.append(
                        FoundVersion(
                            int(found["version"]),
                            _text(found, "source"),
                            _text(found, "run_id"),
                            _text(found, "description"),
                            _texts(folder / "tags"),
                            _text(found, "current_stage"),
                        )
                    )
            model.versions.sort(key=lambda one: one.version)
            yield model

    def logged(self) -> Iterator[tuple[FoundLogged, Any]]:
        """Yield the logged models."""
        for experiment in self._experiments:
            name = _text(_meta(experiment), "name") or experiment.name
            for place in _experiments_in(experiment / MODELS):
                yield _logged(place, name), place

    def logged_files(self, one: FoundLogged, place: Any) -> Iterable[SourceFile]:
        """Yield the files of a logged model."""
        return files_below(place / "artifacts")

    def close(self) -> None:
        """Nothing is held open."""


def _candidate(place: Path, experiment: str) -> Candidate:
    meta, tags = _meta(place), _texts(place / "tags")
    metrics = {name: path.stat() for name, path in _entries(place / "metrics")}
    latest = {name: [found.st_size, found.st_mtime_ns] for name, found in metrics.items()}
    run = found_run(
        source_id=_text(meta, "run_id") or _text(meta, "run_uuid") or place.name, experiment=experiment,
        name=_text(meta, "run_name"), status=STATUS.get(_text(meta, "status"), _text(meta, "status")),
        started=_number(meta, "start_time"), ended=_number(meta, "end_time"), user=_text(meta, "user_id"),
        deleted=_text(meta, "lifecycle_stage") == "deleted", params=_texts(place / "params"), tags=tags,
        data=_data(place), models=_links(place), latest=latest,
    )  # fmt: skip
    return Candidate(run, sum(found.st_size for found in metrics.values()) // BYTES_A_POINT, place)


def _data(place: Path) -> list[FoundData]:
    found = []
    for folder in _experiments_in(place / "inputs"):
        meta = _meta(folder)
        dataset = _meta(place.parent / DATASETS / _text(meta, "source_id"))
        if dataset:
            told = {name: _text(dataset, name) for name in DATA_FIELDS}
            found.append(FoundData(**told, tags={key: str(text) for key, text in (meta.get("tags") or {}).items()}))
    return sorted(found, key=lambda one: (one.name, one.digest))


def _links(place: Path) -> list[FoundLink]:
    metas = [_meta(folder) for way in ("inputs", "outputs") for folder in _experiments_in(place / way)]
    ways = {"MODEL_INPUT": "in", "MODEL_OUTPUT": "out"}
    return [
        FoundLink(model=_text(meta, "destination_id"), way=way, step=_number(meta, "step") or 0)
        for meta in metas
        if (way := ways.get(_text(meta, "destination_type")))
    ]


def _logged(place: Path, experiment: str) -> FoundLogged:
    meta = _meta(place)
    run = _text(meta, "source_run_id")
    metrics = []
    for name, path in _entries(place / "metrics"):
        for words in map(str.split, path.read_text().splitlines()):
            metrics.append(
                FoundFigure(
                    key=name, value=words[1], step=int(words[2]), ts=int(words[0]) * 1000,
                    run=run_id(words[3], "mlflow") if len(words) > 3 else "",
                    dataset=words[4] if len(words) > 5 else "", digest=words[5] if len(words) > 5 else "",
                )
            )  # fmt: skip
    return FoundLogged(
        id=_text(meta, "model_id") or place.name, name=_text(meta, "name"), experiment=experiment,
        status=LOGGED_STATUS.get(_text(meta, "status"), "pending"), run=run_id(run, "mlflow") if run else "",
        created=(_number(meta, "creation_timestamp") or 0) * 1000,
        updated=(_number(meta, "last_updated_timestamp") or 0) * 1000, kind=_text(meta, "model_type"),
        deleted=_text(meta, "lifecycle_stage") == "deleted", params=_texts(place / "params"),
        tags=_texts(place / "tags"), metrics=metrics,
    )  # fmt: skip


def _experiments_in(folder: Path) -> list[Path]:
    """Return the folders in a folder that have a description."""
    return sorted(path.parent for path in folder.glob(f"*/{META}") if path.parent.name not in (TRASH, MODELS))


def _meta(folder: Path) -> dict[str, Any]:
    try:
        found = yaml.load((folder / META).read_text(), Loader=_Loader)
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{folder / META} cannot be read", str(error).splitlines()[0], "mend or remove it") from error
    return found if isinstance(found, dict) else {}


def _text(meta: dict[str, Any], name: str) -> str:
    """Return a field of a description; what says null is empty."""
    found = meta.get(name)
    return found if isinstance(found, str) and found not in _NULL else ""


def _number(meta: dict[str, Any], name: str) -> int | None:
    text = _text(meta, name)
    return int(text) if text.lstrip("-").isdecimal() else None


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder; their paths are the names of what they hold."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _texts(folder: Path) -> dict[str, str]:
    return {name: path.read_text(errors="replace").removesuffix("\n") for name, path in _entries(folder)}


def _metric(name: str, path: Path) -> tuple[str, Any, Any, Any]:
    """Return a metric's points from its lines: time, value, step (none in old files), and perhaps a data set.

    A point that stands there again, as one does when a model is linked with it, is one point.
    """
    rows = [words for line in path.read_bytes().split(b"\n") if len(words := line.split()) >= 2]
    points = dict.fromkeys((int(row[0]), int(row[2]) if len(row) > 2 else 0, row[1]) for row in rows)
    ts, step, value = zip(*points, strict=True) if points else ((), (), ())
    return (
        name,
        np.array(step, dtype=np.int64),
        np.array(ts, dtype=np.int64) * 1000,
        np.array([float(one) for one in value], dtype=np.float64),
    )
