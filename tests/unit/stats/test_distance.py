from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance as oracle

from mlops_tui.stats import distance, profile

cells = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=30).filter(
    lambda rows: all(sum(side) for side in zip(*rows, strict=True))
)
samples = st.lists(st.one_of(st.floats(-1e6, 1e6), st.integers(-4, 4).map(float)), min_size=1, max_size=80)


@given(cells)
def test_counts_agree_with_scipy(rows):
    ref, live = np.array(rows).T
    assert distance.js_distance(ref, live) == pytest.approx(oracle.jensenshannon(ref, live, 2), abs=1e-9)
    assert distance.js_distance(ref, live, math.e) == pytest.approx(oracle.jensenshannon(ref, live), abs=1e-9)
    filled = (ref + live) > 0
    if filled.sum() > 1:
        theirs = stats.chi2_contingency(np.stack([ref, live])[:, filled], correction=False)
        ours = distance.chi_squared(ref, live)
        assert ours == pytest.approx((theirs.statistic, theirs.dof, theirs.pvalue), abs=1e-9)
    p, q = np.maximum(ref, 0.5) / ref.sum(), np.maximum(live, 0.5) / live.sum()
    assert distance.psi(ref, live) == pytest.approx(
        (stats.entropy(p, q) + math.log(p.sum() / q.sum())) * p.sum()
        + (stats.entropy(q, p) + math.log(q.sum() / p.sum())) * q.sum(),
        abs=1e-9,
    )


def test_psi_on_a_worked_example():
    assert distance.psi([50, 50], [25, 75]) == pytest.approx(0.25 * math.log(2) + 0.25 * math.log(1.5))


@pytest.mark.filterwarnings("ignore:divide by zero")
@given(samples, samples)
def test_values_agree_with_scipy(a, b):
    ks, w1 = distance.ks_w1(a, b)
    assert ks == pytest.approx(stats.ks_2samp(a, b, method="asymp").statistic, abs=1e-9)
    assert w1 == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-9, abs=1e-9)


@given(samples, samples)
def test_the_binned_statistic_surely_holds_the_exact_one(a, b):
    shape = profile.build(a)
    low, high = distance.ks_binned(shape.counts[:-1], profile.count(shape, b)[:-1], shape.points)
    exact = distance.ks_w1(a, b)[0]
    assert low - 1e-9 <= exact <= high + 1e-9


def test_the_binned_statistic_is_exact_for_few_different_values():
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 40, 5000), rng.integers(2, 45, 3000)
    shape = profile.build(a)
    low, high = distance.ks_binned(shape.counts[:-1], profile.count(shape, b)[:-1], shape.points)
    assert low == pytest.approx(distance.ks_w1(a, b)[0], abs=1e-12)
    assert high - low < 0.02


def test_binned_figures_are_close_to_the_exact_ones():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 20_000), rng.normal(0.2, 1.1, 20_000)
    shape = profile.build(a)
    ref, live = shape.counts[:-1], profile.count(shape, b)[:-1]
    ks, w1 = distance.ks_w1(a, b)
    low, high = distance.ks_binned(ref, live, shape.points)
    assert high - low < 0.01
    assert distance.w1_binned(ref, live, shape.centres) == pytest.approx(w1, rel=0.02)
    assert low <= ks <= high


@given(st.floats(0, 1), st.integers(1, 5000), st.integers(1, 5000))
def test_ks_p_value_agrees_with_scipy(d, n, m):
    assert distance.ks_p_value(d, n, m) == pytest.approx(stats.kstwobign.sf(d * math.sqrt(n * m / (n + m))), abs=1e-9)


@given(st.integers(0, 50), st.integers(50, 2000), st.integers(0, 50), st.integers(50, 2000))
def test_the_p_value_of_a_share_errs_to_the_safe_side(reference, n, live, m):
    ours = distance.share_p_value(reference, n, live, m)
    law = stats.hypergeom(n + m, m, reference + live)
    exact = min(1.0, 2 * min(law.sf(live - 1), law.cdf(live)))
    share = m / (n + m)
    binomial = stats.binom(reference + live, share)
    assert ours == pytest.approx(min(1.0, 2 * min(binomial.sf(live - 1), binomial.cdf(live))), abs=1e-9)
    if exact < 0.01:
        assert ours >= exact * (1 - 1e-9)


def test_js_excess_takes_off_what_chance_makes():
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.full(10, 5.0))
    pairs = [(rng.multinomial(5000, p), rng.multinomial(200, p)) for _ in range(2000)]
    average = np.mean([distance.js_divergence(a, b) for a, b in pairs])
    assert average == pytest.approx(9 * (1 / 5000 + 1 / 200) / 8, rel=0.05)
    raw = np.mean([distance.js_distance(a, b) >= 0.1 for a, b in pairs])
    beyond = np.mean([distance.js_excess(a, b) >= 0.1 for a, b in pairs])
    assert raw > 0.2
    assert beyond < 0.03
    apart = distance.js_excess([1000, 0], [0, 1000])
    assert apart == pytest.approx(1.0, abs=1e-3)


@given(cells)
def test_pooling_keeps_rows_and_leaves_no_rare_cell(rows):
    ref, live = np.array(rows).T
    a, b = distance.pool(ref, live)
    assert (a.sum(), b.sum()) == (ref.sum(), live.sum())
    smaller = min(ref.sum(), live.sum()) / (ref.sum() + live.sum())
    if smaller * (ref.sum() + live.sum()) >= 5 and a.size > 2:
        assert ((a + b)[a + b > 0] * smaller >= 5 - 1e-9).all()


def test_nothing_to_compare_is_no_difference():
    assert distance.chi_squared([5, 0], [7, 0]) == (0.0, 0, 1.0)
    assert distance.js_excess([0, 0], [1, 2]) == 0.0
    assert distance.ks_p_value(0.5, 0, 3) == 1.0
