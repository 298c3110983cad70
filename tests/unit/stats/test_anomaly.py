from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_tui.core.errors import BadInput
from mlops_tui.stats.anomaly import Ewma, KofN, State, baseline, step

series = st.lists(st.one_of(st.none(), st.floats(-10, 10), st.just(math.nan)), max_size=60)


def run(rule, values):
    states, state = [], State()
    for value in values:
        state = step(state, rule, value)
        states.append(state)
    return states


def alarms(rule, values):
    return [state.alarm for state in run(rule, values)]


def test_three_of_five_and_calm_for_four():
    rule = KofN(level=3, clear=1, k=3, n=5, clear_after=4)
    assert alarms(rule, [9, 0, 9, 0, 9]) == [False, False, False, False, True]
    assert alarms(rule, [9, 0, 0, 9, 0, 0, 9]) == [False] * 7
    on = [9, 9, 9]
    assert alarms(rule, [*on, 0, 0, 0, 0])[-2:] == [True, False]
    assert alarms(rule, [*on, 0, 0, 2, 0, 0, 0])[-1] is True
    assert alarms(rule, [*on, 0, 0, 2, 0, 0, 0, 0])[-1] is False
    assert alarms(rule, [*on, 0, 0, 0, 0, 9, 9])[-1] is False
    assert alarms(KofN(3, 1, k=2, n=3, clear_after=1), [9, 9, 0, 9, 9]) == [False, True, False, False, True]
    assert sum(state.changed for state in run(rule, [*on, 0, 0, 0, 0, 9, 9, 9])) == 3


def test_low_values_are_watched_by_a_clear_above_the_level():
    rule = KofN(level=0.80, clear=0.85, k=2, n=3, clear_after=1)
    assert alarms(rule, [0.9, 0.7, 0.9, 0.7, 0.82, 0.86]) == [False, False, False, True, True, False]


def test_the_average_forgets_an_outlier_and_sees_a_shift():
    rule = Ewma(mean=100, sd=10)
    assert not any(alarms(rule, [100, 100, 1e9, 100, 100]))
    shifted = alarms(rule, [130.0] * 12)
    assert shifted[0] is False
    assert shifted[-1] is True
    assert not any(alarms(rule, [70.0] * 30))
    assert alarms(msgspec.structs.replace(rule, both=True), [70.0] * 30)[-1]


def test_the_average_by_hand():
    rule = Ewma(mean=0, sd=1, weight=0.5, fire=1.0, clear=0.5, clear_after=1)
    states = run(rule, [1.0, 1.0, 0.0])
    assert [state.average for state in states] == pytest.approx([0.5, 0.75, 0.375])
    assert [state.alarm for state in states] == [False, True, True]
    assert run(rule, [1.0, 1.0, 0.0, 0.0])[-1].alarm is False


@given(series, st.sampled_from([KofN(2, 1), KofN(-2, -1, 2, 3, 2), Ewma(0, 1), Ewma(0, 1, both=True, clear_after=2)]))
def test_missing_values_change_nothing(values, rule):
    known = [value for value in values if value is not None and not math.isnan(value)]
    full, dense = run(rule, values), run(rule, known)
    assert [state.alarm for state, value in zip(full, values, strict=True) if value in known] == [
        state.alarm for state in dense
    ]
    for state, value in zip(full, values, strict=True):
        assert state.nodata == (value is None or math.isnan(value))
        assert not (state.nodata and state.changed)
        assert msgspec.json.decode(msgspec.json.encode(state), type=State) == state


def incidents(days, rng):
    """A noisy minute series with heavy tails and one hour of moderate trouble a day; (values, starts)."""
    values = rng.standard_t(4, days * 1440) / math.sqrt(2)
    starts = [day * 1440 + 600 + int(rng.integers(0, 300)) for day in range(days)]
    for start in starts:
        values[start : start + 60] += 2.5
    return values.tolist(), starts


@pytest.mark.parametrize("rule", [KofN(2, 1), Ewma(0, 1)])
def test_every_incident_is_one_page_where_raw_thresholds_give_many(rule):
    values, starts = incidents(30, np.random.default_rng(5))
    pages = [i for i, state in enumerate(run(rule, values)) if state.changed and state.alarm]
    caught = [sum(start <= page < start + 75 for page in pages) for start in starts]
    assert caught == [1] * 30
    assert len(pages) - 30 <= 15
    raw = sum(values[i] > 3 >= values[i - 1] for i in range(1, len(values)))
    assert raw > 10 * 30


def test_a_baseline_is_not_moved_by_outliers():
    rng = np.random.default_rng(6)
    values = rng.normal(50, 4, 1000)
    values[:50] = 10_000
    assert baseline(values) == pytest.approx((50, 4), rel=0.15)
    assert baseline([1.0] * 9 + [2.0]) == pytest.approx((1.0, 0.3))
    for nothing in ([], [math.nan], [3.0, 3.0]):
        with pytest.raises(BadInput):
            baseline(nothing)


def test_impossible_rules_are_refused():
    for make in (
        lambda: KofN(1, 0, k=6),
        lambda: Ewma(0, 0),
        lambda: Ewma(0, 1, clear=5),
        lambda: Ewma(0, 1, weight=0),
    ):
        with pytest.raises(BadInput):
            make()
