"""A figure with its interval, and how it stands against a limit."""

from __future__ import annotations

import math
from typing import Literal, Self

import msgspec

Standing = Literal["pass", "fail", "unsure"]


class Estimate(msgspec.Struct, frozen=True):
    """A figure with the interval that holds the truth with probability ``level``.

    ``value`` is None where the figure is undefined (no rows, one class only); ``low`` and ``high`` are None where no
    interval is known. Units are those of the figure; rates are shares in [0, 1], not per cent.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    method: str = ""

    @classmethod
    def around(cls, value: float, error: float, level: float = 0.95, method: str = "normal") -> Self:
        """Return value ± z·error, ``error`` being the standard error; wants level in (0, 1)."""
        half = normal_quantile(level) * error
        return cls(value, value - half, value + half, level, method)

    def against(self, limit: float, side: Literal["at_most", "at_least"] = "at_most") -> Standing:
        """Say whether the figure keeps its limit beyond its own uncertainty.

        ``pass`` when the whole interval keeps the limit, ``fail`` when the whole interval breaks it, else ``unsure``;
        also ``unsure`` where the figure or its interval is undefined.
        """
        if self.value is None or self.low is None or self.high is None:
            return "unsure"
        low, high, bound = (self.low, self.high, limit) if side == "at_most" else (-self.high, -self.low, -limit)
        if high <= bound:
            return "pass"
        return "fail" if low > bound else "unsure"


def normal_quantile(level: float) -> float:
    """Return z with P(|Z| ≤ z) = level for a standard normal Z, e.g. 1.96 for 0.95."""
    from scipy import special

    return float(special.ndtri((1 + level) / 2))


def wilson(successes: int, n: int, level: float = 0.95) -> Estimate:
    """Return a rate with Wilson's score interval (Wilson 1927), sound for small n and rates near 0 or 1."""
    if n <= 0:
        return Estimate(None, level=level, method="wilson")
    z, rate = normal_quantile(level), successes / n
    scale = 1 + z * z / n
    middle = (rate + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == n else middle + half
    return Estimate(rate, low, high, level, "wilson")
