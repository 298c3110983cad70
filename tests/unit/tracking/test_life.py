"""Runs as the spool tells them: begun, gone on with, ended; each row once, in whatever order files are read."""

from __future__ import annotations

import json

import pytest

from mlops_tui.core.clock import now_us
from mlops_tui.core.ids import uuid7
from mlops_tui.door.registry import ABSORBERS
from mlops_tui.spool.process import this_process
from mlops_tui.spool.writer import Writer

COUNTS = "SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM param), (SELECT count(*) FROM tag), (SELECT count(*) FROM point), (SELECT count(*) FROM run_artifact), (SELECT count(*) FROM run_data), (SELECT count(*) FROM experiment), (SELECT count(*) FROM event WHERE topic = 'run')"  # noqa: E501


def full(desk, owner=None):
    """Write a run that says something of every kind."""
    run = desk.run(owner, params={"lr": 0.1, "depth": 3}, tags={"stage": "try"})
    run.metrics({"loss": 0.5, "auc": 0.6}, 1)
    run.metrics({"loss": 0.4, "auc": 0.7}, 2)
    run.params({"late": "yes"})
    run.dataset("census@1", "d1", "training")
    from mlops_tui.spool.files import keep

    file, size = keep(run.folder, b"model bytes")
    run.artifact("model.onnx", file, size)
    run.end("done")
    return run.owner


def lines(desk, owner, *records, name=None):
    """Write a spool file by hand, with records whose times are chosen."""
    folder = desk.spool / owner
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or f"elsewhere-1-{now_us()}.jsonl")
    with open(path, "a") as file:
        for record in records:
            file.write(json.dumps({"v": 1, **record}) + "\n")
    return path


def start(owner, t, **run):
    return {"e": "start", "t": t, "owner": owner, "kind": "run", "process": dict(this_process()), "run": run}


def test_a_script_of_the_sdk_becomes_a_whole_run(desk):
    script = desk.script(
        """
with mlops.start_run(experiment="census", name="train-v1", params={"lr": 0.1}, tags={"stage": "try"}) as run:
    for step in range(3):
        run.log({"loss": 1.0 / (step + 1), "auc": 0.5 + step / 10}, step=step)
    run.log({"loss": float("nan")}, step=3)
    run.log_artifact(b"weights", "model.onnx")
    run.use_dataset("census@1", "abc")
"""
    )
    assert script.wait(timeout=60) == 0
    desk.take()
    shown = desk.call("run.show", run="train-v1")
    assert (shown.status, shown.experiment, shown.params, shown.tags["stage"]) == (
        "done",
        "census",
        {"lr": "0.1"},
        "try",
    )
    assert {one.key: (one.last, one.n, one.nonfinite) for one in shown.metrics} == {
        "loss": (None, 4, 1),
        "auc": (0.7, 3, 0),
    }
    assert [(one.path, one.size) for one in shown.artifacts] == [("model.onnx", 7)]
    assert [(one.name, one.digest, one.context) for one in shown.datasets] == [("census@1", "abc", "training")]
    assert shown.facts["environment"]["python"] and shown.facts["hardware"]["cpus"]
    assert shown.pid == script.pid and shown.started <= shown.ended and shown.command
    events = desk.rows("SELECT action, text, link FROM event WHERE topic = 'run' ORDER BY seq")
    assert events == [
        ("started", "train-v1 started", f"run:{shown.id}"),
        ("ended", "train-v1 done", f"run:{shown.id}"),
    ]


def test_an_exception_is_the_reason_of_a_failed_run(desk):
    script = desk.script("with mlops.start_run(name='bad'):\n    raise ValueError('no such column')")
    assert script.wait(timeout=60) == 1
    desk.take()
    shown = desk.call("run.show", run="bad")
    assert (shown.status, shown.error, shown.experiment) == ("failed", "ValueError: no such column", "Default")


def test_taking_in_twice_changes_nothing(desk):
    full(desk)
    desk.take()
    before = desk.rows(COUNTS)
    assert before == [(1, 3, 1, 4, 1, 1, 1, 2)]
    desk.take()
    desk.again()
    desk.take()
    assert desk.rows(COUNTS) == before


def test_a_transaction_that_dies_leaves_nothing_and_its_rows_come_once(desk, monkeypatch):
    owner = full(desk)

    def dies(ctx, owner, records):
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setitem(ABSORBERS, "end", [*ABSORBERS["end"], dies])
        desk.take()
    assert desk.rows(COUNTS) == [(0, 0, 0, 0, 0, 0, 0, 0)]
    assert list((desk.spool / owner / "files").iterdir()), "a kept file goes only after the commit"
    desk.again()
    desk.take()
    assert desk.rows(COUNTS) == [(1, 3, 1, 4, 1, 1, 1, 2)]
    assert not (desk.spool / owner / "files").exists()


