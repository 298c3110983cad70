"""Who wins: picked by medians, confirmed by fresh pairs; within the noise of fp32 nobody does."""

from __future__ import annotations

import random

import pytest

from mlops_tui.pipelines.tuning import verdict
from mlops_tui.pipelines.tuning.grid import FEWEST, candidates
from mlops_tui.pipelines.tuning.measure import Figures
from mlops_tui.pipelines.tuning.verdict import Confirmed, Trial, Wishes, choose, confirm, pareto
from mlops_tui.serving.models.profile import DEFAULT, Setting


def figures(p50=1.0, rate=1000.0, memory=100, p99=None, failed=0):
    return Figures(p50_ms=p50, p99_ms=p99 or 2 * p50, rate=rate, cpu_us=10.0, memory=memory, failed=failed)


def trial(setting=DEFAULT, loss=None, **given):
    return Trial(setting, [figures(**given)] * 3, loss)


WISHES = Wishes("latency", {}, 0.005)
INT8 = Setting(precision="int8-static")
WON, LOST = Confirmed(0.4, 20.0, 7, True), Confirmed(0.01, 0.4, 7, False)


def never(old, new):
    raise AssertionError("nothing is to be confirmed")


@pytest.mark.parametrize("cpus", [1, 2, 4, 64])
@pytest.mark.parametrize("precisions", [["fp32"], ["fp32", "int8-dynamic", "int8-static"]])
def test_there_are_a_dozen_candidates_at_least_and_the_default_is_first(cpus, precisions):
    found = candidates(precisions, cpus)
    assert found[0] == DEFAULT and len(set(found)) == len(found) >= FEWEST
    assert {one.precision for one in found} == set(precisions)
    assert {one.name for one in found if one.gather_ms}


def test_noise_is_rarely_confirmed_and_a_gain_nearly_always():
    rng = random.Random(7)

    def pairs(gain, noise=0.05):
        return [(rng.lognormvariate(0, noise), (1 - gain) * rng.lognormvariate(0, noise)) for _ in range(verdict.PAIRS)]

    false = sum(confirm(pairs(0.0)).wins for _ in range(2000))
    found = sum(confirm(pairs(0.2)).wins for _ in range(500))
    assert false / 2000 <= 0.01 and found / 500 > 0.95


def test_a_gain_that_nobody_would_notice_is_no_reason():
    certain = confirm([(1.0, 0.98), (1.0, 0.9801), (1.0, 0.9799)])
    assert certain.t > 100 and not certain.wins
    assert confirm([(1.0, 0.8)] * 7).wins and not confirm([(1.0, 1.0)] * 7).wins


def test_fp32_stays_when_nothing_is_better_or_the_better_is_not_confirmed():
    slower = [trial(), trial(INT8, 0.0, p50=1.2)]
    found = choose(slower, WISHES, never)
    assert found.setting == DEFAULT and found.text.startswith("fp32 stays as served by default")
    luckier = [trial(), trial(INT8, 0.0, p50=0.9)]
    found = choose(luckier, WISHES, lambda old, new: LOST)
    assert found.setting == DEFAULT and "within the noise" in found.text and len(found.steps) == 1


def test_what_is_confirmed_wins_against_the_best_fp32_not_only_the_default():
    threads = Setting(threads=2)
    asked = []

    def fresh(old, new):
        asked.append((old, new))
        return WON

    found = choose([trial(), trial(threads, p50=0.7), trial(INT8, 0.001, p50=0.5)], WISHES, fresh)
    assert asked == [(DEFAULT, threads), (threads, INT8)] and found.setting == INT8
    assert found.text.startswith("int8-static wins, in median latency")


def test_what_loses_too_much_accuracy_fails_or_misses_a_limit_is_out():
    default, trials = trial(), {
        "loses 1.00%": trial(INT8, 0.01, p50=0.1),
        "requests failed": trial(INT8, 0.0, p50=0.1, failed=1),
        "p99_ms 30 misses 20": trial(INT8, 0.0, p50=0.1, p99=30.0),
        "rate 10 misses 500": trial(INT8, 0.0, p50=0.1, rate=10.0),
    }  # fmt: skip
    wishes = Wishes("latency", {"p99_ms": 20.0, "rate": 500.0}, 0.005)
    for why, one in trials.items():
        assert why in wishes.missed(one, default)
        assert choose([default, one], wishes, never).setting == DEFAULT


def test_when_nobody_keeps_to_the_wishes_the_default_stays_and_that_is_said():
    found = choose(
        [trial(p99=50.0), trial(INT8, 0.0, p50=0.5, p99=40.0)], Wishes("latency", {"p99_ms": 1.0}, 0.0), never
    )
    assert (found.setting, found.keeps) == (DEFAULT, False) and "int8-static 1t×1w comes nearest" in found.text


def test_of_those_that_are_hardly_worse_the_smallest_is_picked():
    wide = Setting(precision="int8-static", workers=2)
    found = choose([trial(), trial(wide, 0.0, p50=0.50), trial(INT8, 0.0, p50=0.51)], WISHES, lambda old, new: WON)
    assert found.setting == INT8


def test_memory_may_not_be_saved_by_being_twice_as_slow():
    wishes = Wishes("memory", {}, 0.005)
    assert wishes.missed(trial(INT8, 0.0, p50=2.5, memory=10), trial()) == "twice as slow"
    assert choose([trial(), trial(INT8, 0.0, p50=1.5, memory=10)], wishes, lambda old, new: WON).setting == INT8


def test_the_front_holds_what_no_other_beats_in_everything():
    trials = [trial(), trial(INT8, 0.0, p50=0.5, rate=2000.0), trial(Setting(threads=2), p50=2.0, rate=4000.0)]
    assert pareto(trials) == {INT8, Setting(threads=2)}
    lean = trial(Setting(gather_ms=2.0), p50=3.0, memory=99)
    assert pareto([*trials, lean]) == {INT8, Setting(threads=2)}, "a hundredth less memory is noise"
