"""A monitor's frozen reference, decoded once and kept while the agent runs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from mlops_tui.contracts.monitor import AddMonitor
from mlops_tui.stats.calibration import Calibrator
from mlops_tui.stats.profile import CategoricalProfile, NumericProfile

Profile = NumericProfile | CategoricalProfile
SCORE = "prediction"


class Reference(msgspec.Struct, kw_only=True):
    """Profiles by feature in the order of the model's inputs; of the scores too where they are known."""

    names: list[str]
    features: dict[str, Profile]
    score: Profile | None = None
    calibrator: Calibrator | None = None
    accuracy: float | None = None
    auc: float | None = None


class Monitor(msgspec.Struct, kw_only=True):
    """A watched deployment."""

    id: str
    tenant: str
    deployment: str
    spec: AddMonitor
    reference: Reference

    @property
    def bucket_us(self) -> int:
        """Width of a count bucket: a tenth of the window, between one second and one minute."""
        return int(min(60.0, max(1.0, self.spec.window_s / 10)) * 1_000_000)


def monitor_of(row: dict[str, Any]) -> Monitor:
    """Return the monitor that a row of the table ``monitor`` describes."""
    return Monitor(
        id=row["id"],
        tenant=row["tenant"],
        deployment=row["deployment_id"],
        spec=msgspec.json.decode(row["spec"], type=AddMonitor),
        reference=_decoded(row["profiles"]),
    )


@lru_cache(maxsize=64)
def _decoded(profiles: str) -> Reference:
    return msgspec.json.decode(profiles, type=Reference)
