"""Drift statistics of plugins: taken from the same counts as ours and shown beside them; no verdict is theirs."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlops_tui.core.errors import MlopsError
from mlops_tui.core.paths import Home
from mlops_tui.monitoring.reference import Profile
from mlops_tui.plugins.hookspecs import DriftStatistic
from mlops_tui.plugins.loader import brought
from mlops_tui.plugins.trust import trusted
from mlops_tui.stats.profile import NumericProfile, expected

log = logging.getLogger(__name__)
OWN = ("psi", "js")
"""Curves that a judgement draws itself: no plugin's statistic may bear such a name."""
_told: set[tuple[str, str]] = set()


def statistics(home: Home) -> list[DriftStatistic]:
    """Return what trusted plugins bring; one small file is read where nobody trusts any."""
    try:
        if not trusted(home):
            return []
    except MlopsError:
        return []  # the loader says why, at the start of the agent
    found = brought("drift_statistics")
    for name in found.keys() & set(OWN):
        _tell(name, "this name is taken")
    return [one for name, one in found.items() if name not in OWN]


def measure(
    statistics: list[DriftStatistic], profiles: Mapping[str, Profile], sums: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    """Return each statistic's distance by feature and name; what cannot be told, or breaks, is left out.

    Args:
        statistics: what to ask.
        profiles: the reference by feature.
        sums: live rows in the cells of the feature's profile, shape (profile.size,), by feature.
    """
    found: dict[str, dict[str, float]] = {}
    for feature, live in sums.items():
        told = {one.name: _distance(one, profiles[feature], live) for one in statistics}
        found[feature] = {name: value for name, value in told.items() if value is not None}
    return found


def _distance(statistic: DriftStatistic, profile: Profile, live: Any) -> float | None:
    """Ask one statistic of one feature; the last cell, of what is missing, is not its business."""
    line = isinstance(profile, NumericProfile)
    try:
        if ("numeric" if line else "categorical") not in statistic.kinds:
            return None
        centres = np.array(profile.centres) if isinstance(profile, NumericProfile) else None
        value = statistic.distance(expected(profile)[:-1], np.array(live)[:-1], centres)
        return float(value) if value is not None and math.isfinite(value) else None
    except Exception as error:
        _tell(statistic.name, f"{type(error).__name__}: {error}")
        return None


def _tell(name: str, why: str) -> None:
    if (name, why) not in _told:
        _told.add((name, why))
        log.warning("the drift statistic %s is skipped: %s", name, why)
