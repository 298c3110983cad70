"""What a planned rollout would see, against what the long simulations found of the same traffic."""

import numpy as np
import pytest

from mlops_tui.stats.foresight import Ahead, foresee


def plan(per_look=1200.0):
    """Thirty looks a minute, 5, 25 and 50 % of 20 requests a second: as in the simulations of rollouts."""
    return Ahead(np.full(30, per_look), np.repeat([0.05, 0.25, 0.5], 10), 0.05 / 3, 200)


def test_doubled_errors_are_foreseen_as_simulated():
    seen = foresee(plan(), 0.01, 0.02)
    assert seen.share >= 0.99 and 9 <= seen.stretch <= 17
    assert foresee(plan(), 0.01, 0.01).share <= 0.02
    assert foresee(plan(120.0), 0.01, 0.02).share < 0.5


@pytest.mark.parametrize(("clients", "least", "most"), [(200, 0.8, 1.0), (10, 0.0, 0.2)])
def test_few_clients_see_less(clients, least, most):
    assert least <= foresee(plan(), 0.01, 0.02, clients).share <= most


def test_nothing_is_judged_before_there_is_enough():
    assert foresee(plan(1.0), 0.0, 1.0).share == 0.0
    assert foresee(plan(1.0), 0.0, 1.0).stretch is None
