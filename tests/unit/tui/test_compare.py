"""Runs side by side as lines: figures are never cut, names give way first."""

from __future__ import annotations

import pytest

from mlops_tui.contracts.run import CompareRow
from mlops_tui.tui.drawing.text import plain, width
from mlops_tui.tui.screens.runs.compare import beside, table

VALUES = [0.3365, 0.337, 0.5090, 0.4940, 0.8055, 0.8034, 0.9568, 0.9596]


@pytest.mark.parametrize("cells", [56, 76, 112])
def test_the_figures_of_eight_runs_are_whole(cells):
    rows = [CompareRow(what="metric", key=key, values=VALUES, same=False) for key in ("train/loss", "val/acc")]
    told = [row.line for row in table(rows, 8, cells)]
    assert all(width(one) <= cells for one in told)
    assert "…" not in plain(told[2]) and plain(told[2]).count("0.") >= 8


def test_the_parameters_of_eight_runs_stand_closer_before_they_are_cut():
    values = ["0.01", "0.01", "0.03", "0.03", "0.1", "0.1", "0.3", "0.3"]
    told = [plain(one) for one in beside([CompareRow(what="param", key="lr", values=values, same=False)], 62)]
    assert "…" not in told[0] and "▼ 0.3" in told[0]
