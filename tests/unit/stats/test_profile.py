from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_tui.core.errors import BadInput
from mlops_tui.stats import bins, profile
from mlops_tui.stats.profile import CategoricalProfile, NumericProfile

numbers = st.lists(
    st.one_of(st.floats(allow_nan=True, allow_infinity=True, width=32), st.integers(-3, 3).map(float)), max_size=60
)
words = st.lists(st.one_of(st.none(), st.sampled_from("abcdef"), st.text(max_size=3)), max_size=60)


@given(numbers, numbers, numbers)
def test_numeric_counts_add_and_lose_nothing(reference, first, second):
    shape = profile.build(reference, "numeric")
    a, b = profile.count(shape, first), profile.count(shape, second)
    assert (a + b == profile.count(shape, first + second)).all()
    assert a.sum() == len(first)
    assert a.dtype == np.int64
    assert a[-1] == sum(not np.isfinite(x) for x in first)
    assert tuple(profile.count(shape, reference)) == shape.counts


@given(words, words, words)
def test_categorical_counts_add_and_lose_nothing(reference, first, second):
    shape = profile.build(reference, "categorical")
    a, b = profile.count(shape, first), profile.count(shape, second)
    assert (a + b == profile.count(shape, first + second)).all()
    assert a.sum() == len(first)
    assert a[-1] == first.count(None)
    assert a[-2] == sum(x is not None and x not in reference for x in first)
    assert tuple(profile.count(shape, reference)) == shape.counts
    assert profile.expected(shape).sum() == len(reference)


@given(st.one_of(numbers, words))
@settings(max_examples=60)
def test_bytes_round_trip(reference):
    shape = profile.build(reference)
    assert profile.from_bytes(profile.to_bytes(shape)) == shape


def test_bytes_of_something_else_are_refused():
    with pytest.raises(BadInput):
        profile.from_bytes(b'{"kind":"other"}')


@given(numbers)
def test_edges_and_centres_ascend(reference):
    shape = profile.build(reference, "numeric")
    assert (np.diff(shape.edges) > 0).all()
    assert (np.diff(shape.centres) >= 0).all()
    assert len(shape.edges) <= 513


def test_quantile_bins_are_even_and_heavy_values_stand_alone():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(50_000) < 0.4, 40.0, rng.normal(40, 10, 50_000))
    shape = profile.build(values)
    assert isinstance(shape, NumericProfile)
    alone = np.flatnonzero(shape.points)
    assert [shape.edges[i] for i in alone] == [40.0]
    counts = np.array(shape.counts[:-1])
    assert counts[alone[0]] == (values == 40).sum()
    assert np.delete(counts, alone).max() <= 50_000 / 256 + 1
    assert 100 < shape.size <= 515
    near = profile.count(shape, [39.999999, 40.0, 40.000001])
    assert near[alone[0] - 1 : alone[0] + 2].tolist() == [1, 1, 1]


def test_zero_stands_alone_too():
    shape = profile.build([0.0, 0.0, 0.0, -1.0, 1.0])
    at = next(i for i in np.flatnonzero(shape.points) if shape.edges[i] == 0)
    assert profile.count(shape, [0.0, -0.0, -1e-300, 1e-300])[at - 1 : at + 2].tolist() == [1, 2, 1]


def test_outside_the_reference_has_cells_of_its_own():
    shape = profile.build(np.arange(10_000.0))
    counts = profile.count(shape, [-1, -5, 0, 9_999, 10_000])
    assert (counts[0], counts[-2]) == (2, 1)
    assert (shape.counts[0], shape.counts[-2]) == (0, 0)


def test_large_offsets_keep_their_digits():
    values = 1.7e15 + np.arange(5000) / 4
    shape = profile.build(values)
    weights = np.array(shape.counts[:-1]) / 5000
    assert np.dot(np.array(shape.centres) - 1.7e15, weights) == pytest.approx(values.mean() - 1.7e15, abs=0.3)


def test_kinds_are_told_apart():
    assert isinstance(profile.build(np.array([1, 2])), NumericProfile)
    assert isinstance(profile.build([1.0, None, 2]), NumericProfile)
    assert isinstance(profile.build([True, False]), CategoricalProfile)
    assert isinstance(profile.build(["1", "2"]), CategoricalProfile)
    assert isinstance(profile.build([1, "2"]), CategoricalProfile)
    assert isinstance(profile.build([1, 2], "categorical"), CategoricalProfile)
    with pytest.raises(BadInput, match="no number"):
        profile.build(["a"], "numeric")
    with pytest.raises(BadInput):
        profile.count(profile.build([1.0, 2.0]), ["a"])


