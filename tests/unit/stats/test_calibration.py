from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from mlops_tui.core.errors import BadInput
from mlops_tui.stats import calibration, profile, quality

scored = st.lists(
    st.tuples(st.integers(0, 30).map(lambda x: x / 30), st.integers(0, 1), st.integers(1, 5)), min_size=1, max_size=60
)


@given(scored, st.lists(st.floats(-1, 2), max_size=10))
def test_calibration_agrees_with_scikit_learn(rows, more):
    score, y, weight = (np.array(side, float) for side in zip(*rows, strict=True))
    ours = calibration.calibrate(y, score, weight)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(score, y, weight)
    where = np.concatenate([score, more])
    assert ours(where) == pytest.approx(theirs.predict(where), abs=1e-9)


@given(st.lists(st.floats(-10, 10), max_size=50))
def test_isotonic_is_ordered_and_keeps_the_mean(values):
    fitted = calibration.isotonic(values)
    assert (np.diff(fitted) >= 0).all()
    assert fitted.sum() == pytest.approx(sum(values), abs=1e-9)
    assert calibration.isotonic(fitted) == pytest.approx(fitted)


def world(rng, n, shift=0.0):
    """Scores of a model that is too sure of itself, and labels by the true probability."""
    x = rng.normal(shift, 1, n)
    return 1 / (1 + np.exp(-3 * x)), rng.random(n) < 1 / (1 + np.exp(-x))


def test_quality_is_estimated_without_labels_under_covariate_shift():
    rng = np.random.default_rng(0)
    score, y = world(rng, 30_000)
    calibrator = calibration.calibrate(y, score)
    for shift in (0.0, 1.0):
        live, truth = world(rng, 20_000, shift)
        found = calibration.expect(live, calibrator)
        assert found.accuracy.value == pytest.approx(((live >= 0.5) == truth).mean(), abs=0.015)
        assert found.roc_auc == pytest.approx(quality.roc_auc(truth, live), abs=0.015)
        assert found.positive_rate == pytest.approx(truth.mean(), abs=0.015)
        real = quality.confusion(truth, live >= 0.5, 2)
        assert np.array(found.confusion) == pytest.approx(real, rel=0.06)
        assert np.sum(found.confusion) == pytest.approx(20_000)
    uncalibrated = calibration.expect(live, calibration.Calibrator((0.0, 1.0), (0.0, 1.0)))
    assert abs(uncalibrated.accuracy.value - ((live >= 0.5) == truth).mean()) > 0.03


def test_counts_stand_for_rows():
    rng = np.random.default_rng(1)
    score, y = world(rng, 20_000)
    calibrator = calibration.calibrate(y, score)
    shape = profile.build(score)
    live = world(rng, 5000, 0.5)[0]
    binned = calibration.expect(shape.centres, calibrator, weights=profile.count(shape, live)[:-1])
    exact = calibration.expect(live, calibrator)
    assert binned.n == exact.n
    assert binned.accuracy.value == pytest.approx(exact.accuracy.value, abs=0.005)
    assert binned.roc_auc == pytest.approx(exact.roc_auc, abs=0.005)


def test_the_interval_covers_the_luck_of_the_labels():
    rng = np.random.default_rng(2)
    straight = calibration.Calibrator((0.0, 1.0), (0.0, 1.0))
    hits = []
    for _ in range(300):
        p = rng.random(400)
        found = calibration.expect(p, straight)
        hits.append(found.accuracy.low <= ((p >= 0.5) == (rng.random(400) < p)).mean() <= found.accuracy.high)
    assert 0.9 <= np.mean(hits) <= 0.99


def test_expected_auc_counts_no_row_against_itself():
    found = calibration.expect([0.2, 0.6], calibration.Calibrator((0.0, 1.0), (0.0, 1.0)))
    assert found.roc_auc == pytest.approx((0.6 * 0.8) / (0.6 * 0.8 + 0.2 * 0.4))
    certain = calibration.Calibrator((0.4, 0.6), (0.0, 1.0))
    assert calibration.expect([0.1, 0.9], certain).roc_auc == 1.0
    assert calibration.expect([0.9, 0.95], certain).roc_auc is None
    assert calibration.expect([], certain).accuracy.value is None


def test_bad_scores_are_refused_and_maps_travel():
    with pytest.raises(BadInput):
        calibration.calibrate([], [])
    with pytest.raises(BadInput):
        calibration.calibrate([0, 1], [0.1, float("inf")])
    made = calibration.calibrate([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    assert msgspec.json.decode(msgspec.json.encode(made), type=calibration.Calibrator) == made
