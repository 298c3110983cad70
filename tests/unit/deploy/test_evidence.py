"""Predictions and labels meet once, in any order, and the figures of revisions add up."""

import numpy as np
import pytest


def outcomes(stage):
    return stage.rows("SELECT revision_no, shadow, status, score::DOUBLE, truth FROM outcome ORDER BY ALL")


@pytest.mark.parametrize("first", ["labels", "predictions"])
def test_each_prediction_meets_its_label_whichever_comes_first(stage, first):
    stage.model()
    deployment = stage.serve()
    steps = {
        "predictions": lambda: stage.answer(deployment, 1, [0.9, 0.2, 0.7], ids=["a", "b", "c"]),
        "labels": lambda: stage.label(deployment, ["c", "a"], [0, 1]),
    }
    for name in sorted(steps, key=lambda name: name != first):
        steps[name]()
        stage.evidence()
    assert [(round(score, 1), truth) for *_, score, truth in outcomes(stage)] == [(0.7, 0.0), (0.9, 1.0)]
    stage.evidence()
    assert len(outcomes(stage)) == 2


def test_a_label_that_comes_again_is_not_counted_again(stage):
    stage.model()
    deployment = stage.serve()
    stage.answer(deployment, 1, [0.9, 0.9], ids=["a", "b"])
    stage.label(deployment, ["a", "a"], [1, 0])
    stage.evidence()
    stage.label(deployment, ["a", "b"], [0, 1])
    stage.evidence()
    assert [truth for *_, truth in outcomes(stage)] == [1.0, 1.0]
    stage.answer(deployment, 1, [0.4], ids=["a"])
    stage.evidence()
    assert [(round(score, 1), truth) for *_, score, truth in outcomes(stage)] == [(0.4, 1.0), (0.9, 1.0), (0.9, 1.0)]


def test_every_row_of_a_request_has_a_label_of_its_own(stage):
    stage.model()
    deployment = stage.serve()
    ids = stage.answer(deployment, 1, [0.1, 0.2, 0.3, 0.4], rows=2)
    stage.label(deployment, ids, [1, 0], row=1)
    stage.evidence()
    assert [(round(score, 1), truth) for *_, score, truth in outcomes(stage)] == [(0.2, 1.0), (0.4, 0.0)]


def test_a_shadow_and_the_answer_share_a_label_a_failure_has_none(stage):
    stage.model()
    deployment = stage.serve()
    stage.answer(deployment, 1, [0.9], ids=["a"])
    stage.answer(deployment, 2, [0.2], ids=["a"], shadow=True)
    stage.answer(deployment, 2, [0.2], ids=["a"], status=2)
    stage.answer(deployment, 1, [np.nan], ids=["a"])
    stage.label(deployment, ["a"], [1])
    stage.evidence()
    assert [(no, shadow) for no, shadow, *_ in outcomes(stage)] == [(1, False), (2, True)]


def test_labels_stay_with_their_deployment(stage):
    stage.model()
    one, other = stage.serve("one"), stage.serve("other")
    stage.answer(one, 1, [0.9], ids=["a"])
    stage.label(other, ["a"], [1])
    stage.evidence()
    assert outcomes(stage) == []


def test_figures_of_a_revision_are_those_of_its_rows(stage):
    stage.model(versions=2)
    deployment = stage.serve()
    for _ in range(3):
        stage.answer(deployment, 1, stage.rng.random(400), rows=4)
        stage.fail(deployment, 1, 7)
        stage.evidence()
    stage.answer(deployment, 1, [0.5] * 4, rows=4, status=1)
    stage.evidence()
    (shown,) = stage.call("deploy.show", deployment="census").revisions
    assert (shown.requests, shown.errors) == (321, 21)
    for share, told in ((0.5, shown.p50_ms), (0.95, shown.p95_ms)):
        exact = stage.value(
            """SELECT quantile_cont(latency, ?) / 1000 FROM inference WHERE "row" = 0 AND status <> 1""", [share]
        )
        assert told == pytest.approx(exact, rel=0.06)


def test_a_backlog_is_taken_in_parts_and_whole(stage, monkeypatch):
    from mlops_tui.deploy.rollout import evidence

    monkeypatch.setattr(evidence, "AT_ONCE", 50)
    stage.model()
    deployment = stage.serve()
    for part in range(8):
        ids = stage.answer(deployment, 1, stage.rng.random(30))
        stage.label(deployment, ids[part:], [1] * (30 - part))
    stage.evidence()
    assert len(outcomes(stage)) == 8 * 30 - sum(range(8))
    assert stage.call("deploy.show", deployment="census").revisions[0].requests == 240


def test_a_request_that_failed_without_rows_is_one_row(stage):
    stage.model()
    deployment = stage.serve()
    stage.fail(deployment, 1, 3)
    assert stage.rows('SELECT status, "row", isnan(score), len(features) FROM inference') == [(2, 0, True, 2)] * 3
