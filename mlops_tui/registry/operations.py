"""The registry: its parts register themselves on import."""

from __future__ import annotations

from mlops_tui.registry import aliases, lineage, lists, read, register

__all__ = ["aliases", "lineage", "lists", "read", "register"]
