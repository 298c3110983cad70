"""The data room: versions and features register themselves on import."""

from __future__ import annotations

from mlops_tui.data import features, online_features, versions

__all__ = ["features", "online_features", "versions"]
