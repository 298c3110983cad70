"""The deploy room registers itself on import."""

from __future__ import annotations

from mlops_tui.deploy import curves, deployments, fallback, rollback, tokens
from mlops_tui.deploy.package import bundles, servable
from mlops_tui.deploy.replay import operations as replay_operations
from mlops_tui.deploy.rollout import engine, evidence, inference, rollouts
from mlops_tui.deploy.rollout import operations as rollout_operations
from mlops_tui.deploy.rollout import words as rollout_words
from mlops_tui.deploy.targets import load, reconcile
from mlops_tui.deploy.toggles import kill_switch, toggles
from mlops_tui.deploy.toggles import operations as toggle_operations

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
