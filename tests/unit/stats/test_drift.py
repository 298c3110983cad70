from __future__ import annotations

import msgspec
import numpy as np
import pytest

from mlops_tui.core.errors import BadInput
from mlops_tui.stats import drift, profile
from mlops_tui.stats.drift import Policy

LEVELS = 60


def page(rng, n, shift=0.0):
    """Twelve columns of the kinds that real tables have; ``shift`` moves the first two by that many sigmas."""
    weights = 1 / np.arange(1, LEVELS + 1) / (1 / np.arange(1, LEVELS + 1)).sum()
    yield rng.normal(shift, 1, n)
    yield rng.lognormal(shift, 1, n)
    yield rng.poisson(3, n)
    yield np.round(rng.gamma(2, 50, n), 2)
    yield np.where(rng.random(n) < 0.4, 40.0, np.round(rng.normal(40, 12, n)))
    yield np.where(rng.random(n) < 0.03, np.nan, rng.random(n))
    yield np.zeros(n)
    yield rng.choice(2, n).astype(float)
    yield rng.choice(["a", "b", "c"], n, p=[0.7, 0.2, 0.1])
    yield np.array([f"occ{i}" for i in rng.choice(LEVELS, n, p=weights)], object)
    yield np.array([f"zip{i}" for i in rng.zipf(1.4, n) % 100_000], object)
    yield np.array([f"user{i}" for i in rng.integers(0, 10**9, n)], object)


@pytest.fixture(scope="module")
def profiles():
    rng = np.random.default_rng(7)
    return [profile.build(column) for column in page(rng, 20_000)]


def window(profiles, rng, n, shift=0.0):
    columns = page(rng, n, shift)
    found = [
        drift.compare(p, profile.count(p, x), str(i)) for i, (p, x) in enumerate(zip(profiles, columns, strict=True))
    ]
    return drift.judge(found)


@pytest.mark.parametrize(("n", "windows"), [(200, 150), (1_000, 60), (20_000, 8)])
def test_healthy_windows_rarely_fire(profiles, n, windows):
    rng = np.random.default_rng(n)
    judged = [window(profiles, rng, n) for _ in range(windows)]
    paged = sum(any(one.verdict == "drift" for one in page) for page in judged)
    listed = sum(one.verdict in ("warn", "drift") for page in judged for one in page)
    assert paged <= 0.02 * windows
    assert listed <= 0.005 * windows * 12


@pytest.mark.parametrize(("n", "shift"), [(200, 0.5), (1_000, 0.25), (20_000, 0.15)])
def test_a_real_shift_fires_in_the_columns_that_moved(profiles, n, shift):
    rng = np.random.default_rng(n + 1)
    judged = [window(profiles, rng, n, shift) for _ in range(20 if n < 20_000 else 4)]
    assert np.mean([one.verdict == "drift" for page in judged for one in page[:2]]) >= 0.95
    assert np.mean([one.verdict != "ok" for page in judged for one in page[2:]]) <= 0.01


def test_a_trifle_on_many_rows_is_significant_but_no_drift(profiles):
    rng = np.random.default_rng(11)
    one = window(profiles, rng, 200_000, 0.03)[0]
    assert one.p_page < 0.01
    assert one.verdict == "ok"


def test_missing_and_unseen_values_are_drift(profiles):
    rng = np.random.default_rng(13)
    numbers = rng.normal(0, 1, 400)
    numbers[:40] = np.nan
    one = drift.compare(profiles[0], profile.count(profiles[0], numbers))
    assert one.verdict == "drift"
    assert one.p_values["missing"] < 1e-9
    assert "missing 0.0% → 10.0%" in one.text
    letters = np.array(["a"] * 280 + ["b"] * 80 + ["zz"] * 40, object)
    assert drift.compare(profiles[8], profile.count(profiles[8], letters)).verdict == "drift"
    assert drift.compare(profiles[6], profile.count(profiles[6], np.ones(200))).verdict == "drift"
    gone = drift.compare(profiles[0], profile.count(profiles[0], np.full(200, np.nan)))
    assert (gone.verdict, gone.ks_low, gone.w1) == ("drift", None, None)


def test_a_shift_in_the_tail_of_a_category_is_seen(profiles):
    rng = np.random.default_rng(17)
    live = np.array([f"occ{i}" for i in rng.choice(LEVELS, 3000)], object)
    assert drift.compare(profiles[9], profile.count(profiles[9], live)).verdict == "drift"


def test_too_few_rows_are_refused_and_said(profiles):
    one = drift.compare(profiles[0], profile.count(profiles[0], np.full(99, 50.0)))
    assert one.verdict == "too_few"
    assert one.text == "not judged: 99 live rows, 100 needed"
    assert drift.compare_exact([1.0, 2.0], np.zeros(500)).text.startswith("not judged: 2 reference rows")
    assert drift.compare(profile.build([], "numeric"), [0, 0]).verdict == "too_few"


def test_columns_without_enough_rows_cost_the_others_nothing(profiles):
    rng = np.random.default_rng(19)
    one = drift.compare(profiles[0], profile.count(profiles[0], rng.normal(0.4, 1, 300)))
    few = drift.compare(profiles[0], profile.count(profiles[0], rng.normal(0, 1, 50)))
    assert drift.judge([one] + [few] * 500)[0].p_page == one.p_value


def test_two_thresholds_page_and_list():
    rng = np.random.default_rng(23)
    reference = profile.build(rng.normal(0, 1, 20_000))
    quiet = [drift.compare(reference, profile.count(reference, rng.normal(0, 1, 400))) for _ in range(40)]
    moved = msgspec.structs.replace(quiet[0], p_value=0.0008, js_excess=0.2)
    page = drift.judge([moved, *quiet[1:]])
    assert page[0].p_page == pytest.approx(0.032)
    assert page[0].verdict == "warn"
    assert drift.judge([moved, *quiet[1:]], Policy(page_alpha=0.05))[0].verdict == "drift"
    by_chance = msgspec.structs.replace(moved, js=0.2, js_excess=0.05, w1_sigma=None, p_value=1e-12)
    assert drift.judge([by_chance])[0].verdict == "ok"
    assert drift.judge([moved, *quiet[1:]], Policy(js=0.3, w1_sigma=1.0))[0].verdict == "ok"


def test_exact_and_estimated_say_so_and_agree():
    rng = np.random.default_rng(29)
    a, b = rng.normal(0, 2, 5000), rng.normal(0.5, 2, 3000)
    b[:10] = np.nan
    shape = profile.build(a)
    exact, estimated = drift.compare_exact(a, b, "x"), drift.compare(shape, profile.count(shape, b), "x")
    assert (exact.estimated, estimated.estimated) == (False, True)
    assert exact.ks_low == exact.ks_high
    assert exact.p_value == pytest.approx(3 * min(exact.p_values.values()), rel=1e-9, abs=0)
    assert estimated.ks_low <= exact.ks_low <= estimated.ks_high
    assert estimated.w1_sigma == pytest.approx(exact.w1_sigma, rel=0.02)
    assert (exact.psi, exact.js, exact.chi2) == (estimated.psi, estimated.js, estimated.chi2)
    assert exact.binning == "10 reference-quantile bins, missing"
    assert (exact.method, exact.js_base, exact.n_live) == ("ks+missing+chi2 (Bonferroni)", 2.0, 3000)
    assert msgspec.json.decode(msgspec.json.encode(exact), type=drift.Drift) == exact


def test_counts_of_another_profile_are_refused(profiles):
    with pytest.raises(BadInput, match="another profile"):
        drift.compare(profiles[0], [1, 2, 3], "age")
