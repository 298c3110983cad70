"""Looking at runs and changing what is kept of them."""

from __future__ import annotations

import msgspec
import pytest

from mlops_tui.core.errors import BadInput, Conflict, NotFound
from mlops_tui.core.ids import short


def two(desk):
    """Two runs that differ in one parameter and in their figures."""
    for name, rate, auc in (("v1", 0.1, 0.7), ("v2", 0.2, 0.8)):
        run = desk.run(
            name=name, params={"lr": rate, "depth": 3}, git={"sha": "3fe1" + "0" * 36, "dirty": name == "v2"}
        )
        for step in range(50):
            run.metrics({"auc": auc + step / 1000, "loss": 1 / (step + 1)}, step)
        run.end("done")
    desk.take()


def test_a_run_is_found_by_name_by_link_and_by_either_end_of_its_id(desk):
    two(desk)
    run = desk.call("run.show", run="v1").id
    for typed in (run, f"run:{run}", short(run), f"r-{short(run)}", "run:v1"):
        assert desk.call("run.show", run=typed).name == "v1"
    with pytest.raises(NotFound):
        desk.call("run.show", run="v9")
    with pytest.raises(BadInput, match="fits several"):
        desk.call("run.show", run=run[:4])


def test_of_very_many_metrics_the_first_are_shown(desk, monkeypatch):
    two(desk)
    assert desk.call("run.show", run="v1").more_metrics is None
    monkeypatch.setattr("mlops_tui.tracking.runs.read.MOST_METRICS", 2)
    assert desk.call("run.show", run="v1").more_metrics is None
    monkeypatch.setattr("mlops_tui.tracking.runs.read.MOST_METRICS", 1)
    shown = desk.call("run.show", run="v1")
    assert [one.key for one in shown.metrics] == ["auc"] and shown.more_metrics == 1


def test_of_very_many_parameters_those_that_were_given_first_are_shown(desk, monkeypatch):
    run = desk.run(name="wide", params={"z": 1, "a": 2, "m": 3})
    desk.take()
    for most, shown, others in ((4, ["z", "a", "m"], None), (3, ["z", "a", "m"], None), (2, ["z", "a"], 1)):
        monkeypatch.setattr("mlops_tui.tracking.runs.read.MOST_PARAMS", most)
        found = desk.call("run.show", run="wide")
        assert [*found.params] == shown and found.more_params == others
    run.end("done")


def test_the_newest_of_equal_names_is_meant(desk):
    two(desk)
    first = desk.call("run.show", run="v1").id
    desk.run(name="v1").end("done")
    desk.take()
    assert desk.call("run.show", run="v1").id != first


def test_curves_are_bucketed_and_all_when_none_is_named(desk):
    two(desk)
    all_ = desk.call("run.curve", run="v1", points=10)
    assert [one.key for one in all_.curves] == ["auc", "loss"]
    [loss] = desk.call("run.curve", run="v1", keys=["loss", "nothing"], points=10).curves
    assert loss.n == 50 and len(loss.step) == 10 == len(loss.mean) and loss.step[-1] == 49
    assert loss.max[0] == 1.0 and loss.min[-1] == pytest.approx(1 / 50)
    assert msgspec.json.encode(all_)


def test_comparing_shows_what_differs_and_all_when_asked(desk):
    two(desk)
    found = desk.call("run.compare", runs=["v1", "v2"])
    rows = {(one.what, one.key): one.values for one in found.rows}
    assert found.names == ["v1", "v2"]
    assert rows == {
        ("run", "git"): ["3fe10000", "3fe10000+"],
        ("metric", "auc"): [pytest.approx(0.749), pytest.approx(0.849)],
        ("param", "lr"): ["0.1", "0.2"],
    }
    everything = desk.call("run.compare", runs=["v1", "v2"], all=True)
    assert {("param", "depth"), ("metric", "loss"), ("run", "status")} <= {
        (one.what, one.key) for one in everything.rows if one.same
    }


def test_a_metric_that_one_run_lacks_or_that_is_no_number_is_shown_so(desk):
    two(desk)
    other = desk.run(name="v3")
    other.metrics({"auc": float("nan")}, 1)
    other.end("done")
    desk.take()
    rows = {one.key: one.values for one in desk.call("run.compare", runs=["v1", "v3"]).rows if one.what == "metric"}
    assert rows["auc"][1] == "NaN" and rows["loss"] == [pytest.approx(0.02), None]


