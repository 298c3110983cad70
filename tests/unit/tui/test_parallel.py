"""Parallel coordinates: where values lie, what a range lets through, and that every run has its line."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlops_tui.contracts.analysis import Trials
from mlops_tui.store.search import parse
from mlops_tui.tui.drawing import parallel
from mlops_tui.tui.drawing.parallel import Axis, Limits, Pose
from mlops_tui.tui.drawing.text import plain, width
from mlops_tui.tui.screens.runs import analysis_lines as written

RATES = [f"{10.0**-i:g}" for i in range(8)]


def test_numbers_lie_by_their_size_and_over_decades_by_their_logarithm():
    wide, even = Axis("lr", "lr", RATES), Axis("n", "n", [str(i) for i in range(8)])
    assert wide.log and not even.log
    for axis in (wide, even):
        assert np.allclose(sorted(axis.places), np.linspace(0, 1, 8))
    assert {*Axis("lr", "lr", RATES).labels(16).values()} >= {"0.1", "0.001"}


def test_words_and_few_numbers_lie_in_even_steps_and_a_run_without_one_at_the_foot():
    axis = Axis("opt", "opt", ["sgd", None, "adam", "lion"])
    assert [axis.places[2], axis.places[3], axis.places[0]] == [0, 0.5, 1] and math.isnan(axis.places[1])
    assert [stop.name for stop in axis.stops(9)] == ["sgd", "lion", "adam", "(none)"]
    assert axis.labels(9)[8] == "(none)" and axis.dots(9)[1] > axis.dots(9)[2]
    assert [stop.name for stop in Axis("d", "d", ["8", "16", "2"]).stops(9)] == ["16", "8", "2"]


@pytest.mark.parametrize(
    "values", [RATES, [str(i) for i in range(8)], ["b", "a", "c"], ["1", None, "2"], [*RATES, None]]
)
@pytest.mark.parametrize("rows", [2, 6, 17])
def test_the_whole_axis_lets_all_through_and_one_stop_what_lies_there(values, rows):
    axis = Axis("x", "params.`x`", values)
    stops = axis.stops(rows)
    assert axis.limits(stops, 0, len(stops) - 1).holds(values).all()
    held = np.array([axis.limits(stops, i, i).holds(values) for i in range(len(stops))])
    assert held.any(0).all()  # there is no value that no stop finds
    for i in range(len(stops)):
        parse(axis.limits(stops, i, i).filter(axis.key)) if held[i].any() else None


def test_a_range_is_a_filter():
    assert Limits(0.001, 0.1).filter("params.`lr`") == "params.`lr`:0.001..0.1"
    assert Limits(words=("it's", "b")).filter("params.`o`") == "params.`o` in ('it''s', 'b')"
    assert Limits(words=("b", None)).filter("o") == "(o in ('b') or o is null)" and Limits(words=(None,)).filter("o")
    for text in ("params.`lr`:0.001..0.1", "params.`o` in ('it''s', 'b')", "(o in ('b') or o is null)"):
        parse(text)


def test_every_run_has_its_line_and_the_best_lies_above():
    axes = [Axis("a", "a", ["1", "2", "1"]), Axis("y", "y", ["0.9", "0.5", "0.1"])]
    ink = parallel.ink(axes, np.array([True, True, False]), 40, 8)
    assert [bool(bits.any()) for bits in ink.bits] == [True, True, False, True]  # best, middle, worst, outside
    rows = parallel.draw(axes, ink, Pose(stop=1, limits={"a": Limits(words=("1",))}), focused=True)
    assert [width(row) for row in rows] == [40] * 9 and plain(rows[0]).split() == ["a", "y"]
    text = [plain(row) for row in rows[1:]]
    assert text[-1].startswith("◆1") and "●" in text[0] and text[0].split()[-1] == "0.9"
    tokens = {token for row in rows for _, token in row}
    assert {"series-0", "series-1", "line", "accent"} <= tokens and "series-2" not in tokens


@pytest.mark.parametrize("runs", [1, 2, 3, 4, 1000])
def test_a_quarter_is_best_and_a_quarter_worst(runs):
    found = parallel.classes(runs).tolist()
    assert found == sorted(found) and found.count(parallel.BEST) == max(1, runs // 4)
    assert runs == 1 or found.count(parallel.WORST) == max(1, runs // 4)


def test_at_first_groups_leave_out_the_seed_and_what_makes_groups_of_one():
    seeds, names = ["0", "1", "0", "1"], ["a", "b", "c", "d"]
    params = {"lr": ["1", "1", "2", "2"], "seed": seeds, "name": names, "opt": ["x", "y", "y", "y"]}
    trials = Trials(
        metric="metrics.loss", lower_is_better=True, runs=list("abcd"), names=list("abcd"), values=[1.0] * 4,
        params=params, total=4,
    )  # fmt: skip
    assert written.first_keys(trials, []) == ["lr"] and written.first_keys(trials, ["opt", "lr"]) == ["opt"]
    assert [axis.name for axis in written.axes(trials, ["opt"])] == ["opt", "lr", "seed", "name", "loss"]


@pytest.mark.parametrize(
    ("key", "name"),
    [("metrics.loss", "loss"), ("metrics.`a``b`", "a`b"), ("`metrics.val auc`", "val auc"), ("min(loss)", "min(loss)")],
)
def test_a_metric_is_called_as_it_was_logged(key, name):
    assert written.plain_name(key) == name
