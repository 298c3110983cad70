"""The quality gate: good enough in itself, and not worse than the champion on the same rows."""

from __future__ import annotations

import msgspec

from mlops_tui.contracts.model import GateResult
from mlops_tui.pipelines.gates.verdict import unjudged
from mlops_tui.plugins.hookspecs import Candidate
from mlops_tui.stats import quality


class QualityGate:
    """Lower ends of the confidence intervals must clear the absolute bounds; the champion's AUC is the relative one."""

    name = "quality"

    def judge(self, candidate: Candidate) -> GateResult:
        """Judge accuracy and AUC."""
        bounds = candidate.bounds
        found = quality.evaluate(candidate.labels, candidate.scores)
        auc, accuracy = found.roc_auc, found.accuracy
        if auc.value is None or accuracy.value is None:
            return unjudged(self.name, f"{found.n} labelled rows hold {_classes(found)}: quality cannot be judged")
        wrong = [
            f"{name} {one.value:.3f} [{one.low:.3f}, {one.high:.3f}] is not surely ≥ {bounds[bound]}"
            for name, one, bound in (("accuracy", accuracy, "min_accuracy"), ("AUC", auc, "min_auc"))
            if one.against(float(bounds[bound]), "at_least") != "pass"
        ]
        champion = None if candidate.champion is None else quality.roc_auc(candidate.labels, candidate.champion)
        if champion is not None and auc.value < champion - bounds["max_auc_drop"]:
            wrong.append(
                f"AUC {auc.value:.3f} is more than {bounds['max_auc_drop']} below the champion's {champion:.3f}"
            )
        beside = candidate.champion_note if champion is None else f"champion {champion:.3f}"
        good = f"accuracy {accuracy.value:.3f}, AUC {auc.value:.3f}" + (f" ({beside})" if beside else "")
        return GateResult(
            gate=self.name,
            passed=not wrong,
            value=auc.value,
            threshold=float(bounds["min_auc"]),
            text="; ".join(wrong) or good,
            detail={"quality": msgspec.to_builtins(found), "champion_auc": champion},
        )


def _classes(found: quality.Quality) -> str:
    return "one class only" if found.n else "nothing"
