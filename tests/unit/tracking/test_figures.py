"""Figures: well-formed whatever a run is called, with every run in its place."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.tracking.analysis import svg

SPACE = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def sweep(desk):
    for i in range(12):
        given = {"lr": f"{10.0 ** -(i % 4):g}", "optim": ["adam", '<b>&"\x1b[31m'][i % 2], "seed": str(i)}
        params = given if i else {"lr": "1", "seed": "0"}
        writer = desk.run(name=f"run {i} <&>\x1b", params=params)
        for step in range(30):
            writer.metrics({"loss": math.nan if step == 3 else 1.0 / (step + 1) - (i == 5) * 0.5}, step=step * 10)
        writer.end("done")
    desk.take()
    return desk


def drawn(figure):
    root = ElementTree.fromstring(figure.content)
    lines = [
        [tuple(map(float, point.split(","))) for point in one.get("points").split()]
        for one in root.iter(f"{SPACE}polyline")
    ]
    return lines, [one.text for one in root.iter(f"{SPACE}text")]


def test_curves_are_drawn_over_each_other(sweep):
    figure = sweep.call("run.figure", metric="loss", filter="seed:1,2,3", smooth=0.5)
    lines, texts = drawn(figure)
    curves = [one for one in lines if len(one) > 2]
    assert len(curves) == 3 == figure.runs and all(len(one) == 29 for one in curves)  # NaN is a gap in the list
    assert all(one[0][1] < one[-1][1] for one in curves)  # a falling loss falls on the screen
    assert {"run 1 <&> ", "step", "0", "100"} - {one.replace("\x1b", "") for one in texts} <= {"run 1 <&> "}
    assert any(one.startswith("run 1 <&>") for one in texts) and not any("\x1b" in one for one in texts)


def test_a_logarithm_leaves_out_what_has_none(sweep):
    lines, _ = drawn(sweep.call("run.figure", metric="loss", runs=["run 5 <&>\x1b"], log=True))
    assert max(map(len, lines)) == 2  # 1/(n+1) - 0.5 is above 0 at one step alone: no curve but the legend's line
    with pytest.raises(NotFound, match="none of these"):
        sweep.call("run.figure", metric="nope")


def test_axes_of_time(sweep):
    for axis in ("time", "relative"):
        lines, texts = drawn(sweep.call("run.figure", metric="loss", filter="seed:1", axis=axis))
        assert any("second" in one or "1970" in one for one in texts) and lines


def test_parallel_coordinates_have_a_line_a_run(sweep):
    figure = sweep.call("run.parallel", metric="max(loss)", params=["lr", "optim"])
    lines, texts = drawn(figure)
    runs = [one for one in lines if len(one) == 3]
    assert len(runs) == 12 == figure.runs
    assert {"lr", "optim", "max(loss)", "adam", "(none)"} <= set(texts)
    assert len({one[1][1] for one in runs}) == 3  # two words and none
    places = sorted({one[0][1] for one in runs}, reverse=True)
    assert len(places) == 4 and [place for place, *_ in (one[0][::-1] for one in runs)].count(places[3]) == 3
    chosen = sweep.call("run.parallel", metric="loss")
    assert chosen.runs == 12 and "seed" in drawn(chosen)[1]


@pytest.mark.parametrize(
    ("ask", "why"), [({"params": ["nope"]}, "does not differ"), ({"filter": "seed:1"}, "no parameter differs")]
)
def test_what_cannot_be_drawn_is_told(sweep, ask, why):
    with pytest.raises((BadInput, NotFound), match=why):
        sweep.call("run.parallel", metric="loss", **ask)


def test_scales_have_round_ticks():
    assert svg.scale([0, 10], 0, 100).ticks() == [0, 2, 4, 6, 8, 10]
    assert svg.scale([1e-4, 1e-1], 0, 100, log=True).ticks() == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    assert svg.scale([5, 5], 0, 100).place(5) == 50 and svg.scale([], 0, 1).ticks()
    assert svg.scale([1e-3, 1e-1], 0, 100, log=True).place(1e-2) == pytest.approx(50)
