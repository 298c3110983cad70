"""The tracking room: its parts register themselves on import."""

from __future__ import annotations

from mlops_tui.tracking import (
    artifacts,
    change,
    contents,
    experiments,
    files,
    life,
    lists,
    logged,
    logged_list,
    lost,
    made,
    read,
)

__all__ = [
    "artifacts",
    "change",
    "contents",
    "experiments",
    "files",
    "life",
    "lists",
    "logged",
    "logged_list",
    "lost",
    "made",
    "read",
]
