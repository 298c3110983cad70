"""A monitor as it watches: what was asked for, and its frozen reference, decoded once and kept while the agent runs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from mlops_tui.contracts.monitor import AddMonitor
from mlops_tui.core.clock import SECOND
from mlops_tui.stats.anomaly import State
from mlops_tui.stats.calibration import Calibrator
from mlops_tui.stats.profile import CategoricalProfile, NumericProfile

Profile = NumericProfile | CategoricalProfile
SCORE = "prediction"
"""Name under which a model's scores are watched like a feature."""
BUCKETS = 10
"""Buckets of counts that a window has, between one second and one minute each."""


class Reference(msgspec.Struct, kw_only=True):
    """Profiles by feature in the order of the model's inputs; of the scores too where they are known."""

    names: list[str]
    features: dict[str, Profile]
    score: Profile | None = None
    calibrator: Calibrator | None = None
    accuracy: float | None = None
    auc: float | None = None

    @property
    def profiles(self) -> dict[str, Profile]:
        """Every profile by name, that of the scores under ``SCORE``."""
        return {**self.features, **({SCORE: self.score} if self.score is not None else {})}


class Monitor(msgspec.Struct, kw_only=True):
    """A watched deployment; ``counted`` is the last batch of predictions in its counts."""

    id: str
    tenant: str
    deployment: str
    name: str
    spec: AddMonitor
    reference: Reference
    counted: int
    alarms: dict[str, State]

    @property
    def window_us(self) -> int:
        """Traffic that one judgement covers."""
        return int(self.spec.window_s * SECOND)

    @property
    def bucket_us(self) -> int:
        """Width of a bucket of counts."""
        return int(min(60.0, max(1.0, self.spec.window_s / BUCKETS)) * SECOND)


def monitor_of(row: dict[str, Any]) -> Monitor:
    """Return the monitor that a row of ``monitor`` describes; ``name`` is its deployment's."""
    return Monitor(
        id=row["id"],
        tenant=row["tenant"],
        deployment=row["deployment_id"],
        name=row["name"],
        spec=msgspec.json.decode(row["spec"], type=AddMonitor),
        reference=_decoded(row["profiles"]),
        counted=row["counted"],
        alarms=msgspec.json.decode(row["alarms"], type=dict[str, State]),
    )


@lru_cache(maxsize=64)
def _decoded(profiles: str) -> Reference:
    return msgspec.json.decode(profiles, type=Reference)
