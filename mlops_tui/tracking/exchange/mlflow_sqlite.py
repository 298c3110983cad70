"""Reading MLflow's SQLite database, whichever version of MLflow made it."""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from mlops_tui.contracts.exchange import FoundData, FoundExperiment, FoundLink, FoundLogged
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.tracking.exchange.local_files import files_below, local_folder
from mlops_tui.tracking.exchange.mlflow_facts import found_run, ieee
from mlops_tui.tracking.exchange.mlflow_tables import field_of, logged, registered
from mlops_tui.tracking.exchange.source import FROM_DISK, NO_POINTS, Candidate, FoundModel, Points, SourceFile

RUNS_AT_ONCE = 500
MAPPED = 16 << 30
"""Bytes of the file that may be mapped: points of a run lie all over it."""


class SqliteSource:
    """An MLflow database file, opened for reading only; a server may go on writing it."""

    at_once = FROM_DISK

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            NotFound: there is no such file.
            BadInput: it is no database of MLflow's.
        """
        if not path.is_file():
            raise NotFound(f"there is no file {path}", "", "give its path as sqlite:///FILE")
        self.path, self.name = path, f"sqlite:///{path}"
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        try:
            self._tables = {row["name"] for row in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.DatabaseError as error:
            raise BadInput(
                f"{path} is not an SQLite database", str(error), "mlops import mlflow sqlite:///FILE"
            ) from error
        if missing := {"experiments", "runs", "metrics"} - self._tables:
            raise BadInput(
                f"{path} is not a database of MLflow's", f"it has no table {min(missing)}", "give another file"
            )

    def experiments(self) -> list[FoundExperiment]:
        """Return every experiment."""
        tags: dict[str, dict[str, str]] = defaultdict(dict)
        for row in self.all_rows("experiment_tags"):
            tags[str(row["experiment_id"])][row["key"]] = row["value"] or ""
        return [
            FoundExperiment(
                name=row["name"],
                created=(field_of(row, "creation_time") or 0) * 1000,
                source_id=str(row["experiment_id"]),
                note=tags[str(row["experiment_id"])].get("mlflow.note.content", ""),
                tags=tags[str(row["experiment_id"])],
                deleted=row["lifecycle_stage"] == "deleted",
            )
            for row in self.all_rows("experiments")
        ]

    def total(self) -> int:
        """Return how many runs there are."""
        return int(self._rows("SELECT count(*) FROM runs")[0][0])

    def runs(self) -> Iterator[Candidate]:
        """Yield every run."""
        experiments = {row["experiment_id"]: row["name"] for row in self.all_rows("experiments")}
        sizes = {row[0]: row[1] for row in self._rows("SELECT run_uuid, count(*) FROM metrics GROUP BY run_uuid")}
        ids = [row[0] for row in self._rows("SELECT run_uuid FROM runs ORDER BY start_time, run_uuid")]
        for begin in range(0, len(ids), RUNS_AT_ONCE):
            some = ids[begin : begin + RUNS_AT_ONCE]
            params, tags = self._pairs("params", some), self._pairs("tags", some)
            latest, data, links = self._latest(some), self._data(some), self._links(some)
            for row in self._some("runs", some):
                run = row["run_uuid"]
                yield Candidate(
                    found_run(
                        source_id=run, experiment=experiments[row["experiment_id"]], name=field_of(row, "name") or "",
                        status=row["status"], started=row["start_time"], ended=row["end_time"], user=row["user_id"],
                        deleted=row["lifecycle_stage"] == "deleted", params=params[run], tags=tags[run],
                        data=data[run], models=links[run], latest=latest[run],
                    ),
                    sizes.get(run, 0),
                    row["artifact_uri"],
                )  # fmt: skip

    def points(self, some: Sequence[Candidate]) -> list[Points]:
        """Return the points of some runs; a question a run, so that its rows are gone before the next one's come."""
        asked = "SELECT key, step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ?"
        return [_by_metric(self._rows(asked, [one.run.source_id], plain=True)) for one in some]

    def files(self, one: Candidate) -> Iterable[SourceFile]:
        """Yield the files of a run, where they lie on this machine."""
        folder = local_folder(one.place or "", self.path.parent)
        return files_below(folder) if folder else ()

    def models(self) -> Iterator[FoundModel]:
        """Yield the registered models."""
        return registered(self.all_rows)

    def logged(self) -> Iterator[tuple[FoundLogged, Any]]:
        """Yield the logged models."""
        return logged(self.all_rows)

    def logged_files(self, one: FoundLogged, place: Any) -> Iterable[SourceFile]:
        """Yield the files of a logged model, where they lie on this machine."""
        folder = local_folder(str(place), self.path.parent)
        return files_below(folder) if folder else ()

    def all_rows(self, table: str) -> list[Any]:
        """Return a table; one that this database does not have is empty."""
        return self._rows(f"SELECT * FROM {table}") if table in self._tables else []

    def close(self) -> None:
        """Close every connection."""
        for connection in self._opened:
            connection.close()

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._local, "connection"):
            connection = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=30)
            connection.execute(f"PRAGMA mmap_size = {MAPPED}")
            self._opened.append(connection)
            self._local.connection = connection
        found: sqlite3.Connection = self._local.connection
        return found

    def _rows(self, sql: str, params: Sequence[Any] = (), *, plain: bool = False) -> list[Any]:
        with closing(self._connection().cursor()) as cursor:
            cursor.row_factory = None if plain else sqlite3.Row
            return cursor.execute(sql, params).fetchall()

    def _some(self, table: str, runs: list[str]) -> list[Any]:
        if table not in self._tables:
            return []
        found = self._rows(f"SELECT * FROM {table} WHERE run_uuid IN ({_marks(runs)})", runs)
        if table == "runs":
            place = {run: index for index, run in enumerate(runs)}
            found.sort(key=lambda row: place[row["run_uuid"]])
        return found

    def _pairs(self, table: str, runs: list[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for row in self._some(table, runs):
            found[row["run_uuid"]][row["key"]] = row["value"] or ""
        return found

    def _latest(self, runs: list[str]) -> dict[str, dict[str, list[str]]]:
        found: dict[str, dict[str, list[str]]] = defaultdict(dict)
        for row in self._some("latest_metrics", runs):
            found[row["run_uuid"]][row["key"]] = [str(row[name]) for name in ("value", "timestamp", "step", "is_nan")]
        return found

    def _data(self, runs: list[str]) -> dict[str, list[FoundData]]:
        found: dict[str, list[FoundData]] = defaultdict(list)
        if not {"inputs", "datasets", "input_tags"} <= self._tables:
            return found
        tags: dict[str, dict[str, str]] = defaultdict(dict)
        for row in self.all_rows("input_tags"):
            tags[row["input_uuid"]][row["name"]] = row["value"]
        for row in self._rows(
            f"""SELECT i.input_uuid, i.destination_id AS run, d.name, d.digest, d.dataset_source_type AS source_type,
                  d.dataset_source AS source, coalesce(d.dataset_schema, '') AS schema,
                  coalesce(d.dataset_profile, '') AS profile
                FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id
                WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id IN ({_marks(runs)})
                ORDER BY d.name, d.digest""",
            runs,
        ):
            told = {name: row[name] for name in row.keys() if name not in ("input_uuid", "run")}  # noqa: SIM118
            found[row["run"]].append(FoundData(**told, tags=tags[row["input_uuid"]]))
        return found

    def _links(self, runs: list[str]) -> dict[str, list[FoundLink]]:
        found: dict[str, list[FoundLink]] = defaultdict(list)
        wanted = set(runs)
        for row in self.all_rows("inputs"):
            if row["source_type"] == "RUN_OUTPUT" and row["source_id"] in wanted:
                link = FoundLink(model=row["destination_id"], way="out", step=field_of(row, "step") or 0)
                found[row["source_id"]].append(link)
            elif row["destination_type"] == "MODEL_INPUT" and row["source_id"] in wanted:
                found[row["source_id"]].append(FoundLink(model=row["destination_id"], way="in"))
        return found


def _by_metric(rows: list[tuple[Any, ...]]) -> Points:
    """Return the points of a run from its rows."""
    if not rows:
        return NO_POINTS
    keys, step, ts, value, nan = zip(*rows, strict=True)
    places: dict[str, int] = {}
    which = np.array([places.setdefault(key, len(places)) for key in keys], dtype=np.int32)
    values = np.where(np.array(nan, dtype=bool), np.nan, ieee(value))
    return Points(list(places), which, np.array(step, np.int64), np.array(ts, np.int64) * 1000, values)


def _marks(some: Sequence[Any]) -> str:
    return ",".join("?" * len(some))
