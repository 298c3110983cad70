"""Tests that may be looked at as often as one likes: intervals and p-values that hold at every look at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlops_tui.core.errors import BadInput
from mlops_tui.stats.arms import Arm, difference_variance
from mlops_tui.stats.estimate import Estimate

TUNING = 5_000
"""Units of both arms together at which the confidence sequence is tightest."""

CONCENTRATIONS = (100.0, 1_000.0, 10_000.0)
"""How close to the plan a broken split may lie: gross faults show after hundreds of units, small ones after many."""


def rho_squared(alpha: float, tuning: float = TUNING) -> float:
    """Return the mixing parameter ρ² that makes the sequence tightest after ``tuning`` units.

    ρ² = (−2 ln α + ln(1 − 2 ln α)) / tuning, Waudby-Smith et al. 2024, arXiv 2103.06476, section on tuning. Choose
    ``tuning`` near the number of units at which a decision is expected; ten times too small widens it by
    7 %, ten times too large by 27 %, and neither breaks its promise.
    """
    return (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / tuning


def half_width(variance: float, n: int, alpha: float, tuning: float = TUNING) -> float:
    """Return half the width of the asymptotic confidence sequence of an estimate.

    σ·√(2(nρ²+1)/(n²ρ²)·ln(√(nρ²+1)/α)) with σ² = n·variance (Waudby-Smith et al. 2024, arXiv 2103.06476, theorem
    2.2). It holds at all n at once with probability ≥ 1 − alpha, in the limit of many units before the first look.

    Args:
        variance: of the estimate from n units (not of one unit).
        n: units of both arms together.
        alpha: probability of ever missing.
        tuning: units at which it is tightest.
    """
    scaled = n * rho_squared(alpha, tuning)
    return math.sqrt(variance * 2 * (scaled + 1) / scaled * math.log(math.sqrt(scaled + 1) / alpha))


def difference(a: Arm, b: Arm, alpha: float = 0.05, tuning: float = TUNING) -> Estimate:
    """Return mean(B) − mean(A) with its confidence sequence; no interval below two units an arm."""
    method = f"asymptotic confidence sequence, tuned at {tuning:g} units"
    if min(a.n, b.n) < 2:
        return Estimate(b.mean - a.mean if a.n and b.n else None, level=1 - alpha, method=method)
    gap, half = b.mean - a.mean, half_width(difference_variance(a, b), a.n + b.n, alpha, tuning)
    return Estimate(gap, gap - half, gap + half, 1 - alpha, method)


def lift(a: Arm, b: Arm, alpha: float = 0.05, tuning: float = TUNING) -> Estimate:
    """Return mean(B)/mean(A) − 1 with its confidence sequence by the delta method; undefined where mean(A) is 0.

    Trust it where A's mean is many standard errors from 0.
    """
    method = f"asymptotic confidence sequence of the ratio, tuned at {tuning:g} units"
    if min(a.n, b.n) < 2 or a.mean**2 == 0:
        return Estimate(None, level=1 - alpha, method=method)
    ratio = b.mean / a.mean
    variance = (b.variance / b.n + ratio**2 * a.variance / a.n) / a.mean**2
    half = half_width(variance, a.n + b.n, alpha, tuning)
    return Estimate(ratio - 1, ratio - 1 - half, ratio - 1 + half, 1 - alpha, method)


def msprt_p_value(gap: float, variance: float, tau_squared: float) -> float:
    """Return the mixture SPRT's p-value of "no difference" at this look (Johari et al. 2022, arXiv 1512.04922).

    The likelihood ratio is mixed over differences from N(0, tau_squared); its inverse is the p-value. Act on it at any
    look; the smallest of all looks so far is valid as well.

    Args:
        gap: estimated difference.
        variance: of that estimate.
        tau_squared: variance of the differences that one expects, in the metric's unit squared.
    """
    if variance <= 0:
        return 1.0 if gap == 0 else 0.0
    weight = tau_squared / (variance + tau_squared)
    log_ratio = 0.5 * math.log1p(-weight) + gap**2 / (2 * variance) * weight
    return math.exp(-max(0.0, log_ratio))


def p_value(a: Arm, b: Arm, alpha: float = 0.05, tuning: float = TUNING) -> float:
    """Return the p-value that is below alpha exactly when the confidence sequence of the difference leaves out 0.

    It is the mixture SPRT with tau² = ρ²·(variance of the estimate·n): 1 below two units an arm.
    """
    if min(a.n, b.n) < 2:
        return 1.0
    variance = difference_variance(a, b)
    return msprt_p_value(b.mean - a.mean, variance, variance * (a.n + b.n) * rho_squared(alpha, tuning))


def split_p_value(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Return the p-value that units fall to the arms by the planned shares, at any look (sample ratio mismatch).

    1 over the Bayes factor of a Dirichlet-multinomial against the plan, mixed evenly over three concentrations around
    it (Lindon and Malek 2022, arXiv 2011.03567). Below 0.01 the assignment is broken and no comparison can be trusted.

    Args:
        counts: units assigned to each arm so far.
        shares: planned share of each arm, positive; scaled to sum 1.

    Raises:
        BadInput: not one positive share an arm.
    """
    from scipy import special

    if len(counts) != len(shares) or min(shares, default=0.0) <= 0 or min(counts) < 0:
        raise BadInput("a split needs a positive share for each arm", f"{list(counts)} units, shares {list(shares)}")
    planned = [share / sum(shares) for share in shares]
    total = sum(counts)
    chance = sum(n * math.log(share) for n, share in zip(counts, planned, strict=True))
    factors = []
    for size in CONCENTRATIONS:
        terms = (
            float(special.gammaln(size * share + n) - special.gammaln(size * share))
            for n, share in zip(counts, planned, strict=True)
        )
        factors.append(sum(terms) + float(special.gammaln(size) - special.gammaln(size + total)) - chance)
    mixed = float(special.logsumexp(factors)) - math.log(len(factors))
    return math.exp(-max(0.0, mixed))
