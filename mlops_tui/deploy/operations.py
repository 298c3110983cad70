"""The deploy room registers itself on import."""

from __future__ import annotations

from mlops_tui.deploy import (
    bundles,
    curves,
    deployments,
    engine,
    evidence,
    fallback,
    inference,
    kill_switch,
    load,
    reconcile,
    replay_operations,
    rollout_operations,
    rollouts,
    servable,
    toggle_operations,
    toggles,
    tokens,
)

__all__ = [
    "bundles",
    "curves",
    "deployments",
    "engine",
    "evidence",
    "fallback",
    "inference",
    "kill_switch",
    "load",
    "reconcile",
    "replay_operations",
    "rollout_operations",
    "rollouts",
    "servable",
    "toggle_operations",
    "toggles",
    "tokens",
]
