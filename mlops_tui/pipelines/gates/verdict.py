"""Verdicts that say no without a figure."""

from __future__ import annotations

from mlops_tui.contracts.model import GateResult


def unjudged(gate: str, why: str) -> GateResult:
    """Return the verdict of a gate that could not judge: it has not been passed."""
    return GateResult(gate=gate, passed=False, value=None, threshold=None, text=why)
