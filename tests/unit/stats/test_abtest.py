from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlops_tui.core.errors import BadInput
from mlops_tui.stats import abtest, power, sequential
from mlops_tui.stats.abtest import Plan
from mlops_tui.stats.arms import Arm, fixed, p_better, two_proportions, welch

counts = st.tuples(st.integers(0, 300), st.integers(1, 300)).map(lambda x: (x[0], x[0] + x[1]))
values = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(values, values)
def test_welch_agrees_with_scipy(a, b):
    ours = welch(Arm.of_values(a), Arm.of_values(b))
    assert ours.difference.value == pytest.approx(np.mean(b) - np.mean(a), abs=1e-9)
    if np.std(a) > 0.1 or np.std(b) > 0.1:
        theirs = stats.ttest_ind(b, a, equal_var=False)
        assert ours.p_value == pytest.approx(theirs.pvalue, abs=1e-6)
        interval = theirs.confidence_interval()
        assert (ours.difference.low, ours.difference.high) == pytest.approx((interval.low, interval.high), abs=1e-6)


@given(counts, counts)
def test_two_proportions_is_the_uncorrected_chi_squared_test(a, b):
    table = np.array([[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]])
    ours = two_proportions(Arm.of_counts(*a), Arm.of_counts(*b))
    if table.sum(0).all():
        assert ours.p_value == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, abs=1e-9)
    else:
        assert ours.p_value == 1.0


@given(values, values)
def test_arms_add(a, b):
    both, whole = Arm.of_values(a) + Arm.of_values(b), Arm.of_values(a + b)
    assert (both.n, both.mean, both.variance) == pytest.approx((whole.n, whole.mean, whole.variance), abs=1e-9)
    assert whole.variance == pytest.approx(np.var(a + b, ddof=1), abs=1e-6)
    assert (Arm.of_counts(1, 3) + Arm.of_counts(2, 4)) == Arm.of_counts(3, 7)


@given(counts, counts)
def test_p_better_is_millers_sum(a, b):
    """Miller 2015, "Formulas for Bayesian A/B testing": a closed form for whole numbers."""
    from scipy.special import betaln

    a1, a0, b1, b0 = 1 + a[0], 1 + a[1] - a[0], 1 + b[0], 1 + b[1] - b[0]
    i = np.arange(b1)
    exact = np.exp(betaln(a1 + i, a0 + b0) - np.log(b0 + i) - betaln(1 + i, b0) - betaln(a1, a0)).sum()
    assert p_better(Arm.of_counts(*a), Arm.of_counts(*b)) == pytest.approx(exact, abs=1e-9)


def test_p_better_of_large_and_of_other_arms():
    assert p_better(Arm.of_counts(100_000, 1_000_000), Arm.of_counts(100_500, 1_000_000)) == pytest.approx(
        0.881, abs=0.002
    )
    assert p_better(Arm.of_values([1.0, 2.0]), Arm.of_counts(1, 2)) is None


@given(counts, counts, st.sampled_from([0.01, 0.05, 0.2]))
def test_the_p_value_and_the_interval_always_agree(a, b, alpha):
    arms = Arm.of_counts(*a), Arm.of_counts(*b)
    gap = sequential.difference(*arms, alpha)
    if gap.low is None or min(abs(gap.low), abs(gap.high)) < 1e-9:
        return
    assert (sequential.p_value(*arms, alpha) < alpha) == (gap.low > 0 or gap.high < 0)


def test_half_width_by_hand():
    rho = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / 5000
    by_hand = 2.0 * math.sqrt(2 * (400 * rho + 1) / (400**2 * rho) * math.log(math.sqrt(400 * rho + 1) / 0.05))
    assert sequential.half_width(4.0 / 400, 400, 0.05) == pytest.approx(by_hand)


def test_the_lift_is_as_wide_as_the_ratio_of_two_noisy_means():
    rng = np.random.default_rng(12)
    a, b = rng.normal(2.0, 1.0, 4000), rng.normal(3.0, 1.0, 4000)
    ratios = rng.normal(3.0, 1 / math.sqrt(4000), 20_000) / rng.normal(2.0, 1 / math.sqrt(4000), 20_000)
    found = sequential.lift(Arm.of_values(a), Arm.of_values(b))
    assert found.value == pytest.approx(0.5, abs=0.03)
    assert (found.high - found.low) / 2 == pytest.approx(sequential.half_width(ratios.var(), 8000, 0.05), rel=0.05)


def test_tuning_decides_where_the_interval_is_tightest():
    width = {t: sequential.half_width(1 / 5000, 5000, 0.05, t) for t in (500, 2500, 5000, 10_000, 50_000)}
    assert min(width, key=width.get) == 5000
    assert (width[500] / width[5000], width[50_000] / width[5000]) == pytest.approx((1.07, 1.27), abs=0.01)


