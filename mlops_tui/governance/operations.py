"""The governance room: audit, identities and cost register themselves on import."""

from __future__ import annotations

from mlops_tui.governance import audit, cost, identities

__all__ = ["audit", "cost", "identities"]
