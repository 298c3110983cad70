"""The hardware room: the list of machines and the watch over this one register themselves on import."""

from __future__ import annotations

from mlops_tui.hardware import hosts, watch

__all__ = ["hosts", "watch"]
