from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_tui.core.errors import BadInput, Conflict
from mlops_tui.stats import harm, threshold
from mlops_tui.stats.harm import RATIOS, HarmSpec, Look, LookLog

NEEDED = math.log(20)


def rollouts(sims, per_look, ratio, rate=0.008, share=0.1, looks=30, seed=0):
    """Traffic of many rollouts at once: (bad_c, bad_s, n_c, n_s), each (sims, looks)."""
    rng = np.random.default_rng(seed)
    n = rng.poisson(per_look, (sims, looks))
    n_c = rng.binomial(n, share)
    return rng.binomial(n_c, min(1.0, rate * ratio)), rng.binomial(n - n_c, rate), n_c, n - n_c


def ever(path):
    return (path > NEEDED).any(axis=-1)


@pytest.mark.parametrize(
    ("per_look", "rate", "share"), [(120, 0.008, 0.1), (1200, 0.008, 0.1), (1200, 0.3, 0.5), (12000, 0.008, 0.25)]
)
def test_a_harmless_canary_is_rarely_rolled_back(per_look, rate, share):
    wrong = ever(harm.log_e(*rollouts(2000, per_look, 1.0, rate, share), 1.0, RATIOS)).mean()
    assert wrong <= 0.02


def test_bursty_traffic_and_moving_weights_keep_the_promise():
    rng = np.random.default_rng(5)
    n = rng.negative_binomial(1, 1 / 600, (2000, 30))
    rates = rng.beta(1, 99, (2000, 30))
    n_c = rng.binomial(n, np.linspace(0.02, 0.6, 30))
    bad_c, bad_s = rng.binomial(n_c, rates), rng.binomial(n - n_c, rates)
    assert ever(harm.log_e(bad_c, bad_s, n_c, n - n_c, 1.0, RATIOS)).mean() <= 0.02


@pytest.mark.parametrize(
    ("ratio", "per_look", "low", "high"), [(2, 120, 0.08, 0.2), (2, 1200, 0.9, 1), (5, 120, 0.9, 1)]
)
def test_power_is_what_the_design_measured(ratio, per_look, low, high):
    assert low <= ever(harm.log_e(*rollouts(1000, per_look, ratio), 1.0, RATIOS)).mean() <= high


def test_safety_is_shown_for_a_good_canary_and_hardly_ever_for_one_at_the_limit():
    good = ever(harm.log_e(*rollouts(500, 12000, 1.0), 1.5, (1.0,))).mean()
    at_limit = ever(harm.log_e(*rollouts(2000, 12000, 1.5), 1.5, (1.0,))).mean()
    worse = ever(harm.log_e(*rollouts(1000, 1200, 2.0, rate=0.3), 1.5, (1.0,))).mean()
    assert good == 1.0
    assert at_limit <= 0.05
    assert worse <= 0.05


def test_the_first_look_is_the_mixture_of_binomial_likelihood_ratios():
    from scipy import stats

    share = 100 / 1000
    odds = [share * t / (share * t + 1 - share) for t in (1.0, *RATIOS)]
    like = [stats.binom.pmf(7, 20, q) for q in odds]
    expected = math.log(np.mean(like[1:]) / like[0])
    assert harm.log_e([7], [13], [100], [900], 1.0, RATIOS)[0] == pytest.approx(expected, rel=1e-12)


@given(st.floats(0.001, 0.9), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1.0, 1.5, 3.0]))
def test_one_look_never_gains_on_average_under_its_null(rate, n_c, n_s, null):
    """The supermartingale itself, summed over every outcome of two independent binomials."""
    from scipy import stats

    canary = min(1.0, rate * null)
    ratios = tuple(t for t in RATIOS if t > null) or (30.0,)
    c, s = np.meshgrid(np.arange(n_c + 1), np.arange(n_s + 1), indexing="ij")
    weight = stats.binom.pmf(c, n_c, canary) * stats.binom.pmf(s, n_s, canary / null)
    e = np.exp(harm.log_e(c[..., None], s[..., None], n_c, n_s, null, ratios)[..., 0])
    assert (weight * e).sum() <= 1 + 1e-9
    e = np.exp(harm.log_e(c[..., None], s[..., None], n_c, n_s, null, (0.5,))[..., 0])
    assert (weight * e).sum() <= 1 + 1e-9


def test_sides_without_rows_change_nothing():
    path = harm.log_e([3, 0], [0, 5], [10, 0], [0, 50], 1.0, RATIOS)
    assert path == pytest.approx([0, 0], abs=1e-12)


def log_of(bad_c, bad_s, n_c, n_s, looks):
    log = LookLog()
    for i in range(looks):
        log = log.add(Look(f"s1/{i}", bad_c, bad_s, n_c, n_s))
    return log


