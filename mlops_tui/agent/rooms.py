"""Which rooms this agent has. Importing a room registers its operations, absorbers, lists and schedules."""

from __future__ import annotations

import importlib

from mlops_tui.plugins.loader import register_builtin

ROOMS = (
    "jobs",
    "tracking",
    "data",
    "registry",
    "training",
    "pipelines",
    "deploy",
    "monitoring",
    "abtest",
    "governance",
    "hardware",
    "agent",
)
BUILTINS = ("pipelines.gates", "monitoring.notify", "training.trainers", "hardware.devices", "deploy.targets.targets")
"""Modules with hooks of our own; they are asked like those of plugins, and before them."""


def open_rooms() -> None:
    """Import every room's ``operations`` module, and register what is built in."""
    for room in ROOMS:
        importlib.import_module(f"mlops_tui.{room}.operations")
    for module in BUILTINS:
        register_builtin(importlib.import_module(f"mlops_tui.{module}"))
