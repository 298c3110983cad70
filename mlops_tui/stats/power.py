"""How many units a comparison needs, and how long that takes."""

from __future__ import annotations

import math
from collections.abc import Callable

from mlops_tui.core.errors import BadInput
from mlops_tui.stats.sequential import TUNING, half_width


def unit_variance(variance_a: float, variance_b: float, share_b: float = 0.5) -> float:
    """Return n times the variance of the difference of means, n being the units of both arms together.

    Args:
        variance_a: of one unit of A; p(1−p) for a rate p.
        variance_b: of one unit of B.
        share_b: B's share of the units, in (0, 1).
    """
    return variance_a / (1 - share_b) + variance_b / share_b


def sequential_size(
    effect: float,
    variance_a: float,
    variance_b: float,
    alpha: float = 0.05,
    power: float = 0.8,
    share_b: float = 0.5,
    tuning: float = TUNING,
) -> int:
    """Return the units (both arms) at which the confidence sequence leaves out 0 with probability ≥ ``power``.

    The last look alone counts, so it errs to the large side: half width + z_power·error ≤ effect.

    Raises:
        BadInput: no effect, or a share, power or alpha outside (0, 1).
    """
    _check(effect, alpha, power, share_b)
    spread = unit_variance(variance_a, variance_b, share_b)
    z = _z_power(power)
    return _first(lambda n: half_width(spread / n, n, alpha, tuning) + z * math.sqrt(spread / n) <= abs(effect))


def units_until(width: float, spread: float, alpha: float = 0.05, tuning: float = TUNING) -> int:
    """Return the units (both arms) at which half the confidence sequence is no wider than ``width``.

    Args:
        width: in the metric's unit, > 0.
        spread: from ``unit_variance``.
        alpha: probability of ever missing.
        tuning: units at which the sequence is tightest.
    """
    if width <= 0:
        raise BadInput("a width must be above 0", f"got {width}")
    return _first(lambda n: half_width(spread / n, n, alpha, tuning) <= width)


def duration_s(units: int, per_second: float) -> float | None:
    """Return the seconds until so many units have come; None when none come."""
    return units / per_second if per_second > 0 else None


def _first(enough: Callable[[int], bool]) -> int:
    """Return the smallest n ≥ 1 that is enough, by doubling and halving; ``enough`` stays true once it is."""
    high = 1
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _z_power(power: float) -> float:
    from scipy import special

    return float(special.ndtri(power))


def _check(effect: float, alpha: float, power: float, share_b: float) -> None:
    if effect == 0 or not all(0 < x < 1 for x in (alpha, power, share_b)):
        raise BadInput(
            "the size of this comparison cannot be planned",
            f"effect {effect}, alpha {alpha}, power {power}, share of B {share_b}",
            "give an effect other than 0 and the others between 0 and 1",
        )
