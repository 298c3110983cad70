"""The drift statistic."""

from __future__ import annotations

from typing import Any

from mlops_energy import energy
from mlops_tui.plugins import hook


class EnergyDistance:
    """Feels a shift of the whole shape, and how far it went; needs no bins of its own."""

    name = "energy"
    kinds = ("numeric",)

    def distance(self, reference: Any, live: Any, centres: Any) -> float | None:
        """Return the energy coefficient, between 0 and 1."""
        return None if centres is None else energy(reference, live, centres)


@hook
def mlops_drift_statistics() -> list[EnergyDistance]:
    """Bring the statistic."""
    return [EnergyDistance()]
