from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlops_tui.stats.estimate import Estimate, wilson
from mlops_tui.stats.multiple import benjamini_hochberg, holm


def test_a_limit_is_kept_broken_or_unsure():
    figure = Estimate(0.10, 0.08, 0.12)
    assert figure.against(0.13) == "pass"
    assert figure.against(0.12) == "pass"
    assert figure.against(0.11) == "unsure"
    assert figure.against(0.07) == "fail"
    assert figure.against(0.07, "at_least") == "pass"
    assert figure.against(0.09, "at_least") == "unsure"
    assert figure.against(0.13, "at_least") == "fail"
    assert Estimate(None).against(1.0) == "unsure"


def test_around_is_the_normal_interval():
    figure = Estimate.around(1.0, 0.5, 0.9)
    assert (figure.low, figure.high) == pytest.approx(stats.norm.interval(0.9, 1.0, 0.5))


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_agrees_with_scipy(successes, failures):
    n = successes + failures
    ours = wilson(successes, n)
    theirs = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_without_rows_is_undefined():
    assert wilson(0, 0).value is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_benjamini_hochberg_agrees_with_scipy(p_values):
    assert benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values), abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    ordered = sorted(p_values)
    running, expected = 0.0, {}
    for i, p in enumerate(ordered):
        running = max(running, min(1.0, p * (len(ordered) - i)))
        expected.setdefault(p, running)
    ours = holm(p_values)
    assert all(expected[p] <= adjusted + 1e-12 for p, adjusted in zip(p_values, ours, strict=True))
    assert ours[np.argmax(p_values)] == pytest.approx(running)
    assert (holm(p_values) <= np.minimum(1, np.array(p_values) * len(p_values)) + 1e-12).all()


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