def test_runs_are_listed_filtered_and_sorted(desk):
    two(desk)
    listed = desk.call("run.list", filter="status:done value>0.8", sort="-value")
    names = [column.name for column in listed.columns]
    assert names[0] == "id" and listed.total == 1
    row = dict(zip(names, listed.rows[0], strict=True))
    assert (row["name"], row["experiment"], row["metric"], row["git"]) == ("v2", "census", "auc", "3fe10000+")
    assert row["params"] == "lr=0.2 depth=3" and 0 < row["duration"] < 60_000_000
    assert [row[1] for row in desk.call("run.list", filter="params~lr=0.1").rows] == ["v1"]
    lost = "UPDATE run SET status = 'lost', ended = NULL WHERE name = 'v1'"  # as imported without its end
    desk.house.store.write(lambda session: session.execute(lost))
    took = {row[1]: row[names.index("duration")] for row in desk.call("run.list").rows}
    assert took == {"v1": None, "v2": row["duration"]}, "it does not go on and on"
    same = ("status = 'KILLED'", "attributes.status != 'FINISHED'", "status in ('KILLED', 'FAILED')", "took is null")
    for asked in same:  # MLflow's words, a label
        assert [row[1] for row in desk.call("run.list", filter=asked).rows] == ["v1"]
    view = desk.call("view.open", noun="run", sort="name")
    assert [row[1] for row in desk.call("view.page", view=view.view).rows] == ["v1", "v2"]


def test_a_part_of_a_curve_has_all_its_points(desk):
    two(desk)
    [part] = desk.call("run.curve", run="v1", keys=["loss"], points=10, first=20, last=24).curves
    assert part.step == [20, 21, 22, 23, 24] and part.mean[0] == pytest.approx(1 / 21) and part.n == 5
    [end] = desk.call("run.curve", run="v1", keys=["loss"], points=10, first=48).curves
    assert end.step == [48, 49]
    [none] = desk.call("run.curve", run="v1", keys=["loss"], first=100).curves
    assert none.step == []


def test_the_course_of_a_metric_is_a_column(desk):
    one = desk.run(name="falling")
    for step in range(24):
        one.metrics({"loss": float("nan") if step in (2, 3) else 24.0 - step}, step)
    one.end("done")
    other = desk.run(name="without")
    other.end("done")
    desk.take()
    view = desk.call("view.open", noun="run", sort="name", columns=["metrics.loss.curve", "metrics.loss"])
    assert [(column.name, column.kind) for column in view.columns[-2:]] == [
        ("metrics.loss.curve", "spark"),
        ("metrics.loss", "float"),
    ]
    first, second = desk.call("view.page", view=view.view).rows
    assert first[-2] == [23.5, None, *[19.5 - 2 * i for i in range(10)]] and first[-1] == 1.0
    assert second[-2:] == [None, None]


def test_runs_are_filtered_and_sorted_by_any_metric_or_parameter(desk):
    two(desk)
    other = desk.run(name="v3", params={"optimizer": "adam", "lr": "auto"})
    other.metrics({"val/auc": 0.9}, 1)
    other.end("done")
    desk.take()

    def names(**request):
        return [row[1] for row in desk.call("run.list", **request).rows]

    assert names(filter="auc>0.8") == ["v2"] and names(filter="val/auc>0.8") == ["v3"]
    assert names(filter="auc>0.1 depth=3", sort="-auc") == ["v2", "v1"]
    assert names(filter="optimizer:adam,sgd") == ["v3"] and names(filter="lr:0.1,auto", sort="name") == ["v1", "v3"]
    assert names(sort="auc") == ["v1", "v2", "v3"], "a run without the metric comes last"
    assert desk.call("view.open", noun="run", filter="-auc>0.8", sort="-auc").total == 2
    for wrong in ({"filter": "statsu:done"}, {"filter": "auc>high"}, {"sort": "nothing"}):
        with pytest.raises(BadInput):
            names(**wrong)


