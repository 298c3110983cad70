"""Exports: what is written, that anybody can open it, and that importing it again gives the same digest."""

from __future__ import annotations

import json
import math
import os
import sqlite3

import duckdb
import msgspec
import pytest

from mlops_tui.contracts.operation import find
from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.door.context import Caller
from mlops_tui.door.perform import Wish, perform
from mlops_tui.tracking.exchange import export_worker, worker
from mlops_tui.tracking.exchange.parquet import TABLES, ParquetTables

RUN = uuid7()


@pytest.fixture
def native(desk):
    """A store with a run of the SDK's kind: times in µs, a NaN, two points in one millisecond, a file."""
    facts = {"experiment": "own", "params": {"lr": "0.5"}, "command": "python train.py", "git": {"sha": "abc"}}
    writer = desk.run(RUN, name="native", tags={"team": "growth"}, actor="amal", **facts)
    for step in range(20):
        writer.metrics({"loss": 1 / (step + 1), "a rate": math.nan}, step=step, ts=1_760_000_000_123_456 + step)
    writer.metrics({"loss": 0.5}, step=3, ts=1_760_000_000_123_900)
    writer.metrics({"loss": 0.5}, step=3, ts=1_760_000_000_123_950)
    writer.dataset("census@3", "d1", "training")
    writer.end("failed", 1, "ValueError: boo")
    desk.take()
    blob = desk.house.blobs.put_bytes(b"hello")
    desk.call("artifact.keep", of=RUN, path="dir/x.bin", digest=blob.digest, size=blob.size)
    desk.call("run.note", run=RUN, text="worth a look")
    return desk


@pytest.fixture
def export(job, tmp_path):
    def asked(name="out", **more):
        request = {"folder": str(tmp_path / name), "experiment": [], "artifacts": True, "runs": 1, **more}
        return export_worker.export(request, job())

    return asked


@pytest.fixture
def bring(job):
    def asked(source):
        request = {"source": str(source), "experiment": [], "artifacts": True, "wire": False, "look": False}
        return worker.bring({"tool": "mlflow", "models": True, **request}, job())

    return asked


def test_duckdb_and_sqlite_read_what_was_written(native, export, tmp_path):
    told = export()
    assert (told["runs"], told["points"], told["files"]) == (1, 42, 1)
    tables = tmp_path / "out" / "parquet"
    asked = duckdb.sql(
        f"SELECT key, count(*), count(*) FILTER (isnan(value)) FROM '{tables}/metric/*.parquet' GROUP BY 1 ORDER BY 1"
    )
    assert asked.fetchall() == [("a rate", 20, 20), ("loss", 22, 0)]
    run = duckdb.sql(f"SELECT id, name, status, note, epoch_us(started) FROM '{tables}/run/*.parquet'").fetchone()
    assert run[:4] == (RUN, "native", "failed", "worth a look") and run[4] > 1_700_000_000_000_000
    db = sqlite3.connect(tmp_path / "out" / "mlflow.db")
    assert db.execute("SELECT name, status FROM runs").fetchall() == [("native", "FAILED")]
    assert dict(db.execute("SELECT key, value FROM tags"))["mlops.run.error"] == "ValueError: boo"
    place = db.execute("SELECT artifact_uri FROM runs").fetchone()[0]
    assert (tmp_path / place / "dir" / "x.bin").read_text() == "hello"
    # two points of one millisecond with one value are one point to MLflow
    assert db.execute("SELECT count(*) FROM metrics WHERE key = 'loss'").fetchone()[0] == 21
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["digest"] == told["digest"]


def test_every_table_is_there_and_its_parts_have_the_same_types(tmp_path):
    """Found with parents that came in the second page only: DuckDB takes the first part's types for all."""
    tables = ParquetTables(tmp_path)
    for value in (None, "text", None):
        row = dict.fromkeys(TABLES["run"]) | {"id": "r", "parent": value, "ended": value and 5}
        tables.add_rows("run", [tuple(row.values())])
    tables.close()
    asked = "SELECT parent, epoch_us(ended) FROM '{}/run/*.parquet' ORDER BY ALL"
    assert duckdb.sql(asked.format(tmp_path)).fetchall() == [("text", 5), (None, None), (None, None)]
    for name, columns in TABLES.items():
        empty = duckdb.sql(f"SELECT * FROM '{tmp_path}/{name}/*.parquet'")
        assert dict(zip(empty.columns, map(str, empty.types), strict=True)) == columns


def test_importing_it_again_adds_nothing_and_gives_the_same_digest(native, export, bring, tmp_path):
    told = export()
    again = bring(tmp_path / "out")
    assert (again["new_runs"], again["new_points"], again["digest"]) == (0, 0, told["digest"])