def test_masked_values_are_missing():
    masked = np.ma.array([1.0, 2.0, 7.0], mask=[False, False, True])
    shape = profile.build(masked)
    assert (shape.high, shape.counts[-1]) == (2.0, 1)
    assert profile.count(shape, masked)[-1] == 1
    words = np.ma.array(np.array(["a", "a", "b"], object), mask=[False, False, True])
    assert profile.build(words).categories == ("a",)
    assert profile.count(profile.build(words), words).tolist() == [2, 0, 0, 1]
    assert profile.build(np.ma.array([1, 1, 2], mask=[True, False, False]), "categorical").counts == (2, 0, 1)


def test_one_value_has_one_name_whatever_its_type():
    shape = profile.build(np.array([1, 1, 2, 2]), "categorical")
    for live in (np.array([1.0, 2.0]), np.array([True, True]), ["1", "2"], [1, "2.0".removesuffix(".0")]):
        assert profile.count(shape, live)[:2].sum() == 2
    assert [profile.category(x) for x in (None, float("nan"), 1.5, np.float32(2), False)] == [
        None,
        None,
        "1.5",
        "2",
        "0",
    ]


def test_rare_categories_are_other_and_new_ones_unseen():
    reference = [f"c{i % 1500}" for i in range(4000)] + ["once"]
    shape = profile.build(reference)
    assert len(shape.categories) == 1000
    counts = profile.count(shape, ["once", "c1499", "never", None])
    assert counts[-3:].tolist() == [2, 1, 1]
    assert shape.singles == 1
    assert profile.expected(shape)[-2] == 1


def test_too_many_categories_to_remember(monkeypatch):
    monkeypatch.setattr(profile, "KNOWN", 10)
    shape = profile.build([f"id{i}" for i in range(100)])
    assert shape.known is None
    assert profile.count(shape, ["new", "id3"])[-3:].tolist() == [2, 0, 0]
    assert tuple(profile.expected(shape)) == shape.counts


def test_an_empty_reference_still_counts():
    shape = profile.build([], "numeric")
    assert profile.count(shape, [1.0, float("nan")]).tolist() == [1, 1]
    assert profile.build([float("nan")] * 3).counts == (0, 3)
    assert profile.build([], "categorical").counts == (0, 0, 0)


def test_coarse_bars_read_like_a_legend():
    values = np.arange(1, 1001, dtype=float)
    shape = profile.build(values)
    bars = bins.coarse(shape, profile.count(shape, values[:500]))
    assert len(bars) == 10
    assert (bars[0].label, bars[-1].label) == ("≤ 98", "> 899")
    assert all(90 <= bar.reference <= 110 for bar in bars)
    assert sum(bar.live for bar in bars) == 500
    heavy = profile.build(np.repeat([1.0, 2.0, 3.0], [30, 50, 20]))
    labels = [bar.label for bar in bins.coarse(heavy, profile.count(heavy, [2.0, np.nan]))]
    assert {"= 1", "= 2", "= 3", "missing"} <= set(labels)
    assert "≥ 3" not in labels
    mixed = profile.build(np.concatenate([np.arange(0, 100) / 10, np.full(60, 20.0), np.full(60, 30.0), [31.0]]))
    assert [bar.label for bar in bins.coarse(mixed, profile.count(mixed, [20.0]), bins=2)] == ["< 20", "≥ 20"]
    names = profile.build(list("aaabbbccd"))
    bars = bins.coarse(names, profile.count(names, ["a", "z", "c"]), bins=2)
    assert [(bar.label, bar.reference, bar.live) for bar in bars] == [
        ("a", 3, 1),
        ("b", 3, 0),
        ("other", 3, 1),
        ("unseen", 0, 1),
    ]


@given(st.one_of(numbers, words), st.integers(1, 20))
def test_bars_keep_every_row(reference, width):
    shape = profile.build(reference)
    bars = bins.coarse(shape, profile.count(shape, reference), width)
    assert sum(bar.reference for bar in bars) == sum(bar.live for bar in bars) == len(reference)
    group = bins.groups(shape, width)
    assert sorted(set(group.tolist())) == list(range(int(group.max()) + 1))
