"""A small MLflow store, laid out by hand as a database and as a folder, and a worker's job within this process."""

from __future__ import annotations

import math
import os
import sqlite3
import sys
import uuid

import msgspec
import pytest

from mlops_tui.contracts.operation import find
from mlops_tui.door.context import Caller
from mlops_tui.door.perform import perform

RUN, CHILD, GONE = (uuid.UUID(int=number).hex for number in (1, 2, 3))
T0 = 1_760_000_000_000
POINTS = {
    "loss": [(T0 + step, step, 1 / (step + 1)) for step in range(50)],
    "odd": [(T0, 0, math.nan), (T0 + 1, 1, math.inf), (T0 + 2, 2, -math.inf)],
    "val/acc": [(T0, 7, 0.5)],
}
TAGS = {"mlflow.user": "amal", "mlflow.runName": "parent", "mlflow.note.content": "a note", "team": "growth"}


class Job:
    """A worker's job whose client is the door of a house."""

    def __init__(self, house):
        self.id, self.blobs, self.client = str(uuid.uuid4()), house.blobs, self
        self.house, self.shares = house, []
        self.folder = house.home.jobs / self.id
        self.folder.mkdir(parents=True)

    def call(self, name, request=None):
        operation = find(getattr(name, "name", name))
        body = msgspec.json.encode(request or {})
        caller = Caller("amal", os.getuid())
        answer = perform(self.house, operation.name, msgspec.json.decode(body, type=operation.request), caller)
        return msgspec.json.decode(msgspec.json.encode(answer), type=operation.answer)

    def progress(self, share):
        self.shares.append(share)


@pytest.fixture
def job(house, monkeypatch):
    """Return a maker of jobs, each in a folder of its own."""

    def make():
        made = Job(house)
        monkeypatch.chdir(made.folder)
        return made

    return make


@pytest.fixture
def database(tmp_path):
    """The store as MLflow's SQLite database: its path, and a connection that may change it."""
    top = tmp_path / "mlflow"
    top.mkdir()
    db = _database(top / "mlflow.db")
    yield top / "mlflow.db", db
    db.close()


@pytest.fixture
def mlruns(tmp_path):
    """The store as MLflow's folder."""
    return _folder(tmp_path / "mlruns")


def _database(path):
    """Write the store as MLflow's SQLite database."""
    files = path.parent / "1" / RUN / "artifacts"
    (files / "dir").mkdir(parents=True)
    (files / "dir" / "hello.txt").write_text("hello")
    db = sqlite3.connect(path)
    db.executescript(
        """
        CREATE TABLE experiments (
          experiment_id INTEGER, name, artifact_location, lifecycle_stage, creation_time BIGINT);
        CREATE TABLE experiment_tags (key, value, experiment_id INTEGER);
        CREATE TABLE runs (
          run_uuid, name, user_id, status, start_time BIGINT, end_time BIGINT, lifecycle_stage, artifact_uri,
          experiment_id INTEGER);
        CREATE TABLE params (key, value, run_uuid);
        CREATE TABLE tags (key, value, run_uuid);
        CREATE TABLE metrics (key, value FLOAT, timestamp BIGINT, run_uuid, step BIGINT, is_nan BOOLEAN);
        CREATE TABLE latest_metrics (key, value FLOAT, timestamp BIGINT, step BIGINT, is_nan BOOLEAN, run_uuid);
        CREATE TABLE datasets (
          dataset_uuid, experiment_id INTEGER, name, digest, dataset_source_type, dataset_source, dataset_schema,
          dataset_profile);
        CREATE TABLE inputs (input_uuid, source_type, source_id, destination_type, destination_id);
        CREATE TABLE input_tags (input_uuid, name, value);
        """
    )
    db.execute("INSERT INTO experiments VALUES (1, 'churn', '', 'active', ?)", [T0])
    db.execute("INSERT INTO experiment_tags VALUES ('owner', 'amal', 1)")
    for run, name, status, ended, stage in (
        (RUN, "parent", "FINISHED", T0 + 99, "active"),
        (CHILD, "child", "RUNNING", None, "active"),
        (GONE, "gone", "KILLED", T0 + 5, "deleted"),
    ):
        row = [run, name, "amal", status, T0, ended, stage, str(files if run == RUN else files.parent / "none"), 1]
        db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    db.execute("INSERT INTO tags VALUES ('mlflow.parentRunId', ?, ?)", [RUN, CHILD])
    db.executemany("INSERT INTO tags VALUES (?, ?, ?)", [(key, value, RUN) for key, value in TAGS.items()])
    db.executemany("INSERT INTO params VALUES (?, ?, ?)", [("lr", "0.1", RUN), ("dir/p", "x", RUN)])
    for key, points in POINTS.items():
        rows = [(key, *_kept(value), ts, step, RUN) for ts, step, value in points]
        db.executemany("INSERT INTO metrics (key, value, is_nan, timestamp, step, run_uuid) VALUES (?,?,?,?,?,?)", rows)
        db.execute(
            "INSERT INTO latest_metrics (key, value, is_nan, timestamp, step, run_uuid) VALUES (?,?,?,?,?,?)", rows[-1]
        )
    db.execute("INSERT INTO datasets VALUES ('d', 1, 'toy', 'abc', 'code', '{}', '{}', '{}')")
    db.execute("INSERT INTO inputs VALUES ('i', 'DATASET', 'd', 'RUN', ?)", [RUN])
    db.execute("INSERT INTO input_tags VALUES ('i', 'mlflow.data.context', 'training')")
    db.commit()
    return db


def _folder(top):
    """Write the store as MLflow's folder."""
    experiment = top / "77"
    _write(experiment / "meta.yaml", f"name: churn\nlifecycle_stage: active\ncreation_time: {T0}\n")
    _write(experiment / "tags" / "owner", "amal")
    _write(experiment / "datasets" / "d" / "meta.yaml", "name: toy\ndigest: abc\nsource_type: code\nsource: '{}'\n")
    for run, name, status, ended, stage in (
        (RUN, "parent", 3, T0 + 99, "active"),
        (CHILD, "child", 1, "null", "active"),
        (GONE, "gone", 5, T0 + 5, "deleted"),
    ):
        place = experiment / run
        _write(
            place / "meta.yaml",
            f"run_id: {run}\nrun_name: {name}\nuser_id: amal\nstatus: {status}\nstart_time: {T0}\nend_time: {ended}\n"
            f"lifecycle_stage: {stage}\n",
        )
        (place / "metrics").mkdir()
    _write(experiment / CHILD / "tags" / "mlflow.parentRunId", RUN)
    for key, value in TAGS.items():
        _write(experiment / RUN / "tags" / key, value)
    _write(experiment / RUN / "params" / "lr", "0.1")
    _write(experiment / RUN / "params" / "dir" / "p", "x")
    for key, points in POINTS.items():
        lines = "".join(f"{ts} {value!r} {step}\n" for ts, step, value in points)
        _write(experiment / RUN / "metrics" / key, lines + (lines.splitlines()[-1] + " toy abc m-1\n"))
    _write(experiment / RUN / "artifacts" / "dir" / "hello.txt", "hello")
    _write(
        experiment / RUN / "inputs" / "i" / "meta.yaml",
        "source_type: DATASET\nsource_id: d\ntags: {mlflow.data.context: training}\n",
    )
    return top


def _kept(value):
    """Return a value as MLflow's database holds it."""
    if math.isnan(value):
        return 0.0, 1
    return (math.copysign(sys.float_info.max, value) if math.isinf(value) else value), 0


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