def test_an_experiment_shows_counts_and_its_best_run(desk):
    two(desk)
    bad = desk.run(name="v3")
    bad.metrics({"auc": float("inf")}, 1)
    bad.end("failed", 1, "boom")
    for loss in (0.4, 0.2, 0.3):
        run = desk.run(experiment="other", name=f"l{loss}")
        run.metrics({"loss": loss}, 1)
        run.end("done")
    desk.take()
    listed = desk.call("experiment.list", sort="name")
    rows = [dict(zip([column.name for column in listed.columns], row, strict=True)) for row in listed.rows]
    assert [(one["name"], one["runs"], one["failed"], one["metric"], one["best"]) for one in rows] == [
        ("census", 3, 1, "auc", pytest.approx(0.849)),
        ("other", 3, 0, "loss", 0.2),
    ]


def test_a_note_and_tags_are_kept_and_the_plan_tells_first(desk):
    two(desk)
    plan = desk.plan("run.note", run="v1", text="best so far")
    assert [(one.field, one.before, one.after) for one in plan.changes] == [("note", "", "best so far")]
    assert plan.cli.endswith("'best so far'") and desk.call("run.show", run="v1").note == ""
    desk.call("run.note", run="v1", text="best so far")
    desk.call("run.tag", run="v1", tags={"stage": "gold", "x": "1"})
    desk.call("run.tag", run="v1", tags={"x": ""})
    shown = desk.call("run.show", run="v1")
    assert (shown.note, shown.tags) == ("best so far", {"stage": "gold"})
    for wrong in ({}, {"": "x"}, {"a\nb": "x"}):
        with pytest.raises(BadInput):
            desk.call("run.tag", run="v1", tags=wrong)


def test_a_deleted_run_is_hidden_and_comes_back(desk):
    two(desk)
    run = desk.call("run.show", run="v1").id
    desk.call("run.delete", run="v1")
    assert [row[1] for row in desk.call("run.list").rows] == ["v2"]
    assert desk.call("experiment.list").rows[0][2] == 1
    assert desk.call("run.show", run="v1").deleted
    with pytest.raises(Conflict, match="deleted already"):
        desk.call("run.delete", run=run)
    desk.call("run.restore", run="v1")
    assert not desk.call("run.show", run="v1").deleted and desk.call("run.list").total == 2
    with pytest.raises(Conflict, match="not deleted"):
        desk.call("run.restore", run="v1")


def test_a_deleted_run_does_not_shadow_a_living_one_of_its_name(desk):
    two(desk)
    desk.run(name="v1").end("done")
    desk.take()
    newer = desk.call("run.show", run="v1").id
    desk.call("run.delete", run=newer)
    assert desk.call("run.show", run="v1").id != newer


def test_a_running_run_is_not_deleted(desk):
    run = desk.run()
    desk.take()
    with pytest.raises(Conflict, match="is running"):
        desk.call("run.delete", run="one")
    run.end("done")


def test_every_change_is_audited_and_told(desk):
    two(desk)
    desk.call("run.note", run="v1", text="x")
    assert desk.rows("SELECT action, actor, outcome FROM audit") == [("run.note", "tester", "done")]
    assert desk.rows("SELECT action, actor FROM event WHERE topic = 'run' ORDER BY seq DESC LIMIT 1") == [
        ("noted", "tester")
    ]


def test_a_log_is_searched(desk):
    run = desk.run(name="chatty")
    for text in ("epoch 1 loss 0.5", "WARNING: slow", "epoch 2 loss 0.4", "warning: slower", "a (b"):
        run.log(text)
    desk.take()

    def found(grep, **more):
        return desk.call("run.log", run="chatty", grep=grep, **more)

    assert found("epoch [0-9]+").lines == ["epoch 1 loss 0.5", "epoch 2 loss 0.4"]
    assert found("warning").lines == ["WARNING: slow", "warning: slower"] and found("WARNING").lines == [
        "WARNING: slow"
    ]
    assert found("epoch", lines=1).lines == ["epoch 2 loss 0.4"] and found(r"a \(b").lines == ["a (b"]
    first = found("nothing like it")
    assert first.lines == [] and first.last == 5
    run.log("warning: last")
    desk.take()
    assert found("warning", after=first.last).lines == ["warning: last"]
    with pytest.raises(BadInput, match="no regular expression"):
        found("a (b")
    run.end("done")
