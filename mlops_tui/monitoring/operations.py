"""The monitoring room registers itself on import."""

from __future__ import annotations

from mlops_tui.monitoring import drifts, incidents, monitors, notify, responses, watch

__all__ = ["drifts", "incidents", "monitors", "notify", "responses", "watch"]