def test_looks_are_counted_once_and_survive_storage():
    log = log_of(2, 5, 100, 900, 4)
    again = log.add(Look("s1/2", 2, 5, 100, 900))
    assert again == log
    with pytest.raises(Conflict):
        log.add(Look("s1/2", 3, 5, 100, 900))
    stored = msgspec.json.decode(msgspec.json.encode(log), type=LookLog)
    assert stored == log
    one_at_a_time = harm.analyse(stored.add(Look("s1/4", 9, 5, 100, 900)), HarmSpec())
    at_once = harm.analyse(log.add(Look("s1/4", 9, 5, 100, 900)), HarmSpec())
    assert one_at_a_time == at_once


def test_verdicts_say_why():
    bad = harm.analyse(log_of(6, 9, 100, 900, 5), HarmSpec())
    assert (bad.verdict, bad.hold) == ("harm", False)
    assert bad.log_e_harm > bad.log_needed == pytest.approx(NEEDED)
    assert bad.ratio == pytest.approx(6)
    assert "6.00 times" in bad.text
    assert bad.decided == "s1/1"
    good = harm.analyse(log_of(1, 90, 1000, 9000, 30), HarmSpec(max_ratio=1.25))
    assert good.verdict == "safe"
    assert good.log_e_safe > NEEDED
    same = harm.analyse(log_of(1, 9, 100, 900, 3), HarmSpec())
    assert same.verdict == "continue"
    assert "neither" in same.text
    assert msgspec.json.decode(msgspec.json.encode(bad), type=harm.HarmResult) == bad


def test_harm_stays_and_too_few_rows_hold():
    spec = HarmSpec(min_requests=500)
    log = log_of(6, 9, 100, 900, 4)
    held = harm.analyse(log, spec)
    assert (held.verdict, held.hold) == ("continue", True)
    assert held.log_e_harm > NEEDED
    assert "400 of the 500" in held.text
    log = log.add(Look("s1/4", 6, 9, 100, 900))
    assert harm.analyse(log, spec).verdict == "harm"
    for i in range(40):
        log = log.add(Look(f"quiet/{i}", 0, 9, 100, 900))
    later = harm.analyse(log, spec)
    assert later.log_e_harm < NEEDED
    assert (later.verdict, later.decided) == ("harm", "s1/4")


def test_an_empty_log_and_impossible_counts():
    empty = harm.analyse(LookLog(), HarmSpec())
    assert (empty.verdict, empty.hold, empty.ratio, empty.log_e_harm) == ("continue", True, None, 0.0)
    assert threshold.analyse(LookLog(), threshold.ThresholdSpec(0.01)).rate.value is None
    with pytest.raises(BadInput):
        Look("x", 2, 0, 1, 1)
    with pytest.raises(BadInput):
        HarmSpec(max_ratio=1.0)
    with pytest.raises(BadInput):
        threshold.ThresholdSpec(0.0)


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0.001, 0.2))
def test_rate_bounds_are_the_level_set_of_the_mixture(bad, good, alpha):
    from scipy import special

    n = bad + good
    low, high = (float(x) for x in threshold.rate_bounds(bad, n, alpha))
    assert 0 <= low <= (bad / n if n else 0) <= high <= 1

    def log_e(p):
        mixture = special.betaln(bad + 0.5, good + 0.5) - special.betaln(0.5, 0.5)
        return mixture - special.xlogy(bad, p) - special.xlog1py(good, -p)

    if bad:
        assert log_e(low) == pytest.approx(math.log(1 / alpha), abs=1e-6)
    if good:
        assert log_e(high) == pytest.approx(math.log(1 / alpha), abs=1e-6)


def test_rate_bounds_hold_at_all_looks_together():
    rng = np.random.default_rng(3)
    bad = np.cumsum(rng.binomial(120, 0.01, (2000, 30)), axis=1)
    low, high = threshold.rate_bounds(bad, np.arange(1, 31) * 120, 0.05)
    assert ((low > 0.01) | (high < 0.01)).any(axis=1).mean() <= 0.05


def test_threshold_verdicts():
    spec = threshold.ThresholdSpec(0.01, min_requests=200)
    bad = threshold.analyse(log_of(5, 0, 100, 900, 4), spec)
    assert (bad.verdict, bad.decided) == ("harm", "s1/1")
    assert bad.rate.value == pytest.approx(0.05)
    good = threshold.analyse(log_of(1, 0, 1000, 9000, 10), spec)
    assert good.verdict == "safe"
    unsure = threshold.analyse(log_of(1, 0, 100, 900, 4), spec)
    assert unsure.verdict == "continue"
    assert unsure.rate.low < 0.01 < unsure.rate.high
    assert "1.00%" in unsure.text
    early = threshold.analyse(log_of(8, 0, 10, 90, 4), spec)
    assert (early.verdict, early.hold, early.rate.low > 0.01) == ("continue", True, True)
    assert early.text == "hold: 40 of the 200 rows that a verdict needs"
