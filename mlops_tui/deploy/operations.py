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
    rollback,
    rollout_operations,
    rollout_words,
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
    "rollback",
    "rollout_operations",
    "rollout_words",
    "rollouts",
    "servable",
    "toggle_operations",
    "toggles",
    "tokens",
]