def test_a_run_read_in_pieces_is_the_run_read_whole(desk):
    owner = full(desk)
    [path] = (desk.spool / owner).glob("*.jsonl")
    content = path.read_bytes()
    path.write_bytes(b"")
    for at in range(0, len(content), 301):
        with open(path, "ab") as file:
            file.write(content[at : at + 301])
        desk.take()
        desk.again()
    assert desk.rows(COUNTS) == [(1, 3, 1, 4, 1, 1, 1, 2)]
    assert desk.status(owner) == "done"


def test_an_experiment_is_made_once(desk):
    for name in ("one", "two"):
        desk.run(name=name).end("done")
    desk.run(name="three", experiment="other").end("done")
    desk.take()
    assert desk.rows("SELECT name FROM experiment ORDER BY name") == [("census",), ("other",)]
    assert [row[1:3] for row in desk.call("experiment.list", sort="name").rows] == [["census", 2], ["other", 1]]


def test_the_first_writer_of_a_parameter_wins_and_the_other_value_is_kept(desk):
    run = desk.run(params={"lr": 0.1})
    run.params({"lr": 0.1, "depth": 3})
    run.params({"lr": 0.2, "depth": 3})
    desk.take()
    shown = desk.call("run.show", run="one")
    assert shown.params == {"lr": "0.1", "depth": "3"}
    assert shown.tags == {"mlops.conflict.param.lr": "0.2"}
    assert desk.rows("SELECT key, num FROM param ORDER BY key") == [("depth", 3.0), ("lr", 0.1)]
    run.end("done")


def test_what_a_parameter_costs_does_not_grow_with_how_many_the_run_has(desk, monkeypatch):
    from mlops_tui.store.session import Session

    run = desk.run(params={f"p{number}": number for number in range(2000)})
    run.tags({f"t{number}": "x" for number in range(2000)})
    desk.take()
    read, rows = [], Session.rows

    def counted(self, sql, params=()):
        found = rows(self, sql, params)
        read.append(len(found))
        return found

    monkeypatch.setattr(Session, "rows", counted)
    for number in range(5):
        run.params({f"late{number}": "1", "p7": "8"})
    run.tags({"t7": "y"})
    desk.take()
    assert sum(read) < 100
    shown = desk.call("run.show", run="one")
    assert (len(shown.params), shown.params["p7"], shown.tags["t7"]) == (2005, "7", "y")
    assert shown.tags["mlops.conflict.param.p7"] == "8"
    assert desk.rows("SELECT summary FROM run")[0][0] == " ".join(f"p{n}={n}" for n in range(100))[:200]
    run.end("done")


def test_the_beginning_of_the_parameters_is_the_same_however_they_came(desk):
    run = desk.run(params={"a": "1"})
    run.params({"b": "2"})
    run.params({"a": "3", "c": "4"})
    desk.take()
    run.params({"d": "5"})
    desk.take()
    assert desk.rows("SELECT summary FROM run") == [("a=1 b=2 c=4 d=5",)]
    run.end("done")


def test_the_last_write_of_a_tag_stays_whatever_is_read_first(desk):
    owner = uuid7()
    lines(desk, owner, start(owner, 100), {"e": "tag", "t": 300, "g": {"a": "new", "b": "1"}})
    desk.take()
    lines(
        desk,
        owner,
        {"e": "tag", "t": 200, "g": {"a": "old"}},
        {"e": "tag", "t": 400, "g": {"b": "2"}},
        name="x-2-2.jsonl",
    )
    desk.take()
    assert desk.rows("SELECT key, value FROM tag ORDER BY key") == [("a", "new"), ("b", "2")]


def test_a_second_start_goes_on_with_the_run(desk):
    run = desk.run(params={"lr": 0.1})
    run.metrics({"loss": 1.0}, 1)
    run.end("killed", 75, "preempted")
    desk.take()
    assert desk.status(run.owner) == "killed"
    again = desk.run(run.owner, name=None, experiment="")
    again.metrics({"loss": 0.5}, 2)
    desk.take()
    shown = desk.call("run.show", run="one")
    assert (shown.status, shown.ended, shown.error, shown.experiment) == ("running", None, "", "census")
    assert [one.n for one in shown.metrics] == [2]
    again.end("done")
    desk.take()
    assert desk.status(run.owner) == "done"
    assert desk.rows("SELECT action FROM event WHERE topic = 'run' ORDER BY seq") == [
        ("started",), ("ended",), ("resumed",), ("ended",),
    ]  # fmt: skip


def test_an_older_end_read_later_is_history(desk):
    owner = uuid7()
    lines(desk, owner, start(owner, 5_000, name=None), {"e": "hb", "t": 6_000}, name="x-2-5000.jsonl")
    desk.take()
    lines(
        desk, owner, start(owner, 1_000, name="first", experiment="census"),
        {"e": "end", "t": 2_000, "status": "failed", "error": "boom"}, name="x-1-1000.jsonl",
    )  # fmt: skip
    desk.take()
    shown = desk.call("run.show", run=owner)
    assert (shown.status, shown.started, shown.name, shown.experiment, shown.error) == (
        "running", 1_000, "first", "census", "",
    )  # fmt: skip