def test_msprt_is_the_mixture_it_says():
    gap, variance, tau = 0.3, 0.02, 0.1
    grid = np.linspace(-3, 3, 20001)
    mixed = np.trapezoid(
        stats.norm.pdf(gap, grid, math.sqrt(variance)) * stats.norm.pdf(grid, 0, math.sqrt(tau)), grid
    ) / stats.norm.pdf(gap, 0, math.sqrt(variance))
    assert sequential.msprt_p_value(gap, variance, tau) == pytest.approx(1 / mixed, rel=1e-6)
    assert sequential.msprt_p_value(0.0, variance, tau) == 1.0
    assert (sequential.msprt_p_value(0.0, 0.0, tau), sequential.msprt_p_value(0.1, 0.0, tau)) == (1.0, 0.0)


@pytest.mark.parametrize("rate", [0.2, 0.01])
def test_peeking_a_hundred_times_is_safe_here_and_was_not(rate):
    rng = np.random.default_rng(8)
    peeks = np.cumsum(rng.binomial(100, rate, (2, 400, 100)), axis=2)
    ours, naive = np.zeros(400, bool), np.zeros(400, bool)
    for i in range(400):
        for k in range(100):
            a, b = (Arm.of_counts(int(side[i, k]), 100 * (k + 1)) for side in peeks)
            ours[i] |= sequential.p_value(a, b) < 0.05
            naive[i] |= two_proportions(a, b).p_value < 0.05
    assert ours.mean() <= 0.05
    assert naive.mean() > 0.25


def test_a_real_difference_is_found():
    rng = np.random.default_rng(9)
    plan = Plan(margin=0.02)
    verdicts = []
    for _ in range(60):
        a, b = Arm.of_counts(0, 0), Arm.of_counts(0, 0)
        for _ in range(30):
            a += Arm.of_counts(int(rng.binomial(400, 0.2)), 400)
            b += Arm.of_counts(int(rng.binomial(400, 0.23)), 400)
            verdicts.append(abtest.compare(a, b, plan).verdict)
            if verdicts[-1] != "needs_more_data":
                break
    final = [v for v in verdicts if v != "needs_more_data"]
    assert final.count("b_better") / 60 >= 0.9
    assert "a_better" not in final


def test_verdicts_say_why():
    plan = Plan(margin=0.02)
    better = abtest.compare(Arm.of_counts(2000, 10_000), Arm.of_counts(2400, 10_000), plan)
    assert better.verdict == "b_better"
    assert better.text.startswith("ready: B is better, B − A = +0.04 [")
    assert better.lift.value == pytest.approx(0.2)
    assert better.lift.low > 0
    assert (better.needed, better.needed_at_most) == (None, None)
    worse = abtest.compare(Arm.of_counts(2400, 10_000), Arm.of_counts(2000, 10_000), plan)
    assert (worse.verdict, worse.p_better < 0.001) == ("a_better", True)
    same = abtest.compare(Arm.of_counts(20_000, 100_000), Arm.of_counts(20_010, 100_000), plan)
    assert same.verdict == "no_difference"
    trifle = abtest.compare(Arm.of_counts(200_000, 1_000_000), Arm.of_counts(204_000, 1_000_000), plan)
    assert "by less than would matter" in trifle.text
    assert trifle.verdict == "b_better"
    young = abtest.compare(Arm.of_counts(20, 99), Arm.of_counts(60, 99), plan)
    assert young.verdict == "needs_more_data"
    assert young.needed >= 2
    empty = abtest.compare(Arm.of_counts(0, 0), Arm.of_counts(0, 0), plan)
    assert (empty.verdict, empty.needed, empty.mean_a, empty.p_fixed) == ("needs_more_data", 200, None, None)
    assert msgspec.json.decode(msgspec.json.encode(better), type=abtest.Comparison) == better


def test_a_broken_split_overrules_everything():
    plan = Plan(margin=0.02)
    arms = Arm.of_counts(2000, 10_000), Arm.of_counts(2400, 10_000)
    broken = abtest.compare(*arms, plan, exposures=(12_000, 10_000))
    assert broken.verdict == "invalid_split"
    assert "50% for B" in broken.text
    assert abtest.compare(*arms, plan, exposures=(11_000, 11_050)).verdict == "b_better"


