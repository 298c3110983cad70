"""Energy distance between two samples on a line, from counts (Székely and Rizzo 2013)."""

from __future__ import annotations

from typing import Any

import numpy as np


def energy(reference: Any, live: Any, centres: Any) -> float | None:
    """Return the energy coefficient of two histograms: 0 when alike, 1 when each has all its rows at one other place.

    On a line it is 2∫(F−G)² / 2∫(F(1−G)+G(1−F)), with F and G the cumulative shares.

    Args:
        reference: rows a cell, shape (k,).
        live: likewise.
        centres: where the cells lie, ascending, shape (k,).
    """
    one, other = np.asarray(reference, float), np.asarray(live, float)
    if not one.sum() or not other.sum():
        return None
    f, g = np.cumsum(one)[:-1] / one.sum(), np.cumsum(other)[:-1] / other.sum()
    width = np.diff(np.asarray(centres, float))
    apart = float((width * (f * (1 - g) + g * (1 - f))).sum())
    return float((width * (f - g) ** 2).sum()) / apart if apart else 0.0
