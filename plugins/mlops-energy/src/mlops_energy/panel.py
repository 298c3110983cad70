"""The panel: the watched features that moved farthest, read through the door like everything on a screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mlops_energy import energy
from mlops_tui.plugins import hook


class EnergyPanel:
    """Draws one bar a feature, the farthest first."""

    name, title, mode = "energy", "Energy distance", "drift"

    async def lines(self, call: Callable[..., Awaitable[Any]], width: int) -> list[str]:
        """Ask for the watched features and their histograms, and draw them."""
        table = await call("drift.list", {"limit": 8})
        names = [column.name for column in table.columns]
        found = []
        for row in (dict(zip(names, values, strict=True)) for values in table.rows):
            bins = await call("drift.bins", {"deployment": row["deployment"], "feature": row["feature"]})
            if (value := energy(bins.reference, bins.live, range(len(bins.labels)))) is not None:
                found.append((value, f"{row['deployment']} {row['feature']}"))
        room = max(4, width - 42)
        lines = [
            f"{name[:30]:<30} {'█' * round(value * room)} {value:.3f}" for value, name in sorted(found, reverse=True)
        ]
        return [line[:width] for line in lines] or ["no watched feature has traffic yet"]


@hook
def mlops_panels() -> list[EnergyPanel]:
    """Bring the panel."""
    return [EnergyPanel()]
