"""The promises of rollouts on simulated traffic; the long form is ``tests.benchmarks rollout_simulation``."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def simulation():
    path = Path(__file__).parents[2] / "benchmarks" / "rollout_simulation.py"
    spec = importlib.util.spec_from_file_location("rollout_simulation", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("traffic", ["STEADY", "BURSTY", "SPARSE", "FREQUENT"])
def test_at_most_one_in_fifty_harmless_canaries_is_rolled_back(simulation, traffic):
    """Errors, latency and quality together, over 2,000 rollouts of 30 looks, at 95 % confidence."""
    k, _ = simulation.in_parts(2000, 4, getattr(simulation, traffic))
    assert simulation.upper(k, 2000) <= 0.02


def test_a_test_that_may_not_be_repeated_would_roll_back_one_in_four(simulation):
    assert simulation.peeking(simulation.STEADY, 1000, np.random.default_rng(1)) > 0.2


def test_doubled_errors_at_20_requests_a_second_are_caught(simulation):
    caught = simulation.harmful(simulation.STEADY, 2.0, 1000, np.random.default_rng(2))
    assert simulation.upper(int(1000 * (1 - caught.share)), 1000) <= 0.05
    assert caught.looks[1] <= 25 and caught.bad[1] <= 110


def test_a_slow_version_is_caught_and_one_that_is_as_slow_as_allowed_is_not(simulation):
    assert simulation.slow(simulation.STEADY, 1.25, 300, np.random.default_rng(3)).share == 1.0
    assert simulation.slow(simulation.STEADY, 1.0, 1000, np.random.default_rng(3)).share <= 0.02


def test_the_bound_is_clopper_and_pearsons(simulation):
    from scipy import stats

    for k, n in ((0, 2000), (20, 2000), (7, 20)):
        assert stats.binom.cdf(k, n, simulation.upper(k, n)) == pytest.approx(0.05, rel=1e-6)
    assert simulation.upper(20, 20) == 1.0


def test_a_few_troublesome_clients_roll_nothing_back_where_counting_requests_would(simulation):
    """Each client sticks to its version; 5 % of 200 fail often. The long form has 2,000 rollouts and more crowds."""
    back, by_requests = simulation.sticky_harmless(simulation.Crowd(200), 400, 5)
    assert simulation.upper(back, 400) <= 0.02 and by_requests > 100


def test_doubled_errors_of_sticky_clients_are_caught(simulation):
    caught = simulation.sticky_harmful(simulation.Crowd(2000, error=(0.01, 0.01)), 2.0, 60, 2)
    assert caught.share >= 0.9 and caught.looks[0] <= 20 and caught.bad[0] <= 80
