"""The gate: a new model may be better, but should not see a different world."""

from __future__ import annotations

import numpy as np

from mlops_energy import energy
from mlops_tui.contracts.model import GateResult
from mlops_tui.plugins import hook
from mlops_tui.plugins.hookspecs import Candidate


class ScoreShift:
    """Refuses a model whose scores lie far from the champion's on the same rows."""

    name = "score-shift"

    def judge(self, candidate: Candidate) -> GateResult:
        """Compare the two distributions of scores."""
        bound = float(candidate.bounds.get("max_distance", 0.05))
        if candidate.champion is None:
            return GateResult(gate=self.name, passed=True, value=None, threshold=bound, text="there is no champion yet")
        edges = np.unique(np.concatenate([candidate.champion, candidate.scores]))
        before, after = (
            np.bincount(np.searchsorted(edges, s), minlength=len(edges)) for s in (candidate.champion, candidate.scores)
        )
        value = energy(before, after, edges) or 0.0
        text = f"scores lie {value:.3f} from the champion's (energy coefficient, at most {bound:g})"
        return GateResult(gate=self.name, passed=value <= bound, value=value, threshold=bound, text=text)


@hook
def mlops_gates() -> list[ScoreShift]:
    """Bring the gate."""
    return [ScoreShift()]
