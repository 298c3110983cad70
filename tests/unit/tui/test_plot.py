"""Charts as text: what is drawn where, and what is said beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlops_tui.contracts.run import Curve
from mlops_tui.tui.drawing.plot import Look, draw, lasts, window, x_name
from mlops_tui.tui.drawing.raster import Series, series, trend
from mlops_tui.tui.drawing.text import plain
from mlops_tui.tui.screens.runs.charts import series_of, spliced


def noisy(points=4000, spike=None):
    y = np.tile([0.4, 0.6], points // 2)
    if spike is not None:
        y[spike] = 3.0
    return Series("loss", np.arange(points, dtype=float), y, y, y)


def tokens(drawn, y):
    return {token for text, token in drawn.rows[y] if any(0x2800 < ord(c) < 0x2900 for c in text)}


def test_the_line_is_the_mean_and_how_far_points_lie_from_it_is_faint_behind():
    assert trend(noisy(), 0, 3999, 40).mid == pytest.approx(0.5, abs=0.02)
    drawn = draw([noisy()], [], Look(), 60, 12)
    seen = [tokens(drawn, y) for y in range(10)]
    assert [row for row in seen if "series-0" in row and len(row) == 1] and {"faint"} in seen


def test_a_spike_among_thousands_is_seen_behind_the_line():
    top = draw([noisy(spike=1234)], [], Look(), 60, 12)
    assert tokens(top, 0) == {"faint"}


def test_a_value_that_is_no_number_is_a_cross_on_the_axis():
    broken = series("loss", [0, 1, 2, 3], [1.0, 0.5, None, 0.4])
    axis = draw([broken], [], Look(), 40, 8).rows[-2]
    assert ("✖", "fail") in axis
    assert not any(token == "fail" for _, token in draw([noisy()], [], Look(), 40, 8).rows[-2])


def test_the_window_is_a_part_of_the_axis_and_moves():
    one = series("a", [0, 100], [1.0, 2.0])
    assert window([one], Look()) == (0, 100)
    assert window([one], Look(part=0.25)) == (75, 100)
    assert window([one], Look(part=0.25, right=0.5)) == (25, 50)


def test_the_crosshair_reads_the_nearest_point_of_each_series():
    two = [series("a", [0, 10, 20], [1.0, 2.0, 3.0]), series("b", [0, 10, 20], [5.0, 6.0, 7.0])]
    assert plain(draw(two, [], Look(at=11), 60, 8).reading) == "11  ● 2  ◆ 6"


def test_the_crosshair_reads_nothing_where_a_series_was_over():
    two = [series("a", [0, 100], [1.0, 2.0]), series("b", [0, 10, 20], [5.0, 6.0, 7.0])]
    assert plain(draw(two, [], Look(at=90), 60, 8).reading) == "90  ● 2  ◆ –"


def test_a_series_keeps_its_mark_where_another_is_missing():
    alone = series("third", [0, 1], [1.0, 2.0], place=2)
    assert plain(lasts([alone], 20)) == "▲ 2"


@pytest.mark.parametrize(
    ("axis", "value", "wanted"),
    [("step", 2500, "2,500"), ("elapsed", 90e6, "1m30s"), ("epoch", 2.5, "2.5"), ("step", 3.2e6, "3.2M")],
)
def test_places_on_the_axis_are_told_as_people_say_them(axis, value, wanted):
    assert x_name(value, axis, 1e9) == wanted


def curve(key, mean, ts=None):
    n = len(mean)
    return Curve(key=key, n=n, step=list(range(0, 10 * n, 10)), ts=ts or [0] * n, min=mean, max=mean, mean=mean)


def test_steps_become_epochs_and_time_since_the_start_never_runs_back():
    epochs = curve("epoch", [0.0, 1.0, 2.0])
    assert series_of(curve("loss", [3.0, 2.0, 1.0]), axis="epoch", epochs=epochs).x.tolist() == [0, 1, 2]
    loss = curve("loss", [3.0, 2.0, 1.0], ts=[100, 300, 200])
    assert series_of(loss, axis="elapsed", start=100).x.tolist() == [0, 200, 200]


def test_a_part_is_put_into_the_whole():
    far = curve("loss", [9.0, 8.0, 7.0, 6.0, 5.0])
    near = Curve(key="loss", n=3, step=[9, 15, 21], ts=[0] * 3, min=[1.0] * 3, max=[3.0] * 3, mean=[2.0] * 3)
    whole = spliced(far, near)
    assert whole.step == [0, 9, 15, 21, 30, 40] and whole.mean == [9.0, 2.0, 2.0, 2.0, 6.0, 5.0] and whole.n == 5


def test_a_logarithm_leaves_out_what_has_none():
    drawn = draw([series("a", [0, 1, 2], [0.0, 1.0, 100.0])], [], Look(log_y=True), 40, 10)
    assert math.isfinite(drawn.x1) and "100" in "".join(plain(row) for row in drawn.rows)


def test_each_step_of_a_short_run_is_named_once():
    short = series("loss", [0, 1, 2], [3.0, 2.0, 1.0])
    assert plain(draw([short], [], Look(), 90, 8).rows[-1]).split() == ["0", "1", "2"]
