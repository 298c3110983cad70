from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from mlops_tui.core.errors import BadInput
from mlops_tui.stats import quality

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20).map(lambda x: x / 20)), min_size=1, max_size=60)


@given(rows)
@settings(max_examples=60)
def test_two_classes_agree_with_scikit_learn(pairs):
    y, p = (np.array(side) for side in zip(*pairs, strict=True))
    ours = quality.evaluate(y, p, draws=20)
    guess = p >= 0.5
    assert ours.accuracy.value == pytest.approx(metrics.accuracy_score(y, guess))
    assert ours.f1.value == pytest.approx(metrics.f1_score(y, guess, zero_division=0))
    assert ours.log_loss.value == pytest.approx(
        metrics.log_loss(y, np.clip(p, 1e-15, 1 - 1e-15), labels=[0, 1]), rel=1e-4
    )
    assert ours.brier.value == pytest.approx(metrics.brier_score_loss(y, p, labels=[0, 1], pos_label=1))
    assert np.array(ours.confusion).tolist() == metrics.confusion_matrix(y, guess, labels=[0, 1]).tolist()
    if len(set(y.tolist())) == 2:
        assert ours.balanced_accuracy.value == pytest.approx(metrics.balanced_accuracy_score(y, guess))
        assert ours.roc_auc.value == pytest.approx(metrics.roc_auc_score(y, p), abs=1e-12)
        assert quality.roc_auc(y, p) == pytest.approx(ours.roc_auc.value)
    else:
        assert ours.roc_auc.value is None
        assert quality.roc_auc(y, p) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**6)), min_size=1, max_size=40))
@settings(max_examples=40)
def test_more_classes_agree_with_scikit_learn(pairs):
    y = np.array([pair[0] for pair in pairs])
    p = np.random.default_rng(pairs[0][1]).dirichlet(np.ones(4), len(y))
    ours = quality.evaluate(y, p, draws=20)
    guess = p.argmax(1)
    assert ours.accuracy.value == pytest.approx(metrics.accuracy_score(y, guess))
    assert ours.f1.value == pytest.approx(metrics.f1_score(y, guess, labels=range(4), average="macro", zero_division=0))
    assert ours.log_loss.value == pytest.approx(metrics.log_loss(y, p, labels=range(4)))
    assert ours.brier.value == pytest.approx(((p - np.eye(4)[y]) ** 2).sum(1).mean())
    recall = metrics.recall_score(y, guess, labels=sorted(set(y.tolist())), average="macro", zero_division=0)
    assert ours.balanced_accuracy.value == pytest.approx(recall)


def test_calibration_error_by_hand():
    assert quality.ece([0, 1, 1, 1], [0.05, 0.65, 0.65, 0.95]) == pytest.approx((0.05 + 2 * 0.35 + 0.05) / 4)
    assert quality.ece([0, 0], [1.0, 0.0]) == pytest.approx(0.5)
    assert quality.ece([0, 1], [[0.6, 0.3, 0.1], [0.6, 0.3, 0.1]]) == pytest.approx(0.1)
    assert quality.ece([], []) is None


def test_bootstrap_intervals_cover_and_repeat():
    rng = np.random.default_rng(0)
    covered = 0
    for i in range(200):
        right = rng.binomial(300, 0.8)
        cells = np.array([[right, 300 - right], [0, 0]])
        figure = quality.bootstrap(cells, quality.accuracy, draws=400, seed=i)
        covered += figure.low <= 0.8 <= figure.high
    assert 0.9 <= covered / 200 <= 0.99
    again = quality.bootstrap(cells, quality.accuracy, draws=400, seed=3)
    assert again == quality.bootstrap(cells, quality.accuracy, draws=400, seed=3)
    assert again != quality.bootstrap(cells, quality.accuracy, draws=400, seed=4)
    assert again.high - again.low == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / 300), rel=0.2)


def test_delong_covers():
    rng = np.random.default_rng(1)
    truth = 0.7602  # P(N(1,1) > N(0,1))
    hits = []
    for _ in range(400):
        y = np.arange(200) % 2
        figure = quality.delong(y, rng.normal(y, 1))
        hits.append(figure.low <= truth <= figure.high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_delong_is_the_variance_of_the_placements():
    rng = np.random.default_rng(4)
    ones, zeros = rng.integers(2, 9, 12).astype(float), rng.integers(0, 7, 40).astype(float)
    wins = (ones[:, None] > zeros) + (ones[:, None] == zeros) / 2
    error = np.sqrt(wins.mean(1).var(ddof=1) / 12 + wins.mean(0).var(ddof=1) / 40)
    figure = quality.delong([1] * 12 + [0] * 40, np.concatenate([ones, zeros]), level=0.5)
    assert figure.value == pytest.approx(wins.mean())
    assert figure.high - figure.low == pytest.approx(2 * 0.6744898 * error)


def test_confusion_counts_add():
    rng = np.random.default_rng(2)
    y, guess = rng.integers(0, 3, 100), rng.integers(0, 3, 100)
    parts = quality.confusion(y[:40], guess[:40], 3) + quality.confusion(y[40:], guess[40:], 3)
    assert (parts == quality.confusion(y, guess, 3)).all()
    assert (parts == metrics.confusion_matrix(y, guess)).all()


def test_no_rows_are_undefined_not_wrong():
    empty = quality.evaluate([], [])
    assert (empty.n, empty.accuracy.value, empty.log_loss.value, empty.roc_auc.value) == (0, None, None, None)
    single = quality.evaluate([1], [0.9])
    assert single.log_loss.low is None
    assert msgspec.json.decode(msgspec.json.encode(single), type=quality.Quality) == single


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ([0, 1], [0.5], "length"),
        ([0, 2], [0.5, 0.5], "out of range"),
        ([0, 1], [0.5, 1.5], "between 0 and 1"),
        ([0, 1], [0.5, float("nan")], "between 0 and 1"),
    ],
)
def test_bad_input_is_refused(y, p, words):
    with pytest.raises(BadInput, match=words):
        quality.evaluate(y, p)


def test_confusion_refuses_bad_input():
    with pytest.raises(BadInput):
        quality.confusion([0, 3], [0, 1], 2)
    with pytest.raises(BadInput):
        quality.confusion([0], [0, 1], 2)
