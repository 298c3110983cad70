from __future__ import annotations

import numpy as np
import pytest
from mlops_energy import energy
from mlops_energy.gate import mlops_gates
from mlops_energy.panel import mlops_panels
from mlops_energy.statistic import mlops_drift_statistics
from scipy.stats import energy_distance

from mlops_tui.contracts.listing import Column, Table
from mlops_tui.contracts.monitor import Bins
from mlops_tui.plugins.hookspecs import Candidate


def test_it_is_scipy_s_distance_squared_over_twice_the_mean_distance():
    rng = np.random.default_rng(1)
    places = np.sort(rng.normal(size=12))
    a, b = rng.integers(1, 50, 12), rng.integers(1, 50, 12)
    x, y = np.repeat(places, a), np.repeat(places, b)
    expected = energy_distance(x, y) ** 2 / (2 * np.abs(x[:, None] - y[None, :]).mean())
    assert energy(a, b, places) == pytest.approx(expected, rel=1e-9)


def test_its_ends_and_what_cannot_be_told():
    assert energy([3, 5], [6, 10], [0, 1]) == pytest.approx(0)
    assert energy([4, 0], [0, 9], [0, 7]) == pytest.approx(1)
    assert energy([0, 0], [1, 2], [0, 1]) is None
    statistic = mlops_drift_statistics()[0]
    assert statistic.distance(np.array([1, 2]), np.array([2, 1]), None) is None


def judged(champion, **bounds):
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.2, 0.8])
    candidate = Candidate(run="r", labels=labels, scores=scores, columns={}, champion=champion, bounds=bounds)
    return mlops_gates()[0].judge(candidate)


def test_the_gate_compares_with_the_champion():
    assert judged(None).passed
    assert judged(np.array([0.1, 0.9, 0.2, 0.8])).value == pytest.approx(0)
    far = judged(np.array([0.0, 0.0, 0.1, 0.1]), max_distance=0.2)
    assert not far.passed and far.value > 0.2 and "champion" in far.text
    assert judged(np.array([0.0, 0.0, 0.1, 0.1]), max_distance=0.9).passed


async def test_the_panel_draws_the_farthest_first():
    columns = [Column(name=name, label=name) for name in ("id", "deployment", "feature")]
    rows = [["1", "fraud", "near"], ["2", "fraud", "far"]]
    live = {"near": [0.5, 0.5, 0.0], "far": [0.0, 0.0, 1.0]}

    async def call(operation, request):
        if operation == "drift.list":
            return Table(noun="drift", columns=columns, rows=rows, total=2)
        assert operation == "drift.bins"
        shares = live[request["feature"]]
        return Bins(feature="", labels=["a", "b", "c"], reference=[0.6, 0.4, 0.0], live=shares, n_reference=9, n_live=9)

    lines = await mlops_panels()[0].lines(call, 60)
    assert [line.split()[1] for line in lines] == ["far", "near"]
    assert all(len(line) <= 60 for line in lines)

    async def nothing(operation, request):
        return Table(noun="drift", columns=columns, rows=[], total=0)

    assert await mlops_panels()[0].lines(nothing, 60) == ["no watched feature has traffic yet"]
