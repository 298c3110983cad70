"""gc: what was deleted long enough ago goes for good, with the files that only it needed; nothing else does."""

from __future__ import annotations

import os
import time

import pytest

from mlops_tui.core.clock import DAY, now_us
from mlops_tui.core.errors import BadInput, NotFound, Refused
from mlops_tui.core.ids import uuid7
from mlops_tui.door.registry import REFERRERS
from mlops_tui.spool.files import keep
from mlops_tui.tracking.removal.worker import sweep


@pytest.fixture
def made(desk):
    """A function that makes a run with a metric, a log line and artifacts, all of it taken in."""

    def make(name, **artifacts):
        run = desk.run(name=name, params={"lr": 1}, tags={"a": "b"})
        run.metrics({"loss": 1.0}, 1)
        run.metrics({"loss": 0.5}, 2)
        run.log("a line")
        for path, text in artifacts.items():
            file, size = keep(run.folder, text.encode())
            run.artifact(path, file, size)
        run.end("done")
        desk.take()
        return run.owner

    return make


def age(desk, days=40):
    """Make every deletion and every file so many days old."""
    desk.house.store.write(
        lambda s: s.execute("UPDATE run SET deleted = deleted - to_days(?) WHERE deleted IS NOT NULL", [days])
    )
    past = time.time() - days * 86_400
    for path in desk.house.blobs.root.glob("??/*"):
        os.utime(path, (past, past))


def collect(desk, **asked):
    """Remove, and sweep as the worker does; return the plan's text and what was removed by table."""
    text = desk.call("gc.run", **asked).text
    desk.house.store.write(lambda s: s.execute("UPDATE job SET status = 'done'"))
    return text, sweep({}, Worker(desk))


class Worker:
    """The job of a sweep whose client is the desk."""

    def __init__(self, desk):
        self.client, self.told = self, []
        self.call = lambda name, request: desk.call(name, **request)
        self.progress = self.told.append


def count(desk, table, where="true"):
    return desk.rows(f"SELECT count(*) FROM {table} WHERE {where}")[0][0]


def contents(desk):
    blobs = desk.house.blobs
    return {blobs.read_bytes(digest).decode() for digest in blobs.digests()}


def test_a_deleted_run_goes_with_all_that_is_its_own(desk, made):
    kept, gone = made("kept", a="shared", b="kept"), made("gone", a="shared", c="gone")
    desk.call("run.delete", run="gone")
    age(desk)
    plan = desk.plan("gc.run")
    assert plan.text.startswith("remove 1 run, 1 file (") and count(desk, "run") == 2
    assert {change.object for change in plan.changes} == {f"run:{gone}", "artifacts"}
    text, removed = collect(desk)
    assert text.startswith("remove 1 run, 1 file") and contents(desk) == {"shared", "kept"}
    assert (removed["points"], removed["lines"], removed["series"]) == (2, 1, 1)
    for table, column in (("param", "run"), ("tag", "object"), ("log_line", "owner"), ("series", "owner")):
        assert count(desk, table, f"{column} = '{gone}'") == 0 < count(desk, table, f"{column} = '{kept}'"), table
    assert count(desk, "point") == 2 and desk.rows("SELECT digest FROM blob").__len__() == 2
    with pytest.raises(NotFound):
        desk.call("run.show", run=gone)
    assert desk.call("run.show", run=kept).metrics[0].n == 2
    assert collect(desk)[0] == "nothing to remove"
    assert made("again", a="gone") and contents(desk) == {"shared", "kept", "gone"}


def test_only_what_is_old_enough_goes(desk, made):
    made("young", a="young")
    desk.call("run.delete", run="young")
    assert desk.plan("gc.run").text == "nothing to remove"
    assert desk.plan("gc.run", older_than="0d").text == "remove 1 run for good", "the file may be wanted by a worker"
    age(desk, 10)
    assert desk.plan("gc.run").text == "nothing to remove"
    assert desk.plan("gc.run", older_than="9d").text.startswith("remove 1 run, 1 file")
    for wrong in ("soon", "", "30 parsecs"):
        with pytest.raises(BadInput, match="no age"):
            desk.plan("gc.run", older_than=wrong)


def test_a_deleted_run_that_goes_on_stays_until_it_is_over(desk):
    run = desk.run(name="alive")
    desk.take()
    desk.call("run.delete", run="alive", force=True)
    age(desk)
    assert desk.plan("gc.run").text == "nothing to remove"
    run.end("done")
    desk.take()
    assert desk.plan("gc.run").text == "remove 1 run for good"


