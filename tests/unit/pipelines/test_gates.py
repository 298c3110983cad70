"""Each gate on candidates made by hand: what it lets pass, what it refuses, and what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlops_tui.contracts.model import GateResult
from mlops_tui.pipelines.gates import mlops_gates
from mlops_tui.pipelines.gates.policy import DEFAULT
from mlops_tui.pipelines.gates.worker import judge
from mlops_tui.plugins.hookspecs import Candidate

GATES = {gate.name: gate for gate in mlops_gates()}
N = 4000


@pytest.fixture(scope="module")
def good():
    """A model of three features, two of them alike important, that treats both groups alike."""
    rng = np.random.default_rng(7)
    columns = {name: rng.normal(size=N).astype(np.float32) for name in ("age", "school", "noise")}
    labels = (columns["age"] + columns["school"] + rng.normal(scale=0.7, size=N) > 0).astype(np.int64)
    columns["sex"] = np.where(rng.random(N) < 0.5, "1", "2")

    def predict(given):
        return 1 / (1 + np.exp(-2.2 * (given["age"] + given["school"])))

    return Candidate(
        run="r",
        labels=labels,
        scores=predict(columns),
        columns=columns,
        predict=predict,
        inputs=("age", "school", "noise"),
        groups=("sex",),
    )


def judged(name, candidate, **bounds):
    return GATES[name].judge(replace(candidate, bounds={**DEFAULT[name], **bounds}))


def test_a_good_model_passes(good):
    for name in ("quality", "fairness", "explanation"):
        verdict = judged(name, good)
        assert verdict.passed and verdict.gate == name and verdict.value is not None and verdict.text, verdict


class TestQuality:
    def test_not_surely_good_enough_is_refused(self, good):
        verdict = judged("quality", good, min_auc=0.99, min_accuracy=0.99)
        assert not verdict.passed
        assert "is not surely ≥ 0.99" in verdict.text and "accuracy" in verdict.text and "AUC" in verdict.text
        assert verdict.threshold == 0.99 and verdict.value == pytest.approx(
            verdict.detail["quality"]["roc_auc"]["value"]
        )

    def test_the_cautious_end_of_the_interval_decides(self, good):
        few = replace(good, labels=good.labels[:60], scores=good.scores[:60])
        bound = judged("quality", few).detail["quality"]["accuracy"]
        between = (bound["low"] + bound["value"]) / 2
        assert not judged("quality", few, min_accuracy=between, min_auc=0.5).passed
        assert judged("quality", few, min_accuracy=bound["low"] - 0.01, min_auc=0.5).passed

    def test_worse_than_the_champion_is_refused(self, good):
        worse = replace(good, scores=np.clip(good.scores + np.random.default_rng(0).normal(scale=0.3, size=N), 0, 1))
        against = replace(worse, champion=good.scores)
        assert judged("quality", worse).passed
        verdict = judged("quality", against)
        assert not verdict.passed and "below the champion's" in verdict.text
        assert verdict.detail["champion_auc"] > verdict.value
        assert judged("quality", against, max_auc_drop=0.5).passed

    def test_a_champion_is_named_whether_it_was_compared_or_not(self, good):
        assert "(champion 0." in judged("quality", replace(good, champion=good.scores)).text
        noted = replace(good, champion_note="not compared with m@1: it takes the feature x")
        assert "not compared with m@1" in judged("quality", noted).text

    @pytest.mark.parametrize("rows", [slice(0, 0), "one class"])
    def test_labels_that_say_nothing_are_no_reason_to_pass(self, good, rows):
        rows = good.labels == 1 if rows == "one class" else rows
        verdict = judged("quality", replace(good, labels=good.labels[rows], scores=good.scores[rows]))
        assert not verdict.passed and "quality cannot be judged" in verdict.text


class TestFairness:
    def test_unlike_treatment_of_groups_is_refused(self, good):
        first = good.columns["sex"] == "1"
        scores = np.where(first & (good.scores < 0.95), 0.2, good.scores)
        scores = np.where(~first & (good.scores > 0.05), 0.8, scores)
        verdict = judged("fairness", replace(good, scores=scores))
        assert not verdict.passed
        assert "demographic parity by sex" in verdict.text and "is above 0.2" in verdict.text
        assert verdict.value > verdict.threshold

    def test_what_chance_can_explain_is_let_pass(self, good):
        few = slice(0, 450)
        columns = {name: values[few] for name, values in good.columns.items()}
        small = replace(good, labels=good.labels[few], scores=good.scores[few], columns=columns)
        loose = {"max_equalized_odds": 1.0, "max_accuracy_gap": 1.0, "min_group": 50}
        found = judged("fairness", small, max_demographic_parity=1.0, **loose).detail["sex"]["demographic_parity"]
        assert 0 < found["low"] < found["value"]
        assert judged("fairness", small, max_demographic_parity=(found["low"] + found["value"]) / 2, **loose).passed
        assert not judged("fairness", small, max_demographic_parity=found["low"] / 2, **loose).passed

    def test_a_run_without_groups_is_not_fair_by_default(self, good):
        verdict = judged("fairness", replace(good, groups=()))
        assert not verdict.passed and "names no group columns" in verdict.text

    def test_groups_that_are_too_small_to_judge_are_not_passed(self, good):
        verdict = judged("fairness", good, min_group=N)
        assert not verdict.passed and verdict.value is None
        assert f"demographic parity by sex cannot be judged: fewer than two groups of {N} rows" in verdict.text


class TestExplanation:
    def test_a_forbidden_column_among_the_first_is_refused(self, good):
        verdict = judged("explanation", replace(good, forbidden=("school",)))
        assert not verdict.passed and "school is forbidden and ranks" in verdict.text
        unused = judged("explanation", replace(good, forbidden=("noise",)))
        assert unused.passed  # it ranks third, but nothing rests on it

    def test_a_forbidden_column_below_the_first_is_let_pass(self, good):
        verdict = judged("explanation", replace(good, forbidden=("school",)), top=1)
        ranks = {one["name"]: one["rank"] for one in verdict.detail["importance"]["features"]}
        assert verdict.passed == (ranks["school"] > 1)
        assert judged("explanation", replace(good, forbidden=("age", "school")), top=1).passed is False

    def test_one_feature_that_decides_alone_is_refused(self, good):
        alone = replace(good, predict=lambda given: 1 / (1 + np.exp(-3 * given["age"])))
        verdict = judged("explanation", alone)
        assert not verdict.passed and verdict.value > 0.6
        assert "age alone has 100% of the importance, more than 60%" in verdict.text
        assert judged("explanation", alone, max_share=1.0).passed

    def test_a_run_without_a_model_explains_nothing(self, good):
        verdict = judged("explanation", replace(good, predict=None))
        assert not verdict.passed and "nothing can be explained" in verdict.text

    def test_the_same_candidate_gets_the_same_verdict(self, good):
        assert judged("explanation", good) == judged("explanation", good)


class Plain:
    """A gate that gives what it is told to give."""

    name = "plain"

    def __init__(self, verdict):
        self.verdict = verdict

    def judge(self, candidate):
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


def result(gate, detail):
    return GateResult(gate=gate, passed=True, value=1.0, threshold=None, text="fine", detail=detail)


@pytest.mark.parametrize(
    ("verdict", "why"),
    [
        (ZeroDivisionError("division by zero"), "the gate broke: ZeroDivisionError: division by zero"),
        (None, "the gate broke: it gave no verdict of its own"),
        (result("quality", {}), "the gate broke: it gave no verdict of its own"),
        (result("plain", {"x": np.float32(1)}), "the gate broke: TypeError"),
    ],
)
def test_a_gate_that_breaks_has_not_been_passed(good, verdict, why):
    found = judge(Plain(verdict), good)
    assert (found.gate, found.passed, found.value) == ("plain", False, None)
    assert found.text.startswith(why)


def test_a_gate_that_answers_is_believed(good):
    assert judge(Plain(result("plain", {})), good).passed
