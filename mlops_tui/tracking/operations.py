"""The tracking room: its parts register themselves on import."""

from __future__ import annotations

from mlops_tui.tracking import artifacts, change, contents, experiments, life, lists, lost, made, read

__all__ = ["artifacts", "change", "contents", "experiments", "life", "lists", "lost", "made", "read"]