def test_another_store_that_imports_it_exports_the_same(native, export, bring, tmp_path, database, house):
    bring(database[0])  # and runs of MLflow's beside our own
    told = export()
    forget(house)
    (tmp_path / "out").rename(tmp_path / "moved")  # the paths in it lead nowhere now
    brought = bring(tmp_path / "moved")
    assert (brought["new_runs"], brought["digest"]) == (told["runs"], told["digest"])
    with house.store.read() as session:
        row = session.dict("SELECT * FROM run WHERE id = ?", [RUN])
        assert (row["error"], row["note"], row["command"], row["git_sha"]) == (
            "ValueError: boo", "worth a look", "python train.py", "abc",
        )  # fmt: skip
        assert not session.value("SELECT count(*) FROM tag WHERE key LIKE 'mlops.run.%'")
        assert session.row("SELECT name, digest, context FROM run_data WHERE run = ?", [RUN]) == (
            "census@3",
            "d1",
            "training",
        )
    assert export("second")["digest"] == told["digest"]


def test_models_go_out_and_come_in(native, export, bring, tmp_path, house):
    native.call("model.create", name="churn", description="who leaves", tags={"team": "growth"})
    native.call("version.create", name="churn", source=f"runs:/{RUN}/dir", run=RUN, tags={"a": "b"}, number=4)
    native.call("model.alias", model="churn@4", alias="champion")
    made = native.call("logged.create", experiment="own", name="net", run=RUN, params={"depth": "3"}, tags={})
    native.call("logged.finish", model=made.id, status="ready")
    blob = house.blobs.put_bytes(b"weights")
    native.call("artifact.keep", of=made.id, path="net.bin", digest=blob.digest, size=blob.size)
    told = export()
    assert (told["models"], told["versions"], told["logged_models"]) == (1, 1, 1)
    again = bring(tmp_path / "out")
    assert (again["new_models"], again["new_versions"], again["new_runs"]) == (0, 0, 0)  # it is all here
    forget(house)
    bring(tmp_path / "out")
    model = native.call("model.show", model="churn")
    assert (model.description, model.aliases, model.tags) == ("who leaves", {"champion": 4}, {"team": "growth"})
    version = model.versions[0]
    assert (version.version, version.run, version.files, version.tags["a"]) == (4, RUN, 1, "b")
    again = bring(tmp_path / "out")
    assert (again["new_models"], again["new_versions"], again["left_out"]) == (0, 0, [])
    logged = native.call("logged.show", model="net")
    assert (logged.id, logged.status, logged.params) == (made.id, "ready", {"depth": "3"})
    files = native.call("artifact.list", of=made.id).entries
    assert [(one.path, one.digest) for one in files] == [("net.bin", blob.digest)]


def test_an_export_that_was_killed_goes_on(native, export, tmp_path, monkeypatch):
    whole = export_worker.Export._models

    def dies(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(export_worker.Export, "_models", dies)
    with pytest.raises(KeyboardInterrupt):
        export()
    assert not (tmp_path / "out" / "manifest.json").exists()
    file = next((tmp_path / "out").rglob("x.bin"))
    before = file.stat().st_ino
    monkeypatch.setattr(export_worker.Export, "_models", whole)
    told = export()
    assert told["runs"] == 1 and file.stat().st_ino == before  # written once
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/out/parquet/run/*.parquet'").fetchone() == (1,)


def test_what_the_plan_refuses(native, house, tmp_path):
    def plan(**request):
        operation = find("export.store")
        wanted = msgspec.convert(request, operation.request)
        return perform(
            house, operation.name, wanted, Caller("amal", os.getuid(), cwd=str(tmp_path)), Wish(dry_run=True)
        )

    found = plan(folder="new", all=True)
    assert found.text == f"write everything to {tmp_path}/new: 1 runs" and "not encrypted" in found.warnings[0]
    with pytest.raises(BadInput, match="nothing is chosen"):
        plan(folder="new")
    with pytest.raises(NotFound, match="no experiment 'nope'"):
        plan(folder="new", experiment=["nope"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    with pytest.raises(Conflict, match="is not empty"):
        plan(folder="full", all=True)
    with pytest.raises(BadInput, match="is a file"):
        plan(folder="full/thesis.tex", all=True)


def forget(house):
    """Empty the store, as if it were another one."""
    tables = house.read(lambda s: s.column("SELECT table_name FROM duckdb_tables() WHERE table_name <> 'migration'"))
    house.store.write(lambda s: [s.execute(f"DELETE FROM {table}") for table in tables])
    house._counters.clear()
    house.series.forget()
