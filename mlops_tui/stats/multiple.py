"""Many tests at once: p-values adjusted so that looking at fifty columns doesn't find five by chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Holm's adjusted p-values, shape (k,): rejecting those ≤ α errs anywhere with probability ≤ α.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure". Any dependence is allowed.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return q-values, shape (k,): among those ≤ α the expected share of false alarms is ≤ α.

    Source: Benjamini and Hochberg 1995, for independent or positively dependent tests.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)[::-1]
    stepped = np.minimum.accumulate(p[order] * p.size / np.arange(p.size, 0, -1))
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
