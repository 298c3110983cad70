"""The fairness gate: groups must be treated alike, as far as their numbers can tell."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from mlops_tui.contracts.model import GateResult
from mlops_tui.pipelines.gates.verdict import unjudged
from mlops_tui.plugins.hookspecs import Candidate
from mlops_tui.stats import fairness

MEASURES = (
    ("demographic_parity", "max_demographic_parity"),
    ("equalized_odds", "max_equalized_odds"),
    ("accuracy_gap", "max_accuracy_gap"),
)


class FairnessGate:
    """Each difference's lower confidence end must stay within its bound, for each group column."""

    name = "fairness"

    def judge(self, candidate: Candidate) -> GateResult:
        """Judge demographic parity, equalised odds and the accuracy gap by every group column."""
        bounds = candidate.bounds
        if not candidate.groups:
            return unjudged(self.name, "the run names no group columns: fairness cannot be judged")
        wrong, said, detail = [], [], {}
        worst: tuple[float | None, float] = (None, float(bounds["max_demographic_parity"]))
        for column in candidate.groups:
            found = self._analyse(candidate, column)
            detail[column] = msgspec.to_builtins(found)
            for measure, bound in MEASURES:
                estimate, limit = getattr(found, measure), float(bounds[bound])
                words = f"{measure.replace('_', ' ')} by {column}"
                if estimate.value is None:
                    wrong.append(f"{words} cannot be judged: {estimate.method}")
                    continue
                words += f" {estimate.value:.3f}"
                said.append(words)
                if estimate.low is not None and estimate.low > limit:
                    wrong.append(f"{words} [{estimate.low:.3f}, {estimate.high:.3f}] is above {limit}")
                if worst[0] is None or estimate.value - limit > worst[0] - worst[1]:
                    worst = (estimate.value, limit)
        return GateResult(
            gate=self.name,
            passed=not wrong,
            value=worst[0],
            threshold=worst[1],
            text="; ".join(wrong or said),
            detail=detail,
        )

    def _analyse(self, candidate: Candidate, column: str) -> fairness.Fairness:
        names, code = np.unique(np.asarray(candidate.columns[column]).astype(str), return_inverse=True)
        predicted: Any = (np.asarray(candidate.scores) >= 0.5).astype(np.int64)
        cells = fairness.tally(np.asarray(candidate.labels).astype(np.int64), predicted, code, len(names))
        return fairness.analyse(cells, [str(name) for name in names], min_group=int(candidate.bounds["min_group"]))
