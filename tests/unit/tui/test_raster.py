from __future__ import annotations

import math

import numpy as np
import pytest

from mlops_tui.tui.drawing.raster import Series, bounds, columns, decades, dots, series, smooth, text, ticks


def made(y, x=None):
    y = np.asarray(y, float)
    x = np.arange(len(y), dtype=float) if x is None else np.asarray(x, float)
    return Series("s", x, y, y, y)


def test_a_spike_among_a_million_points_survives():
    y = np.zeros(1_000_000)
    y[654_321] = 7.0
    low, high = columns(made(y), 0, 999_999, 50)
    assert np.nanmax(high) == 7.0
    assert int(np.nanargmax(high)) == round(654_321 / 999_999 * 99)
    assert np.nanmin(low) == 0.0


def test_extent_of_each_column_is_that_of_its_points():
    rng = np.random.default_rng(1)
    y = rng.normal(size=20_000)
    low, high = columns(made(y), 0, 19_999, 40)
    edges = (np.arange(81) - 0.5) / 79 * 19_999
    for c in range(80):
        inside = y[(np.arange(20_000) >= edges[c]) & (np.arange(20_000) < edges[c + 1])]
        assert low[c] <= inside.min() and high[c] >= inside.max()


def test_a_line_between_two_points_is_whole():
    low, high = columns(made([0.0, 10.0], [0, 19]), 0, 19, 10)
    assert np.isfinite(low).all() and np.isfinite(high).all()
    # Each column joins the one before: no step leaves a hole.
    assert (low[1:] <= high[:-1] + 1e-5).all()


def test_a_gap_is_a_gap():
    y = np.array([1.0, 1, 1, 1, math.nan, math.nan, math.nan, math.nan, 1, 1, 1, 1])
    low, high = columns(made(y), 0, 11, 6)
    bits = dots(low, high, 0, 2, 4)
    assert bits[:, 2].sum() == 0 or bits[:, 3].sum() == 0
    assert bits[:, 0].sum() > 0 and bits[:, 5].sum() > 0


def test_one_point_is_a_dot():
    low, high = columns(made([3.0]), 0, 1, 5)
    assert dots(low, high, 0, 5, 3).sum() > 0


def test_nothing_in_sight_draws_nothing():
    low, high = columns(made([1.0, 2.0]), 10, 20, 5)
    assert not np.isfinite(low).any()
    assert dots(low, high, 0, 1, 2).sum() == 0


def test_dots_stand_where_the_values_are():
    low = high = np.array([0.0, 1.0])
    rows = text(dots(low, high, 0.0, 1.0, 1))
    assert rows == [chr(0x2800 + 0x40 + 0x08)]


def test_a_band_fills_between_its_bounds():
    band = series("b", [0, 10], [5.0, 5.0], [0.0, 0.0], [10.0, 10.0], band=True)
    bits = dots(*columns(band, 0, 10, 4), 0, 10, 3)
    assert (bits == 0xFF).all()


def test_smoothing_is_unbiased_at_its_start_and_keeps_gaps():
    smoothed = smooth(made([2.0] * 10), 0.9).mid
    assert np.allclose(smoothed, 2.0)
    holed = smooth(made([1.0, math.nan, 3.0, 3.0]), 0.6).mid
    assert math.isnan(holed[1]) and 1.0 < holed[2] < 3.0


def test_last_is_the_newest_finite_value():
    assert made([1.0, 2.0, math.nan]).last == 2.0
    assert math.isnan(made([math.nan]).last)


def test_equal_series_compare_equal_and_changed_ones_do_not():
    assert series("a", [1, 2], [1.0, 2.0]) == series("a", [1, 2], [1.0, 2.0])
    assert series("a", [1, 2], [1.0, 2.0]) != series("a", [1, 2], [1.0, 2.5])


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.7, 12.9), (1e-7, 3e-7), (0, 1e9), (0.09, 2.41)])
def test_ticks_are_round_and_inside(low, high):
    found = ticks(low, high, 5)
    assert 2 <= len(found) <= 11
    assert all(low <= tick <= high * (1 + 1e-9) for tick in found)
    steps = np.diff(found)
    assert np.allclose(steps, steps[0])


def test_decades_have_their_halves_where_there_is_room():
    assert [round(10**mark, 6) for mark in decades(-1, 0.4, 9)] == [0.1, 0.2, 0.5, 1, 2]
    assert [round(10**mark, 6) for mark in decades(-3, 3, 4)] == [0.001, 0.01, 0.1, 1, 10, 100, 1000]


def test_bounds_of_nothing_and_of_one_value():
    assert bounds([np.array([])]) == pytest.approx((-0.02, 1.02), abs=0.2)
    low, high = bounds([np.array([5.0, 5.0])])
    assert low < 5 < high
