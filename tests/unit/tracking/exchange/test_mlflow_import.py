"""Imports from MLflow without its server: what comes, that it comes once, and that a killed one goes on."""

from __future__ import annotations

import math
import uuid

import pytest

from mlops_tui.core.errors import BadInput, MlopsError, NotFound
from mlops_tui.tracking.exchange import worker
from mlops_tui.tracking.exchange.open import absolute, mlflow_source, shown

RUN, CHILD, GONE = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
T0 = 1_760_000_000_000


@pytest.fixture
def bring(job):
    def asked(source, **more):
        request = {
            "tool": "mlflow",
            "source": str(source),
            "experiment": [],
            "artifacts": True,
            "wire": True,
            "look": False,
            **more,
        }
        return worker.bring(request, job())

    return asked


def test_a_run_comes_whole(bring, house, database):
    told = bring(database[0])
    assert (told["runs"], told["new_runs"], told["new_points"], told["files"]) == (3, 3, 54, 1)
    with house.store.read() as session:
        row = session.dict("SELECT *, epoch_us(started) AS s, epoch_us(ended) AS e FROM run WHERE id = ?", [RUN])
        assert (row["name"], row["status"], row["s"], row["e"]) == ("parent", "done", T0 * 1000, (T0 + 99) * 1000)
        assert (row["note"], row["actor"], row["summary"], row["metric"]) == (
            "a note",
            "amal",
            "lr=0.1 dir/p=x",
            "val/acc",
        )
        tags = dict(session.rows("SELECT key, value FROM tag WHERE object = ?", [RUN]))
        assert tags["team"] == "growth" and tags["mlops.import.run"] == uuid.UUID(RUN).hex
        assert session.row("SELECT name, digest, context, source_type FROM run_data") == (
            "toy",
            "abc",
            "training",
            "code",
        )
        points = session.rows(
            """SELECT p.step, epoch_us(p.ts), p.value FROM point p JOIN series s USING (sid)
               WHERE s.key = 'odd' ORDER BY step"""
        )
        assert math.isnan(points[0][2]) and points[1:] == [
            (1, (T0 + 1) * 1000, math.inf),
            (2, (T0 + 2) * 1000, -math.inf),
        ]
        assert session.row("SELECT n, nonfinite, last FROM series WHERE key = 'loss'") == (50, 0, 0.02)
        # One that had not ended is a snapshot: nobody will hear of its end.
        assert session.row("SELECT status, parent_id, ended FROM run WHERE id = ?", [CHILD]) == ("lost", RUN, None)
        assert session.value("SELECT deleted IS NOT NULL FROM run WHERE id = ?", [GONE])
        path, digest = session.row("SELECT path, digest FROM run_artifact")
        assert path == "dir/hello.txt" and house.blobs.open(digest).read() == b"hello"


def test_a_folder_and_a_database_hold_the_same(bring, database, mlruns, house):
    first = bring(database[0])
    second = bring(mlruns)
    assert second["digest"] == first["digest"]
    assert [count(house, table) for table in ("run", "point", "param", "run_artifact", "run_data")] == [3, 54, 2, 1, 1]


def test_repeating_adds_nothing_and_what_is_new_is_added(bring, database, house):
    path, db = database
    first = bring(path)
    tables = ("run", "point", "series", "param", "tag", "run_artifact", "run_data", "imported")
    before = [count(house, table) for table in tables]
    again = bring(path)
    assert (again["new_runs"], again["new_points"], again["digest"]) == (0, 0, first["digest"])
    assert [count(house, table) for table in tables] == before
    # the run that went on has two more points, one of them with an early step, and has ended
    db.execute("UPDATE runs SET status = 'FINISHED', end_time = ? WHERE name = 'child'", [T0 + 500])
    rows = [("loss", 0.5, T0 + 400, uuid.UUID(CHILD).hex, step, 0) for step in (3, 1)]
    db.executemany("INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?,?,?,?,?,?)", rows)
    db.commit()
    grown = bring(path)
    assert (grown["new_runs"], grown["new_points"]) == (0, 2) and grown["digest"] != first["digest"]
    assert house.read(lambda s: s.row("SELECT status, error FROM run WHERE id = ?", [CHILD])) == ("done", "")