@pytest.mark.parametrize("gap", [0, 80, 150, 260])
def test_needed_units_lead_to_a_verdict(gap):
    plan = Plan(margin=0.05)
    now = abtest.compare(Arm.of_counts(200, 1000), Arm.of_counts(200 + gap // 5, 1000), plan)
    assert now.verdict == "needs_more_data"
    assert now.needed <= now.needed_at_most
    for more in (now.needed, now.needed_at_most):
        n = 1000 + math.ceil(more * 1.02 / 2)
        later = abtest.compare(Arm.of_counts(round(0.2 * n), n), Arm.of_counts(round((0.2 + gap / 5000) * n), n), plan)
        assert later.verdict != "needs_more_data"


def test_the_split_is_tested_at_every_look():
    rng = np.random.default_rng(10)
    wrong = late = 0
    for _ in range(150):
        fair = np.cumsum(rng.binomial(200, 0.5, 50))
        wrong += any(sequential.split_p_value((200 * (k + 1) - n, n), (0.5, 0.5)) < 0.01 for k, n in enumerate(fair))
        skewed = np.cumsum(rng.binomial(200, 0.53, 50))
        late += any(sequential.split_p_value((200 * (k + 1) - n, n), (0.5, 0.5)) < 0.01 for k, n in enumerate(skewed))
    assert wrong / 150 <= 0.01
    assert late / 150 >= 0.95
    assert sequential.split_p_value((300, 200), (0.5, 0.5)) < 0.01
    assert sequential.split_p_value((250, 250), (0.5, 0.5)) == 1.0
    assert sequential.split_p_value((500, 300, 200), (5, 3, 2)) == 1.0
    assert sequential.split_p_value((0, 0), (0.5, 0.5)) == 1.0


def test_the_split_is_a_bayes_factor():
    by_hand = [stats.betabinom.pmf(37, 100, c / 2, c / 2) / stats.binom.pmf(37, 100, 0.5) for c in (100, 1000, 10_000)]
    assert sequential.split_p_value((63, 37), (1, 1)) == pytest.approx(min(1, 1 / np.mean(by_hand)), rel=1e-9)


def test_looking_often_costs_less_than_three_times_the_units():
    """Fleiss 1981: 10 % against 12 %, alpha 0.05, power 0.8 takes 3,839 units an arm where one looks once."""
    once = 2 * 3839
    assert 1.3 * once < power.sequential_size(0.02, 0.1 * 0.9, 0.12 * 0.88, tuning=once) < 2.5 * once
    assert power.duration_s(once, 2.0) == once / 2
    assert power.duration_s(once, 0.0) is None


def test_the_sequential_size_has_the_power_it_plans():
    n = power.sequential_size(0.05, 0.16, 0.1875, tuning=2000) // 2
    rng = np.random.default_rng(11)
    a, b = rng.binomial(n, 0.2, 400), rng.binomial(n, 0.25, 400)
    found = [
        sequential.p_value(Arm.of_counts(x, n), Arm.of_counts(y, n), tuning=2000) < 0.05
        for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert 0.74 <= np.mean(found) <= 0.9


@given(st.floats(0.001, 1), st.floats(0.01, 4))
def test_units_until_is_the_first_that_is_enough(width, spread):
    n = power.units_until(width, spread)
    assert sequential.half_width(spread / n, n, 0.05) <= width
    assert n == 1 or sequential.half_width(spread / (n - 1), n - 1, 0.05) > width


def test_bad_input_is_refused():
    for make in (
        lambda: Arm.of_counts(3, 2),
        lambda: Arm.of_values([1.0, math.nan]),
        lambda: Plan(margin=0.0),
        lambda: power.sequential_size(0.0, 1, 1),
        lambda: power.units_until(0.0, 1.0),
        lambda: sequential.split_p_value((1, 2), (1.0, 0.0)),
        lambda: sequential.split_p_value((1, 2, 3), (1.0, 1.0)),
        lambda: two_proportions(Arm.of_counts(0, 0), Arm.of_counts(1, 2)),
        lambda: welch(Arm.of_values([1.0]), Arm.of_values([1.0, 2.0])),
    ):
        with pytest.raises(BadInput):
            make()


def test_constant_arms_and_no_units():
    flat = Arm.of_values(np.ones(200)), Arm.of_values(np.ones(200))
    same = abtest.compare(*flat, Plan(margin=0.1))
    assert (same.verdict, same.p_fixed) == ("no_difference", 1.0)
    assert fixed(flat[0], Arm.of_values(np.zeros(200))).p_value == 0.0
    assert sequential.lift(Arm.of_values([0.0, 0.0]), Arm.of_values([1.0, 2.0])).value is None
    perfect = abtest.compare(Arm.of_counts(150, 150), Arm.of_counts(150, 150), Plan(margin=0.001))
    assert perfect.verdict == "needs_more_data"
