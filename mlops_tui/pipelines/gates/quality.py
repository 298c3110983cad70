"""The quality gate: good enough in itself, and not worse than the champion on the same rows."""

from __future__ import annotations

import msgspec

from mlops_tui.contracts.model import GateResult
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
        wrong = []
        if (accuracy.low or 0.0) < bounds["min_accuracy"]:
            wrong.append(
                f"accuracy {accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}] is not surely ≥ {bounds['min_accuracy']}"
            )
        if (auc.low or 0.0) < bounds["min_auc"]:
            wrong.append(f"AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}] is not surely ≥ {bounds['min_auc']}")
        champion = None
        if candidate.champion is not None:
            champion = quality.roc_auc(candidate.labels, candidate.champion)
            if champion is not None and (auc.value or 0.0) < champion - bounds["max_auc_drop"]:
                wrong.append(
                    f"AUC {auc.value:.3f} is more than {bounds['max_auc_drop']} below the champion's {champion:.3f}"
                )
        good = f"accuracy {accuracy.value:.3f}, AUC {auc.value:.3f}" + (
            f" (champion {champion:.3f})" if champion is not None else ""
        )
        return GateResult(
            gate=self.name,
            passed=not wrong,
            value=auc.value,
            threshold=float(bounds["min_auc"]),
            text="; ".join(wrong) or good,
            detail={"quality": msgspec.to_builtins(found), "champion_auc": champion},
        )
