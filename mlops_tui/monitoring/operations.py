"""The monitoring room registers itself on import."""

from __future__ import annotations

from mlops_tui.monitoring import alerts, monitors, responses, watch

__all__ = ["alerts", "monitors", "responses", "watch"]
