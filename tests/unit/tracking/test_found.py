"""Many runs at once: found whole and page by page, the best of them, and their table in a file."""

from __future__ import annotations

import csv
import io
import json
import math

import msgspec
import pytest

from mlops_tui.core.errors import BadInput, NotFound


@pytest.fixture
def sweep(desk):
    """Twelve runs over three learning rates and four seeds; one loss is NaN."""
    for lr in ("0.1", "0.01", "0.001"):
        for seed in range(4):
            writer = desk.run(name=f"lr{lr}-{seed}", params={"lr": lr, "seed": str(seed), "optim": "adam"})
            loss = math.nan if (lr, seed) == ("0.1", 3) else float(lr) + seed / 100
            writer.metrics({"loss": 9.0, "val auc": 0.5}, step=0)
            writer.metrics({"loss": loss, "val auc": 0.5 + seed / 10}, step=1)
            writer.tags({"team": "a"})
            writer.end("done")
    desk.take()
    return desk


def names(runs):
    return [run.name for run in runs]


def test_runs_are_found_whole(sweep):
    found = sweep.call("run.search", filter="metrics.`val auc` >= 0.8 and lr:0.1", order_by=["name"])
    assert found.next == "" and names(found.runs) == ["lr0.1-3"]
    run = found.runs[0]
    assert run.params == {"lr": "0.1", "seed": "3", "optim": "adam"} and run.tags["team"] == "a"
    assert run.metrics == {"loss": "NaN", "val auc": 0.8} and run.experiment == "census" and run.ended > run.started


@pytest.mark.parametrize("order", [[], ["-loss"], ["params.lr", "metrics.loss DESC"], ["optim", "name desc"]])
def test_pages_join_to_the_whole_whatever_comes_meanwhile(sweep, order):
    whole = names(sweep.call("run.search", order_by=order, limit=100).runs)
    assert len(whole) == 12
    pages, token = [], ""
    while True:
        page = sweep.call("run.search", order_by=order, limit=5, token=token)
        pages += names(page.runs)
        if not (token := page.next):
            break
        sweep.run(name="late", params={"lr": "0.1", "optim": "adam"}).metrics({"loss": math.inf}, step=0)
        sweep.take()
    assert [name for name in pages if name != "late"] == whole


def test_a_token_of_another_order_is_refused(sweep):
    token = sweep.call("run.search", limit=1).next
    for wrong in (token[:-4], "x", token):
        with pytest.raises(BadInput, match="Invalid page token"):
            sweep.call("run.search", limit=1, order_by=["name", "status"], token=wrong)


def test_the_best_of_a_metric_that_nobody_has_is_not_found(sweep):
    with pytest.raises(NotFound, match="no run has a metric 'nope'"):
        sweep.call("run.best", metric="nope")
    with pytest.raises(NotFound, match=r"'no/\{x\}'"):
        sweep.call("run.best", metric="no/{x}")


@pytest.mark.parametrize(
    ("metric", "goal", "first"),
    [
        ("loss", "auto", "lr0.001-0"),
        ("loss", "max", "lr0.1-2"),
        ("metrics.`val auc`", "auto", "lr0.001-3"),
        ("max(loss)", "min", "lr0.001-3"),
    ],
)
def test_the_best_run_is_the_first_and_never_nan(sweep, metric, goal, first):
    table = sweep.call("run.best", metric=metric, goal=goal, filter="lr:0.1 or lr<0.1", count=2)
    assert table.rows[0][1] == first and len(table.rows) == 2


def test_runs_become_a_table_in_a_file(sweep, tmp_path):
    text = sweep.call("run.export", filter="seed:3", order_by=["-params.lr"]).content.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["params.lr"] for row in rows] == ["0.1", "0.01", "0.001"]
    assert rows[0]["metrics.loss"] == "nan" and rows[1]["metrics.val auc"] == "0.8" and rows[0]["tags.team"] == "a"
    found = json.loads(sweep.call("run.export", form="json", limit=2).content)
    assert len(found) == 2 and found[0]["params"]["optim"] == "adam"


def test_parquet_keeps_kinds_and_nan(sweep, tmp_path):
    import duckdb

    sweep.run(name="now", params={'odd "key"': "x"})
    sweep.take()
    made = sweep.call("run.export", form="parquet", order_by=["-params.lr", "name"])
    assert (made.rows, made.total, made.name) == (13, 13, "runs.parquet")
    (tmp_path / "runs.parquet").write_bytes(made.content)
    rows = duckdb.sql(f"SELECT * FROM '{tmp_path}/runs.parquet'")
    kinds = dict(zip(rows.columns, map(str, rows.types), strict=True))
    assert kinds["started"] == "TIMESTAMP" and kinds["metrics.loss"] == "DOUBLE" and kinds["params.lr"] == "VARCHAR"
    found = {row[1]: dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()}
    assert math.isnan(found["lr0.1-3"]["metrics.loss"]) and found["now"]["metrics.loss"] is None
    assert found["now"]['params.odd "key"'] == "x" and found["now"]["ended"] is None
    assert not list((sweep.house.home.store / "tmp").iterdir())


def test_a_table_written_in_pieces_is_the_same(sweep, tmp_path, monkeypatch):
    import duckdb

    sweep.run(name="last", params={"LR": "upper", "empty": "", "quoted": 'a "b",\nc'})
    sweep.take()

    def made(form):
        return sweep.call("run.export", form=form, order_by=["name"]).content

    whole = {form: made(form) for form in ("csv", "json", "parquet")}
    monkeypatch.setattr("mlops_tui.tracking.search.wide.PIECE", 5)
    assert made("csv") == whole["csv"] and made("json") == whole["json"]
    for name, content in (("whole", whole["parquet"]), ("pieces", made("parquet"))):
        (tmp_path / name).write_bytes(content)
    both = [duckdb.sql(f"SELECT * FROM read_parquet('{tmp_path}/{name}')") for name in ("whole", "pieces")]
    assert both[0].columns == both[1].columns and repr(both[0].fetchall()) == repr(both[1].fetchall())
    rows = list(csv.DictReader(io.StringIO(whole["csv"].decode(), newline="")))
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows) and len(rows) == 13
    [last] = [row for row in rows if row["name"] == "last"]
    assert (last["params.LR"], last["params.lr"], last["params.quoted"]) == ("upper", "", 'a "b",\nc')
    assert [name for name in last if name.startswith("params.")] == sorted(
        name for name in last if name.startswith("params.")
    )
    found = sweep.call("run.search", order_by=["name"]).runs
    assert json.loads(whole["json"]) == msgspec.to_builtins(found), "JSON says the same as a search"
    monkeypatch.setattr("mlops_tui.tracking.search.wide.MOST_COLUMNS", 3)
    with pytest.raises(BadInput, match="fit into no table"):
        made("csv")
    assert sweep.call("run.export", filter="name:nobody").content.count(b"\n") == 1
    assert not list((sweep.house.home.store / "tmp").iterdir())
