"""The deploy room registers itself on import."""

from __future__ import annotations

from mlops_tui.deploy import deployments, engine, inference, reconcile, rollouts

__all__ = ["deployments", "engine", "inference", "reconcile", "rollouts"]
