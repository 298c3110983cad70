"""The deploy room registers itself on import."""

from __future__ import annotations

from mlops_tui.deploy import (
    bundles,
    deployments,
    engine,
    evidence,
    fallback,
    inference,
    reconcile,
    replay_operations,
    rollout_operations,
    rollouts,
    servable,
    toggle_operations,
    toggles,
)

__all__ = [
    "bundles",
    "deployments",
    "engine",
    "evidence",
    "fallback",
    "inference",
    "reconcile",
    "replay_operations",
    "rollout_operations",
    "rollouts",
    "servable",
    "toggle_operations",
    "toggles",
]
