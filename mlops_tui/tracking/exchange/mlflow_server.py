"""Reading an MLflow server over its REST API, as any version of MLflow offers it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

from mlops_tui.contracts.exchange import FoundData, FoundExperiment, FoundFigure, FoundLink, FoundLogged
from mlops_tui.core.errors import BadInput, MlopsError, NotFound
from mlops_tui.tracking.exchange.http import Site
from mlops_tui.tracking.exchange.mlflow_facts import LOGGED_STATUS, found_run, ieee
from mlops_tui.tracking.exchange.mlflow_history import histories
from mlops_tui.tracking.exchange.mlflow_sqlite import SqliteSource
from mlops_tui.tracking.exchange.neighbour import database_of
from mlops_tui.tracking.exchange.source import (
    FROM_DISK,
    OVER_HTTP,
    Candidate,
    FoundModel,
    FoundVersion,
    Points,
    Source,
    SourceFile,
    run_id,
)

API = "/api/2.0/mlflow"
PAGE = 1000
EXPERIMENTS_AT_ONCE = 100


def server_source(url: str, *, wire: bool) -> Source:
    """Open a server; one of this machine and user whose database is an SQLite file is read from there, unless ``wire``.

    Raises:
        Unreachable: nothing answers.
        BadInput: it is no MLflow server.
    """
    server = ServerSource(url)
    database = None if wire else database_of(server.site.host, server.site.port)
    if database is None:
        return server
    try:
        beside = BesideSource(server, SqliteSource(database))
    except MlopsError:
        return server
    return beside if beside.agrees() else server


class ServerSource:
    """An MLflow server."""

    at_once = OVER_HTTP

    def __init__(self, url: str) -> None:
        self.site = Site(url)
        self.name = self.site.name
        try:
            self._known = list(self._pages("POST", f"{API}/experiments/search", "experiments", {"view_type": "ALL"}))
        except (NotFound, BadInput) as error:
            raise BadInput(f"{self.name} is no MLflow server", error.what, "give the address of its page") from error

    def experiments(self) -> list[FoundExperiment]:
        """Return every experiment."""
        return [
            FoundExperiment(
                name=one["name"],
                created=int(one.get("creation_time") or 0) * 1000,
                source_id=one["experiment_id"],
                note=_pairs(one.get("tags")).get("mlflow.note.content", ""),
                tags=_pairs(one.get("tags")),
                deleted=one.get("lifecycle_stage") == "deleted",
            )
            for one in self._known
        ]

    def total(self) -> int | None:
        """MLflow does not say how many runs it has."""
        return None

    def runs(self) -> Iterator[Candidate]:
        """Yield every run."""
        names = {one["experiment_id"]: one["name"] for one in self._known}
        ids = list(names)
        for begin in range(0, len(ids), EXPERIMENTS_AT_ONCE):
            some = ids[begin : begin + EXPERIMENTS_AT_ONCE]
            body = {"experiment_ids": some, "run_view_type": "ALL", "order_by": ["attributes.start_time ASC"]}
            for one in self._pages("POST", f"{API}/runs/search", "runs", body):
                yield _candidate(one, names)

    def points(self, some: Sequence[Candidate]) -> list[Points]:
        """Return the points of some runs."""
        return histories(self.site, some)

    def files(self, one: Candidate) -> Iterator[SourceFile]:
        """Yield the files of a run, folder by folder."""
        folders = [""]
        while folders:
            query = {"run_id": one.run.source_id, **({"path": folders[-1]} if folders[-1] else {})}
            folders.pop()
            for entry in self._pages("GET", f"{API}/artifacts/list", "files", query):
                if entry.get("is_dir"):
                    folders.append(entry["path"])
                else:
                    yield SourceFile(entry["path"], partial(self._file, one.run.source_id, entry["path"]))

    def models(self) -> Iterator[FoundModel]:
        """Yield the registered models."""
        try:
            found = list(self._pages("GET", f"{API}/registered-models/search", "registered_models", {}))
        except MlopsError:  # a server without a registry
            return
        for one in found:
            model = FoundModel(one["name"], one.get("description", ""), _pairs(one.get("tags")))
            model.aliases = {alias["alias"]: int(alias["version"]) for alias in one.get("aliases", [])}
            wanted = "name='" + one["name"].replace("'", "''") + "'"
            for version in self._pages("GET", f"{API}/model-versions/search", "model_versions", {"filter": wanted}):
                model.versions.append(
                    FoundVersion(
                        int(version["version"]),
                        version.get("source", ""),
                        version.get("run_id", ""),
                        version.get("description", ""),
                        _pairs(version.get("tags")),
                        version.get("current_stage", ""),
                    )
                )
            yield model

    def logged(self) -> Iterator[tuple[FoundLogged, Any]]:
        """Yield the logged models; an older server has none."""
        names = {one["experiment_id"]: one["name"] for one in self._known if one.get("lifecycle_stage") != "deleted"}
        for experiment in names:
            body = {"experiment_ids": [experiment]}
            with suppress(NotFound):
                for one in self._pages("POST", f"{API}/logged-models/search", "models", body):
                    yield _logged(one, names), None

    def logged_files(self, one: FoundLogged, place: Any) -> Iterator[SourceFile]:
        """Yield the files of a logged model, folder by folder."""
        folders = [""]
        while folders:
            query = {"artifact_directory_path": path} if (path := folders.pop()) else {}
            answer = self.site.get(f"{API}/logged-models/{one.id}/artifacts/directories", query)
            for entry in answer.get("files", []):
                if entry.get("is_dir"):
                    folders.append(entry["path"])
                else:
                    yield SourceFile(entry["path"], partial(self._logged_file, one.id, entry["path"]))

    def close(self) -> None:
        """Close the connections."""
        self.site.close()

    def _pages(self, method: str, path: str, name: str, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield what all pages of an answer list under a name."""
        token = ""
        while True:
            wanted = {
                **asked,
                **({"max_results": PAGE} if name != "files" else {}),
                **({"page_token": token} if token else {}),
            }
            answer = self.site.post(path, wanted) if method == "POST" else self.site.get(path, wanted)
            yield from answer.get(name, [])
            token = answer.get("next_page_token", "")
            if not token:
                return

    def _file(self, run: str, path: str) -> BinaryIO:
        return self.site.stream("/get-artifact", {"run_id": run, "path": path})

    def _logged_file(self, model: str, path: str) -> BinaryIO:
        place = f"/ajax-api/2.0/mlflow/logged-models/{model}/artifacts/files"
        return self.site.stream(place, {"artifact_file_path": path})