def test_a_file_that_is_stored_again_is_young_again(desk, made):
    made("gone", a="text")
    desk.call("run.delete", run="gone")
    age(desk)
    desk.house.blobs.put_bytes(b"text")  # a worker that will commit in a moment
    assert collect(desk)[0] == "remove 1 run for good" and contents(desk) == {"text"}
    age(desk)
    [digest] = desk.house.blobs.digests()
    before = time.time() - 86_400
    desk.house.blobs.put_bytes(b"text")
    assert not desk.house.blobs.drop(digest, before), "between the plan and the deletion"


def test_a_run_that_a_version_came_from_stays(desk, made):
    run = made("parent", a="model")
    model = uuid7()

    def register(session):
        session.insert("model", id=model, tenant="default", name="census", created_us=now_us(), actor="amal")
        session.insert(
            "model_version", id=uuid7(), model_id=model, version=1, run_id=run, digest="f" * 64, size=1, format="onnx",
            description="", signature="{}", created_us=now_us(), actor="amal",
        )  # fmt: skip

    desk.house.store.write(register)
    desk.call("run.delete", run="parent")
    age(desk)
    plan = desk.plan("gc.run")
    assert plan.text == "nothing to remove" and plan.warnings == ["the run parent stays: census@1 came from it"]


def test_a_deleted_experiment_goes_when_its_runs_do(desk, made):
    made("one", a="x")
    desk.call("experiment.delete", experiment="census")
    age(desk)
    assert desk.plan("gc.run").text.startswith("remove 1 run, 1 file")
    desk.house.store.write(
        lambda s: s.execute("UPDATE experiment SET deleted = make_timestamp(?)", [now_us() - 60 * DAY])
    )
    assert "1 experiment" in collect(desk)[0]
    assert count(desk, "experiment") == 0


def test_points_of_runs_that_never_were_go_too(desk):
    stray = desk.run(owner=uuid7())
    desk.take()
    desk.house.store.write(
        lambda s: (
            desk.house.series.append(s, "run", "never", ["system/cpu"], [1], [now_us() - 90 * DAY], [1.0]),
            desk.house.series.append(s, "run", stray.owner, ["loss"], [1], [now_us() - 90 * DAY], [1.0]),
        )
    )
    assert collect(desk)[1]["points"] == 1
    assert desk.rows("SELECT owner FROM series WHERE scope = 'run'") == [(stray.owner,)]
    stray.end("done")


def test_many_rows_are_swept_in_pieces_and_a_sweep_that_was_killed_begins_anew(desk, made, monkeypatch):
    kept = made("kept")
    gone = [made(f"gone{n}") for n in range(3)]
    for run in gone:
        desk.call("run.delete", run=run)
    age(desk)
    monkeypatch.setattr("mlops_tui.tracking.removal.sweep.PIECE", 2)
    monkeypatch.setattr("mlops_tui.tracking.removal.sweep.SERIES_PIECE", 2)
    monkeypatch.setattr("mlops_tui.tracking.removal.worker.TELL_S", -1)
    desk.call("gc.run")
    assert count(desk, "run") == 1 and count(desk, "point") == 8
    with pytest.raises(Refused, match="still being swept"):
        desk.call("gc.run")
    for _ in range(2):
        piece = desk.call("gc.sweep")  # each time from the beginning
    assert piece.table == "point" and count(desk, "point") < 8
    assert desk.run(owner=gone[0]).metrics({"loss": 3.0}, 3)  # its owner goes on: that is a series of its own
    desk.take()
    worker = Worker(desk)
    assert sweep({"runs": 3}, worker)["runs"] == 3
    assert worker.told and worker.told == sorted(worker.told)
    assert desk.rows("SELECT owner, n FROM series WHERE scope = 'run' ORDER BY n") == [(gone[0], 1), (kept, 2)]
    assert count(desk, "point") == 3 and count(desk, "log_line") == count(desk, "doomed") + 1 == 1


def test_every_column_that_may_name_an_artifact_is_known(house):
    """A new table with digests must say that it needs them, or stand in this list of those that do not."""
    no_artifact = {
        "blob", "feature", "feature_view", "gate_result", "imported", "logged_metric", "migration", "plugin_trust",
        "run_data",
    }  # fmt: skip
    named = house.read(
        lambda s: s.column(
            "SELECT DISTINCT table_name FROM duckdb_columns() WHERE NOT internal AND contains(column_name, 'digest')"
        )
    )
    said = {name for name in named if any(f" {name}" in sql for sql in REFERRERS)}
    assert set(named) == said | no_artifact
    assert any("FROM job" in sql for sql in REFERRERS), "what a job reads, and may be run again, stays"
