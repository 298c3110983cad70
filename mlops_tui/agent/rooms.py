"""Which rooms this agent has. Importing a room registers its operations, absorbers, lists and schedules."""

from __future__ import annotations

import importlib

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


def open_rooms() -> None:
    """Import every room's ``operations`` module."""
    for room in ROOMS:
        importlib.import_module(f"mlops_tui.{room}.operations")
