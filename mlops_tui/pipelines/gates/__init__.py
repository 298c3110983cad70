"""Gates: quality, fairness, explanation and endpoint; built-in ones and plugins' are asked through the same hook."""

from __future__ import annotations

from collections.abc import Iterable

from mlops_tui.pipelines.gates.endpoint import EndpointGate
from mlops_tui.pipelines.gates.explanation import ExplanationGate
from mlops_tui.pipelines.gates.fairness import FairnessGate
from mlops_tui.pipelines.gates.quality import QualityGate
from mlops_tui.plugins.hookspecs import Gate, hook


@hook
def mlops_gates() -> Iterable[Gate]:
    """Bring the built-in gates."""
    return [QualityGate(), FairnessGate(), ExplanationGate(), EndpointGate()]