class BesideSource:
    """A server whose database lies on this machine: runs and points come from the file, files from the server."""

    at_once = FROM_DISK

    def __init__(self, server: ServerSource, database: SqliteSource) -> None:
        self._server, self._database, self.name = server, database, server.name
        self.experiments: Callable[[], list[FoundExperiment]] = database.experiments
        self.total: Callable[[], int | None] = database.total
        self.runs: Callable[[], Iterable[Candidate]] = database.runs
        self.points: Callable[[Sequence[Candidate]], list[Points]] = database.points
        self.files: Callable[[Candidate], Iterable[SourceFile]] = server.files
        self.models: Callable[[], Iterable[FoundModel]] = database.models
        self.logged: Callable[[], Iterable[tuple[FoundLogged, Any]]] = database.logged
        self.logged_files: Callable[[FoundLogged, Any], Iterable[SourceFile]] = server.logged_files

    def agrees(self) -> bool:
        """Tell whether the file holds the very experiments that the server shows."""
        mine, its = (
            {(one.source_id, one.name, one.created) for one in source.experiments()}
            for source in (self._database, self._server)
        )
        return mine == its

    def close(self) -> None:
        """Close both."""
        self._server.close()
        self._database.close()


def _candidate(one: Mapping[str, Any], names: Mapping[str, str]) -> Candidate:
    info, data = one["info"], one.get("data", {})
    latest = {
        metric["key"]: [str(metric[key]) for key in ("value", "timestamp", "step")]
        for metric in data.get("metrics", [])
    }
    run = found_run(
        source_id=info.get("run_id") or info["run_uuid"], experiment=names[info["experiment_id"]],
        name=info.get("run_name", ""), status=str(info.get("status", "")),
        started=_number(info.get("start_time")), ended=_number(info.get("end_time")), user=info.get("user_id", ""),
        deleted=info.get("lifecycle_stage") == "deleted", params=_pairs(data.get("params")),
        tags=_pairs(data.get("tags")), data=_data(one.get("inputs", {})), models=_links(one), latest=latest,
    )  # fmt: skip
    # How many points there are is not told: as many as steps is a fair guess.
    steps = {key: max(1, int(step) + 1) for key, (_, _, step) in latest.items()}
    return Candidate(run, sum(min(count, 1_000_000) for count in steps.values()), steps)


def _data(inputs: Mapping[str, Any]) -> list[FoundData]:
    found = [
        FoundData(
            **{
                name: one["dataset"].get(name) or ""
                for name in ("name", "digest", "source_type", "source", "schema", "profile")
            },
            tags=_pairs(one.get("tags")),
        )
        for one in inputs.get("dataset_inputs", [])
    ]
    return sorted(found, key=lambda one: (one.name, one.digest))


def _links(one: Mapping[str, Any]) -> list[FoundLink]:
    read = [FoundLink(model=link["model_id"], way="in") for link in one.get("inputs", {}).get("model_inputs", [])]
    made = [
        FoundLink(model=link["model_id"], way="out", step=int(link.get("step", 0)))
        for link in one.get("outputs", {}).get("model_outputs", [])
    ]
    return read + made


def _logged(one: Mapping[str, Any], names: Mapping[str, str]) -> FoundLogged:
    info, data = one["info"], one.get("data", {})
    run = info.get("source_run_id", "")
    metrics = [
        FoundFigure(
            key=metric["key"], value=str(ieee(float(metric["value"]))), step=int(metric.get("step", 0)),
            ts=int(metric["timestamp"]) * 1000, run=run_id(metric.get("run_id") or run, "mlflow"),
            dataset=metric.get("dataset_name", ""), digest=metric.get("dataset_digest", ""),
        )
        for metric in data.get("metrics", [])
    ]  # fmt: skip
    return FoundLogged(
        id=info["model_id"], name=info["name"], experiment=names[info["experiment_id"]],
        status=LOGGED_STATUS.get(str(info.get("status")), "pending"), run=run_id(run, "mlflow") if run else "",
        created=int(info["creation_timestamp_ms"]) * 1000, updated=int(info["last_updated_timestamp_ms"]) * 1000,
        kind=info.get("model_type", ""), params=_pairs(data.get("params")), tags=_pairs(info.get("tags")),
        metrics=metrics,
    )  # fmt: skip


def _pairs(some: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    return {one["key"]: one.get("value", "") for one in some or ()}


def _number(value: Any) -> int | None:
    return int(value) if value else None
