"""Groups of runs: what their means and deviations are, and that the filter of a group finds its runs."""

from __future__ import annotations

import math
import statistics

import pytest

from mlops_tui.core.errors import BadInput

LOSSES = {"0.1": [0.5, 0.7, math.nan, 0.6], "0.01": [0.2, 0.4], "it's": [0.3], None: [0.9, 0.8]}


@pytest.fixture
def sweep(desk):
    for lr, losses in LOSSES.items():
        for seed, loss in enumerate(losses):
            params = {"seed": str(seed), "o`d d": "x"} | ({"lr": lr} if lr else {})
            writer = desk.run(name=f"{lr}-{seed}", params=params)
            writer.metrics({"val/loss": 5.0, "other": 1.0}, step=0)
            writer.metrics({"val/loss": loss}, step=1)
            writer.end("done")
    desk.take()
    return desk


def test_a_group_has_the_mean_and_deviation_of_its_finite_values(sweep):
    table = sweep.call("run.list", group_by=["lr"], metrics=["val/loss", "max(val/loss)"])
    assert [column.name for column in table.columns][1:5] == ["lr", "runs", "val/loss", "val/loss.std"]
    found = {row[1]: row[2:] for row in table.rows}
    assert found.keys() == LOSSES.keys() and table.total == 4
    for lr, losses in LOSSES.items():
        finite = [loss for loss in losses if math.isfinite(loss)]
        runs, mean, deviation, highest, none = found[lr]
        assert runs == len(losses) and mean == pytest.approx(statistics.mean(finite)) and highest == 5.0
        assert deviation == (pytest.approx(statistics.stdev(finite)) if len(finite) > 1 else None)
        assert none == (0.0 if len(losses) > 1 else None)
    assert [row[1] for row in table.rows] == ["it's", "0.01", "0.1", None]  # the smallest mean loss first


def test_the_filter_of_a_group_finds_its_runs(sweep):
    table = sweep.call("run.list", group_by=["params.lr", "`o``d d`"])
    for row in table.rows:
        assert len(sweep.call("run.list", filter=row[0]).rows) == row[3], row[0]


@pytest.mark.parametrize(("sort", "first"), [("lr", "0.01"), ("-lr", "0.1"), ("-runs", "0.1"), ("val/loss", "0.01")])
def test_groups_are_sorted_by_any_column(sweep, sort, first):
    table = sweep.call("run.list", filter="params.lr ~ ^0", group_by=["lr"], sort=sort, limit=1)
    assert table.rows[0][1] == first and table.total == 2


@pytest.mark.parametrize(
    ("ask", "why"),
    [({"group_by": ["data"]}, "several values"), ({"group_by": ["nope"]}, "no column"), ({"sort": "x"}, "sort groups")],
)
def test_what_makes_no_groups_is_told(sweep, ask, why):
    with pytest.raises(BadInput, match=why):
        sweep.call("run.list", **{"group_by": ["lr"], **ask})
