"""The likelihood ratio that every comparison of a canary with stable multiplies, and how several become one.

A ratio t says "the canary is t times as bad", r is the ratio to be refuted, ρ the canary's share of the units. Badness
B_c of the canary and B_s of stable multiply the e-value by

    (t/r)^B_c · D^(B_c+B_s),   D = (1−ρ+ρr)/(1−ρ+ρt):

the likelihood ratio of t against r for whose the bad units are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def log_ratio(canary: Floats, stable: Floats, share: Floats, null: float, ratios: tuple[float, ...]) -> Floats:
    """Return ln e after each look, mixed evenly over the ratios.

    Args:
        canary: its badness a look, shape (..., looks).
        stable: likewise.
        share: the canary's share ρ of the units of each look.
        null: ratio r to be refuted.
        ratios: alternatives t.

    Returns:
        float64, shape (..., looks).
    """
    both = canary + stable
    paths = [
        np.cumsum(canary * math.log(t / null) + both * np.log((1 - share + share * null) / (1 - share + share * t)), -1)
        for t in ratios
    ]
    return log_mean(np.array(paths))


def log_mean(logs: Floats) -> Floats:
    """Return ln of the mean of exp over the first axis: an even mixture of e-values is an e-value."""
    top = logs.max(axis=0)
    return np.asarray(top + np.log(np.exp(logs - top).mean(axis=0)))
