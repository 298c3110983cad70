"""The pipelines room: gates register themselves on import."""

from __future__ import annotations

from mlops_tui.pipelines import gate_operations, tune_operations

__all__ = ["gate_operations", "tune_operations"]
