"""One arm of a comparison as three sums that add, and the tests that may look at it once."""

from __future__ import annotations

import functools
import math
from typing import Self

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_tui.core.errors import BadInput
from mlops_tui.stats.estimate import Estimate, normal_quantile


class Arm(msgspec.Struct, frozen=True):
    """n units with the sum and the sum of squares of their metric; arms of the same kind add.

    ``binary``: every value is 0 or 1, so that ``total`` counts successes. Sums of values far from 0 lose digits:
    take a constant off both arms first.
    """

    n: int
    total: float
    squares: float
    binary: bool = False

    def __post_init__(self) -> None:
        if self.n < 0 or not (math.isfinite(self.total) and math.isfinite(self.squares)):
            raise BadInput(
                "an arm has impossible sums",
                f"{self.n} units, sum {self.total}, sum of squares {self.squares}",
                "leave out values that are not finite",
            )

    @classmethod
    def of_counts(cls, successes: int, n: int) -> Self:
        """Return the arm of n units of which so many succeeded.

        Raises:
            BadInput: more successes than units, or fewer than none.
        """
        if not 0 <= successes <= n:
            raise BadInput("an arm has impossible counts", f"{successes} successes of {n} units")
        return cls(n, float(successes), float(successes), True)

    @classmethod
    def of_values(cls, values: ArrayLike) -> Self:
        """Return the arm of a metric's values, shape (n,)."""
        x = np.asarray(values, np.float64)
        return cls(x.size, float(x.sum()), float(np.dot(x, x)), False)

    def __add__(self, other: Arm) -> Arm:
        return Arm(
            self.n + other.n, self.total + other.total, self.squares + other.squares, self.binary and other.binary
        )

    @property
    def mean(self) -> float:
        """Mean of the metric; 0 without units."""
        return self.total / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """Variance of one unit, unbiased; 0 below two units.

        A binary arm adds two successes and two failures (Agresti and Coull 1998), so that an arm without a failure
        yet is not taken for one that never fails.
        """
        if self.binary:
            share = (self.total + 2) / (self.n + 4)
            return share * (1 - share)
        return max(0.0, (self.squares - self.n * self.mean**2) / (self.n - 1)) if self.n > 1 else 0.0


class Fixed(msgspec.Struct, frozen=True):
    """B − A with the p-value of a test that is valid for one look, decided on beforehand."""

    difference: Estimate
    p_value: float


def two_proportions(a: Arm, b: Arm, level: float = 0.95) -> Fixed:
    """Return the two-proportion z-test (Pearson 1900; pooled), with the unpooled normal interval of the difference.

    Raises:
        BadInput: an arm is empty or not binary.
    """
    if not (a.binary and b.binary and a.n and b.n):
        raise BadInput("the test of two proportions needs counts of successes in both arms")
    gap, pooled = b.mean - a.mean, (a.total + b.total) / (a.n + b.n)
    error = math.sqrt(pooled * (1 - pooled) * (1 / a.n + 1 / b.n))
    apart = math.sqrt(a.mean * (1 - a.mean) / a.n + b.mean * (1 - b.mean) / b.n)
    p_value = math.erfc(abs(gap) / error / math.sqrt(2)) if error else 1.0
    return Fixed(Estimate.around(gap, apart, level, "two proportions, one look"), p_value)


def welch(a: Arm, b: Arm, level: float = 0.95) -> Fixed:
    """Return Welch's t-test of two means (Welch 1947).

    Raises:
        BadInput: an arm has fewer than two units.
    """
    from scipy import special

    if min(a.n, b.n) < 2:
        raise BadInput("Welch's test needs two units an arm")
    gap, parts = b.mean - a.mean, (a.variance / a.n, b.variance / b.n)
    error = math.sqrt(sum(parts))
    if error == 0:
        return Fixed(Estimate(gap, gap, gap, level, "Welch, one look"), 1.0 if gap == 0 else 0.0)
    share = parts[0] / sum(parts)
    df = 1 / (share**2 / (a.n - 1) + (1 - share) ** 2 / (b.n - 1))
    half = float(special.stdtrit(df, (1 + level) / 2)) * error
    p_value = 2 * float(special.stdtr(df, -abs(gap) / error))
    return Fixed(Estimate(gap, gap - half, gap + half, level, "Welch, one look"), p_value)


def p_better(a: Arm, b: Arm) -> float | None:
    """Return the probability that B's rate is above A's, given even priors Beta(1, 1); None unless both are binary.

    ∫ density of B · distribution of A, by Gauss-Legendre quadrature over where B has its mass. For arms of means the
    normal approximation would only repeat the fixed p-value, so there is none.
    """
    from scipy import special

    if not (a.binary and b.binary):
        return None
    (a1, a0), (b1, b0) = ((1 + arm.total, 1 + arm.n - arm.total) for arm in (a, b))
    low, high = special.betaincinv(b1, b0, [1e-13, 1 - 1e-13])
    nodes, weights = _quadrature()
    x = low + (high - low) * (nodes + 1) / 2
    density = np.exp(special.xlogy(b1 - 1, x) + special.xlog1py(b0 - 1, -x) - special.betaln(b1, b0))
    share = float((weights * density * special.betainc(a1, a0, x)).sum() * (high - low) / 2)
    return min(1.0, max(0.0, share))


@functools.cache
def _quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(256)


def fixed(a: Arm, b: Arm, level: float = 0.95) -> Fixed:
    """Return the one-look test that fits the arms: two proportions for binary ones, else Welch."""
    return two_proportions(a, b, level) if a.binary and b.binary else welch(a, b, level)


def difference_variance(a: Arm, b: Arm) -> float:
    """Return the variance of the estimate mean(B) − mean(A); wants units in both arms."""
    return a.variance / a.n + b.variance / b.n


def z_for(alpha: float) -> float:
    """Return the two-sided critical value, 1.96 for 0.05."""
    return normal_quantile(1 - alpha)
