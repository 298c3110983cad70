"""The forest: its leaning is that of a well-known forest, and what says nothing weighs nothing."""

from __future__ import annotations

import numpy as np
import pytest

from mlops_tui.stats.forest import BINS, lean, numbers, words


def data(seed=0, n=400):
    rng = np.random.default_rng(seed)
    rate, depth, noise = rng.uniform(-4, -1, n), rng.integers(1, 6, n), rng.normal(size=n)
    optimizer = rng.choice(["adam", "sgd", "lion"], n)
    offset = np.array([{"adam": 0.0, "sgd": 1.5, "lion": 0.3}[one] for one in optimizer])
    y = 2 * (rate + 2.5) ** 2 + offset + 0.2 * depth + rng.normal(0, 0.1, n)
    return rate, depth, optimizer, noise, y


def test_it_leans_as_a_well_known_forest_does():
    ensemble = pytest.importorskip("sklearn.ensemble")
    from sklearn.inspection import permutation_importance

    rate, depth, optimizer, noise, y = data()
    found = lean([numbers(rate), numbers(depth), words(optimizer), numbers(noise)], y)
    table = np.stack([rate, depth, np.unique(optimizer, return_inverse=True)[1], noise], axis=1)
    half = len(y) // 2
    peer = ensemble.RandomForestRegressor(100, random_state=0).fit(table[:half], y[:half])
    told = permutation_importance(peer, table[half:], y[half:], n_repeats=5, random_state=0).importances_mean
    assert found.shares == pytest.approx(np.maximum(told, 0) / np.maximum(told, 0).sum(), abs=0.08)
    assert list(np.argsort(-found.shares)[:3]) == [0, 2, 1] and found.explained > 0.85


def test_what_says_nothing_weighs_nothing():
    rng = np.random.default_rng(1)
    y = rng.normal(size=200)
    found = lean([numbers(rng.normal(size=200)), words([f"id-{i}" for i in range(200)])], y)
    assert found.explained < 0.1
    strong = lean([numbers(y), words([f"id-{i}" for i in range(200)])], y)
    assert strong.shares[0] > 0.97 and strong.explained > 0.8  # names of their own are learned by heart, not leaned on


def test_the_same_seed_says_the_same():
    rate, depth, _, _, y = data()
    one, two = (lean([numbers(rate), numbers(depth)], y, seed=3, trees=8) for _ in range(2))
    assert np.array_equal(one.shares, two.shares) and one.explained == two.explained


def test_columns_are_binned():
    assert numbers([3.0, 1.0, 3.0, 2.0]).codes.tolist() == [2, 0, 2, 1]
    many = numbers(np.random.default_rng(0).normal(size=1000))
    assert many.codes.min() == 0 and many.codes.max() == BINS - 1
    assert np.bincount(many.codes).min() >= 25
    assert words(["a", "b", "b", *(f"w{i}" for i in range(99))]).codes.max() == BINS - 1


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="ten rows"):
        lean([numbers([1.0] * 9)], np.arange(9.0))
