"""The data room: versions, their checks and features register themselves on import."""

from __future__ import annotations

from mlops_tui.data import checking, features, versions

__all__ = ["checking", "features", "versions"]
