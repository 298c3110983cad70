"""The tracking room: its parts register themselves on import."""

from __future__ import annotations

from mlops_tui.tracking import artifacts, change, contents, life, lists, lost, read

__all__ = ["artifacts", "change", "contents", "life", "lists", "lost", "read"]
