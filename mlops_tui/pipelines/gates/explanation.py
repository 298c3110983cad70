"""The explanation gate: no forbidden column may lead, and no single feature may decide alone."""

from __future__ import annotations

import msgspec

from mlops_tui.contracts.model import GateResult
from mlops_tui.pipelines.gates.verdict import unjudged
from mlops_tui.plugins.hookspecs import Candidate
from mlops_tui.stats import importance


class ExplanationGate:
    """Permutation importance on held-out rows, seeded."""

    name = "explanation"

    def judge(self, candidate: Candidate) -> GateResult:
        """Judge shares and the leading features."""
        bounds = candidate.bounds
        if candidate.predict is None:
            return unjudged(self.name, "the run has no model that can be asked: nothing can be explained")
        columns = {name: candidate.columns[name] for name in candidate.inputs}
        found = importance.permutation(
            candidate.predict, columns, candidate.labels, max_rows=int(bounds["rows"]), repeats=int(bounds["repeats"])
        )
        leading = [feature for feature in found.features if feature.rank <= int(bounds["top"]) and feature.share > 0]
        wrong = [f"{one.name} is forbidden and ranks {one.rank}" for one in leading if one.name in candidate.forbidden]
        first = found.features[0]
        if first.share > bounds["max_share"]:
            wrong.append(
                f"{first.name} alone has {first.share:.0%} of the importance, more than {bounds['max_share']:.0%}"
            )
        text = "; ".join(wrong) or ", ".join(f"{one.name} {one.share:.0%}" for one in leading)
        return GateResult(
            gate=self.name,
            passed=not wrong,
            value=first.share,
            threshold=float(bounds["max_share"]),
            text=text,
            detail={"importance": msgspec.to_builtins(found)},
        )
