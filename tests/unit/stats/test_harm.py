from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_tui.core.errors import BadInput
from mlops_tui.stats import harm, threshold
from mlops_tui.stats.harm import RATIOS, Counts, HarmSpec

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


def counts_of(bad_c, bad_s, n_c, n_s, looks):
    return Counts(*([x] * looks for x in (bad_c, bad_s, n_c, n_s)))


def test_verdicts_say_why():
    bad = harm.analyse(counts_of(6, 9, 100, 900, 5), HarmSpec())
    assert (bad.verdict, bad.hold, bad.decided) == ("harm", False, 1)
    assert bad.log_e_harm > bad.log_needed == pytest.approx(NEEDED)
    assert bad.ratio == pytest.approx(6)
    assert "fails 6.00 times as often as stable (30 of 500 against 45 of 4,500)" in bad.text
    good = harm.analyse(counts_of(1, 90, 1000, 9000, 30), HarmSpec(max_ratio=1.25))
    assert good.verdict == "safe"
    assert good.log_e_safe > NEEDED
    same = harm.analyse(counts_of(1, 9, 100, 900, 3), HarmSpec())
    assert same.verdict == "continue"
    assert "neither" in same.text
    assert msgspec.json.decode(msgspec.json.encode(bad), type=harm.HarmResult) == bad


def test_harm_stays_and_too_few_rows_hold():
    spec = HarmSpec(min_requests=500)
    looks = [(6, 9, 100, 900)] * 4
    held = harm.analyse(Counts(*zip(*looks, strict=True)), spec)
    assert (held.verdict, held.hold) == ("continue", True)
    assert held.log_e_harm > NEEDED
    assert "400 of the 500" in held.text
    looks.append((6, 9, 100, 900))
    assert harm.analyse(Counts(*zip(*looks, strict=True)), spec).verdict == "harm"
    looks += [(0, 9, 100, 900)] * 40
    later = harm.analyse(Counts(*zip(*looks, strict=True)), spec)
    assert later.log_e_harm < NEEDED
    assert (later.verdict, later.decided) == ("harm", 4)


def test_the_mark_that_tells_most_is_named():
    counts = Counts([[50] * 4, [9] * 4], [[450] * 4, [9] * 4], [100] * 4, [900] * 4)
    found = harm.analyse(counts, HarmSpec(does=("is slower than 1 ms", "is slower than 9 ms")))
    assert (found.verdict, found.mark, found.bad_c) == ("harm", 1, 36.0)
    assert "the canary is slower than 9 ms 9.00 times as often" in found.text
    both = harm.log_e(counts.bad_c, counts.bad_s, counts.n_c, counts.n_s, 1.0, RATIOS)[:, -1]
    assert found.log_e_harm == pytest.approx(math.log(np.exp(both).mean()))


def test_a_canary_is_safe_only_when_it_is_at_every_mark():
    alone = harm.analyse(Counts([10] * 20, [900] * 20, [1000] * 20, [9000] * 20), HarmSpec())
    both = harm.analyse(Counts([[10] * 20, [150] * 20], [[900] * 20] * 2, [1000] * 20, [9000] * 20), HarmSpec())
    assert (alone.verdict, both.log_e_safe) == ("safe", min(alone.log_e_safe, both.log_e_safe))
    assert both.verdict == "harm"


def test_a_change_is_seen_either_way_and_no_change_is_none():
    for canary, changed in ((30, True), (50, False), (80, True)):
        counts = Counts([canary] * 20, [450] * 20, [100] * 20, [900] * 20)
        assert (harm.evidence_of_change(counts)[-1] > NEEDED) == changed


def test_no_looks_and_impossible_counts():
    empty = harm.analyse(Counts([], [], [], []), HarmSpec())
    assert (empty.verdict, empty.hold, empty.ratio, empty.log_e_harm) == ("continue", True, None, 0.0)
    assert threshold.analyse(Counts([], [], [], []), threshold.ThresholdSpec(0.01)).rate.value is None
    with pytest.raises(BadInput):
        Counts([2], [0], [1], [1])
    with pytest.raises(BadInput):
        Counts([0], [-1], [1], [1])
    with pytest.raises(BadInput):
        HarmSpec(max_ratio=1.0)
    with pytest.raises(BadInput):
        threshold.ThresholdSpec(0.0)


def draws_of_a_look(units, share, rng, times):
    """Which of the units the canary gets, drawn again and again: each by itself, and so many of them."""
    each = rng.random((times, units)) < share
    many = rng.permuted(np.tile(np.arange(units) < round(share * units), (times, 1)), axis=1)
    return {"each": each, "many": many}


@pytest.mark.parametrize("null", [1.0, 1.5])
@pytest.mark.parametrize("how", ["each", "many"])
def test_units_that_fail_together_gain_nothing_on_average(how, null):
    """The theorem of harm.py: any badness, bursts of it too; only who gets a unit is drawn."""
    rng = np.random.default_rng(11)
    for stable in (np.repeat([1.0, 0.0], [30, 30]), rng.random(60), np.repeat([0.9, 0.02], [20, 40])):
        canary = np.minimum(1.0, stable * null)
        drawn = draws_of_a_look(60, 0.25, rng, 40_000)[how]
        n_c = drawn.sum(axis=1, keepdims=True)
        looks = ((drawn * canary).sum(1, keepdims=True), (~drawn * stable).sum(1, keepdims=True), n_c, 60 - n_c)
        e = np.exp(harm.log_e(*looks, null, (1.25 * null, 2.0 * null, 5.0 * null))[:, 0])
        assert e.mean() <= 1 + 4 * e.std() / 200
        if null > 1 and (canary == stable * null).all():
            e = np.exp(harm.log_e(*looks, null, (1.0,))[:, 0])
            assert e.mean() <= 1 + 4 * e.std() / 200


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
    bad = threshold.analyse(counts_of(5, 0, 100, 900, 4), spec)
    assert (bad.verdict, bad.decided) == ("harm", 1)
    assert bad.rate.value == pytest.approx(0.05)
    good = threshold.analyse(counts_of(1, 0, 1000, 9000, 10), spec)
    assert good.verdict == "safe"
    unsure = threshold.analyse(counts_of(1, 0, 100, 900, 4), spec)
    assert unsure.verdict == "continue"
    assert unsure.rate.low < 0.01 < unsure.rate.high
    assert "1.00%" in unsure.text
    early = threshold.analyse(counts_of(8, 0, 10, 90, 4), spec)
    assert (early.verdict, early.hold, early.rate.low > 0.01) == ("continue", True, True)
    assert early.text == "40 of the 200 rows that a verdict needs"