def test_a_heartbeat_revives_only_what_goes_on_after_the_end(desk):
    owner, second = uuid7(), 1_000_000
    lines(desk, owner, start(owner, second), {"e": "end", "t": 10 * second, "status": "done"})
    lines(desk, owner, {"e": "hb", "t": 10 * second + 5}, name="x-2-2.jsonl")
    desk.take()
    assert desk.status(owner) == "done"
    lines(desk, owner, {"e": "hb", "t": 15 * second}, name="x-2-2.jsonl")
    desk.take()
    assert desk.status(owner) == "running"


def test_what_a_forked_child_says_before_its_parent_is_kept(desk):
    owner = uuid7()
    lines(desk, owner, {"e": "param", "t": 5, "p": {"worker": "1"}}, {"e": "m", "t": 6, "s": 1, "m": {"loss": 1}})
    desk.take()
    assert desk.rows("SELECT count(*) FROM run") == [(0,)]
    lines(desk, owner, start(owner, 1, name="late"), name="x-1-1.jsonl")
    desk.take()
    shown = desk.call("run.show", run="late")
    assert shown.params == {"worker": "1"} and [one.key for one in shown.metrics] == ["loss"]


def test_the_folder_of_a_job_is_no_run(desk):
    job = desk.job()
    writer = Writer(desk.spool, job, kind="job", job={"name": "x"})
    writer.tags({"cpu_s": "1.5"})
    writer.params({"a": 1})
    writer.dataset("census@1")
    writer.artifact("x", desk.spool / "nothing", 3)
    writer.end("done")
    desk.take()
    assert desk.rows(COUNTS.replace("topic = 'run'", "topic = 'quarantine'")) == [(0, 0, 0, 0, 0, 0, 0, 0)]
    assert desk.rows("SELECT count(*) FROM quarantine") == [(0,)]


def test_a_run_in_a_job_takes_name_experiment_and_log_from_it(desk):
    owner = uuid7()
    job = desk.job(
        name="train-v1", run_id=owner, tenant="default", spec=json.dumps({"env": {"MLOPS_EXPERIMENT": "census"}})
    )
    log = Writer(desk.spool, job, kind="job", job={"name": "train-v1"})
    for n in range(3):
        log.log(f"epoch {n}")
    run = Writer(desk.spool, owner, run={"experiment": "", "name": None, "tags": {"mlops.job": job}})
    desk.take()
    shown = desk.call("run.show", run=owner)
    assert (shown.name, shown.experiment, shown.job, shown.actor) == ("train-v1", "census", job, "amal")
    read = desk.call("run.log", run="train-v1", lines=2)
    assert read.lines == ["epoch 1", "epoch 2"]
    log.log("epoch 3")
    desk.take()
    assert desk.call("run.log", run="train-v1", after=read.last).lines == ["epoch 3"]
    assert desk.rows("SELECT src, rel, dst FROM link") == [(f"run:{owner}", "ran_as", f"job:{job}")]
    run.end("done")


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ("census@2", ("d2", "v2")),
        ("data:census@2", ("d2", "v2")),
        ("census", ("d3", "v3")),
        ("other@1", ("", None)),
        ("census@9", ("", None)),
    ],
)
def test_a_used_data_set_is_linked_when_the_store_knows_it(desk, given, want):
    def add(session):
        session.insert("dataset", id="ds", tenant="default", name="census", created_us=1, actor="a")
        for n in (1, 2, 3):
            session.insert(
                "dataset_version", id=f"v{n}", dataset_id="ds", version=n, digest=f"d{n}", size=1, n_rows=1,
                format="csv", origin="", columns="[]", profile="{}", parent="", residency="", classification="",
                created_us=1, actor="a", made_by="",
            )  # fmt: skip

    desk.house.store.write(add)
    run = desk.run()
    run.dataset(given)
    run.dataset(given)
    run.dataset("renamed", "d1")
    run.end("done")
    desk.take()
    digest, version = want
    assert desk.rows("SELECT name, digest FROM run_data ORDER BY name") == sorted([(given, digest), ("renamed", "d1")])
    linked = {dst for (dst,) in desk.rows("SELECT dst FROM link WHERE src = ? AND rel = 'used'", [f"run:{run.owner}"])}
    assert linked == {"dataset_version:v1"} | ({f"dataset_version:{version}"} if version else set())


def test_the_headline_follows_the_latest_step_and_prefers_quality(desk):
    run = desk.run()
    run.metrics({"loss": 0.9}, 5)
    desk.take()
    headline = "SELECT metric, value FROM run"
    assert desk.rows(headline) == [("loss", 0.9)]
    run.metrics({"loss": 0.8}, 3)
    desk.take()
    assert desk.rows(headline) == [("loss", 0.9)]
    run.metrics({"val/auc": 0.7, "train_auc": 0.9, "lr": 0.1}, 1)
    run.metrics({"val/auc": 0.75}, 2)
    desk.take()
    assert desk.rows(headline) == [("val/auc", 0.75)]
    run.metrics({"val/auc": float("nan")}, 3)
    desk.take()
    assert [(row[4], row[6]) for row in desk.call("run.list", filter="nan:true").rows] == [("val/auc", True)]
    run.end("done")
