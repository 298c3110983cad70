"""Warming up by replay: what ends a rollout, what is only said, what cannot be replayed."""

import pytest

from mlops_tui.deploy.rollout import warmup


@pytest.mark.parametrize(
    ("n", "failed", "errors", "ends"),
    [
        (100, 0, 0.0, False), (100, 1, 0.0, False), (100, 2, 0.0, True), (2, 2, 0.0, True), (1, 1, 0.0, True),
        (100, 4, 0.2, False), (100, 14, 0.2, True), (100, 100, 0.5, True),
    ],
)  # fmt: skip
def test_more_failures_than_stables_own_share_of_errors_explains_end_it(n, failed, errors, ends):
    told = warmup._told([1.0] * n, failed, "boom", errors, 0.1)
    assert told.failed is ends
    assert ("boom" in told.text) is bool(failed)


def test_a_model_that_fails_at_random_as_often_as_stable_is_let_through():
    import numpy as np

    rng = np.random.default_rng(3)
    for errors in (0.01, 0.1, 0.3):
        twice = rng.binomial(100, errors**2, 2000)
        assert np.mean([warmup._told([1.0] * 100, int(k), "boom", errors, 0.1).failed for k in twice]) <= 0.002


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"datatype": "FP32", "shape": [-1, 3]}, ""),
        ({"datatype": "BYTES", "shape": [-1, 1]}, "it takes BYTES"),
        ({"datatype": "FP32", "shape": [-1, 2, 4]}, "has the shape"),
    ],
)
def test_what_the_log_cannot_give_back_is_not_replayed(given, why):
    assert why in warmup._unfit(given) and bool(warmup._unfit(given)) is bool(why)


def test_every_request_busy_is_no_failure():
    assert warmup._told([], 0, "", 0.0, 1.0) == warmup.Warm("not warmed up: the servers were busy")
