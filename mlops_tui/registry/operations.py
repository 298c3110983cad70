"""The registry: its parts register themselves on import."""

from __future__ import annotations

from mlops_tui.registry import aliases, change, lineage, lists, make, models, outgoing, read, register, stages

__all__ = ["aliases", "change", "lineage", "lists", "make", "models", "outgoing", "read", "register", "stages"]
