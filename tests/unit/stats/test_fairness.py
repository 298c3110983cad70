from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from mlops_tui.core.errors import BadInput
from mlops_tui.stats import fairness

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=80)


@given(rows)
@settings(max_examples=60)
def test_rates_and_differences_agree_with_scikit_learn_group_by_group(entries):
    y, guess, group = (np.array(side) for side in zip(*entries, strict=True))
    cells = fairness.tally(y, guess, group, 3)
    found = fairness.analyse(cells, ["a", "b", "c"], min_group=1, draws=10)
    selection, tpr, fpr, accuracy = [], [], [], []
    for number, one in enumerate(found.groups):
        mine = group == number
        assert one.n == mine.sum()
        if not mine.any():
            assert one.accuracy.value is None
            continue
        accuracy.append(metrics.accuracy_score(y[mine], guess[mine]))
        selection.append(guess[mine].mean())
        assert (one.accuracy.value, one.selection_rate.value) == pytest.approx((accuracy[-1], selection[-1]))
        if y[mine].any():
            tpr.append(metrics.recall_score(y[mine], guess[mine]))
            assert one.tpr.value == pytest.approx(tpr[-1])
        if not y[mine].all():
            fpr.append(1 - metrics.recall_score(y[mine], guess[mine], pos_label=0))
            assert one.fpr.value == pytest.approx(fpr[-1])
    if len(selection) > 1:
        assert found.demographic_parity.value == pytest.approx(np.ptp(selection))
        assert found.accuracy_gap.value == pytest.approx((y == guess).mean() - min(accuracy))
    else:
        assert found.demographic_parity.value is None
    widths = [np.ptp(values) for values in (tpr, fpr) if len(values) > 1]
    assert found.equalized_odds.value == (pytest.approx(max(widths)) if widths else None)


def people(rng, n, extra=0.0):
    """Three groups; the model selects the second more often by ``extra``."""
    group = rng.choice(3, n, p=[0.5, 0.4, 0.1])
    y = rng.random(n) < 0.4
    guess = rng.random(n) < np.where(y, 0.8, 0.2) + extra * (group == 1)
    return y, guess, group


def test_counts_add():
    y, guess, group = people(np.random.default_rng(0), 500)
    parts = fairness.tally(y[:200], guess[:200], group[:200], 3) + fairness.tally(y[200:], guess[200:], group[200:], 3)
    assert (parts == fairness.tally(y, guess, group, 3)).all()


def test_unequal_treatment_is_shown_beyond_chance_and_equal_is_not():
    rng = np.random.default_rng(1)
    unequal = fairness.analyse(fairness.tally(*people(rng, 20_000, 0.15), 3), ["a", "b", "c"])
    assert unequal.demographic_parity.value == pytest.approx(0.15, abs=0.03)
    assert unequal.demographic_parity.against(0.08) == "fail"
    assert unequal.equalized_odds.against(0.08) == "fail"
    assert unequal.extremes["selection_rate"][1] == "b"
    equal = fairness.analyse(fairness.tally(*people(rng, 20_000), 3), ["a", "b", "c"])
    assert equal.demographic_parity.against(0.08) == "pass"
    assert equal.accuracy_gap.against(0.08) == "pass"
    assert equal.demographic_parity.against(0.02) == "unsure"


def test_the_interval_of_a_difference_covers_it():
    rng = np.random.default_rng(2)
    hits = []
    for seed in range(100):
        found = fairness.analyse(fairness.tally(*people(rng, 3000, 0.2), 3)[:2], ["a", "b"], draws=300, seed=seed)
        hits.append(found.demographic_parity.low <= 0.2 <= found.demographic_parity.high)
    assert np.mean(hits) >= 0.88


def test_small_groups_are_reported_not_judged():
    cells = np.array([[[400, 100], [100, 400]], [[410, 90], [100, 400]], [[0, 50], [10, 0]]])
    found = fairness.analyse(cells, ["a", "b", "tiny"], min_group=100)
    assert found.small == ("tiny",)
    assert found.groups[2].judged == ()
    assert found.groups[2].accuracy.value == 0.0
    assert found.demographic_parity.value == pytest.approx(0.01)
    assert found.extremes["accuracy"] == ("a", "b")
    assert found.accuracy_gap.value == pytest.approx(1610 / 2060 - 0.8)
    alone = fairness.analyse(cells[1:], ["b", "tiny"], min_group=100)
    assert alone.demographic_parity.value is None
    assert "fewer than two groups of 100 rows" in alone.demographic_parity.method


def test_intervals_leave_small_groups_out():
    cells = np.array([[[400, 100], [100, 400]], [[410, 90], [100, 400]], [[0, 50], [10, 0]]])
    assert fairness.analyse(cells, ["a", "b", "tiny"]).demographic_parity.high < 0.1
    assert fairness.analyse(cells, ["a", "b", "tiny"], min_group=60).demographic_parity.low > 0.2


def test_a_rate_is_judged_by_its_own_denominator():
    cells = np.array([[[500, 100], [5, 5]], [[500, 100], [10, 90]]])
    found = fairness.analyse(cells, ["a", "b"], min_group=50)
    assert found.groups[0].judged == ("selection_rate", "fpr", "accuracy")
    assert found.equalized_odds.value == pytest.approx(0.0)


def test_results_travel_and_repeat():
    cells = fairness.tally(*people(np.random.default_rng(3), 2000), 3)
    found = fairness.analyse(cells, ["a", "b", "c"])
    assert msgspec.json.decode(msgspec.json.encode(found), type=fairness.Fairness) == found
    assert fairness.analyse(cells, ["a", "b", "c"]) == found


@pytest.mark.parametrize("entry", [([2], [0], [0]), ([0], [0], [3]), ([0, 1], [0], [0]), ([0], [0], [-1])])
def test_bad_input_is_refused(entry):
    with pytest.raises(BadInput):
        fairness.tally(*entry, 3)
    with pytest.raises(BadInput):
        fairness.analyse(np.zeros((3, 2, 2)), ["a"])
