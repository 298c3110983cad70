"""From the agent's curves to series that the chart widget draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops_tui.contracts.run import Curve as Data

if TYPE_CHECKING:
    from mlops_tui.tui.raster import Series


def series_of(curve: Data, name: str = "", time: bool = False) -> Series:
    """Return a curve as a series over its steps, or over time."""
    from mlops_tui.tui.raster import series

    return series(name or curve.key, curve.ts if time else curve.step, curve.mean, curve.min, curve.max)


def steps(name: str, values: Sequence[float | None], token: str = "") -> Series:
    """Return plain values as a series over their places, from 1 on."""
    from mlops_tui.tui.raster import series

    return series(name, list(range(1, len(values) + 1)), values, token=token)