def test_a_killed_import_goes_on_where_it_was(bring, database, house, monkeypatch):
    monkeypatch.setattr(worker, "RUNS_AT_ONCE", 1)
    whole = worker.Desk._hand_in
    handed = []

    def dies(*arguments):
        if len(handed) == 1:
            raise KeyboardInterrupt
        handed.append(arguments)
        whole(*arguments)

    monkeypatch.setattr(worker.Desk, "_hand_in", dies)
    with pytest.raises(KeyboardInterrupt):
        bring(database[0])
    assert count(house, "run") == 1
    monkeypatch.setattr(worker.Desk, "_hand_in", whole)
    told = bring(database[0])
    assert told["new_runs"] == 2 and count(house, "run") == 3 and count(house, "point") == 54


def test_what_was_handed_in_twice_is_here_once(bring, database, house):
    """The worker dies after the commit, before it hears of it: its note is there, unless the mark differs."""
    bring(database[0])
    house.store.write(lambda s: s.execute("UPDATE imported SET mark = ''"))
    told = bring(database[0])
    assert (told["new_runs"], told["new_points"]) == (0, 0) and count(house, "point") == 54


def test_a_run_that_this_store_made_is_left_alone(bring, database, house):
    house.store.write(
        lambda s: s.insert(
            "run", id=RUN, experiment_id="e", tenant="default", name="mine", kind="train", status="done", started_us=1,
            host="", boot="", actor="", command="", git_sha="", git_branch="", error="", note="",
        )
    )  # fmt: skip
    assert bring(database[0])["new_runs"] == 2
    assert house.read(lambda s: s.value("SELECT name FROM run WHERE id = ?", [RUN])) == "mine"


def test_only_looking_changes_nothing(bring, database, house):
    told = bring(database[0], look=True)
    assert (told["runs"], told["new_runs"], told["points"]) == (3, 3, 54)
    assert told["experiments"] == [{"experiment": "churn", "new_runs": 3}] and count(house, "run") == 0


def test_without_files_first_and_with_them_later(bring, database, house):
    assert bring(database[0], artifacts=False)["files"] == 0
    assert bring(database[0])["files"] == 1 and count(house, "run_artifact") == 1


def test_files_that_cannot_be_read_are_told_and_the_run_comes(bring, database):
    path, db = database
    db.execute("UPDATE runs SET artifact_uri = 's3://bucket/x'")
    db.commit()
    told = bring(path)
    assert told["new_runs"] == 3 and told["left_out"] == [
        "files at s3://bucket/… are not read · import from the server that serves them (3×)"
    ]


def test_a_folder_that_mlflow_would_not_make_is_not_read(bring, database, house):
    path, db = database
    (path.parent / "private").mkdir()
    (path.parent / "private" / "key").write_text("secret")
    db.execute("UPDATE runs SET artifact_uri = ?", [str(path.parent / "private")])
    db.commit()
    told = bring(path)
    assert told["files"] == 0 and "is no folder of artifacts" in told["left_out"][0] and count(house, "blob") == 0


def test_an_experiment_that_is_not_there(bring, database):
    with pytest.raises(MlopsError, match="no experiment 'x'"):
        bring(database[0], experiment=["x"])


def test_what_people_type(tmp_path, database, monkeypatch):
    path = database[0]
    monkeypatch.chdir(tmp_path)
    for typed in (str(path), "mlflow/mlflow.db", "sqlite:///mlflow/mlflow.db", f"sqlite:///{path}"):
        assert absolute(typed, str(tmp_path)) == str(path)
    assert absolute("http://u:p@h:1/", "/") == "http://u:p@h:1" and shown("http://u:p@h:1") == "http://h:1"
    assert mlflow_source(str(path.parent)).name == f"sqlite:///{path}"
    with pytest.raises(NotFound, match="there is no"):
        absolute("gone", str(tmp_path))
    with pytest.raises(BadInput, match="postgresql is nothing that is read"):
        absolute("postgresql://h/db", "/")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no experiments"):
        mlflow_source(str(tmp_path / "empty"))
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(BadInput, match="is not an SQLite database"):
        mlflow_source(str(tmp_path / "text.db"))


def count(house, table):
    return house.read(lambda session: session.value(f"SELECT count(*) FROM {table}"))
