"""Is a rate above its absolute limit? A bound that holds at every look, from the canary's own rows alone."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_tui.core.errors import BadInput
from mlops_tui.stats.estimate import Estimate
from mlops_tui.stats.harm import Counts, Verdict

HALVINGS = 60


class ThresholdSpec(msgspec.Struct, frozen=True):
    """An absolute limit on a rate of bad events, e.g. errors ≤ 0.01, or answers over 50 ms ≤ 0.05.

    Args:
        max_rate: the limit, a share in (0, 1).
        alpha: share of rollouts whose interval may ever miss the true rate.
        min_requests: rows before any verdict.
    """

    max_rate: float
    alpha: float = 0.05
    min_requests: int = 200

    def __post_init__(self) -> None:
        if not (0 < self.max_rate < 1 and 0 < self.alpha < 1 and self.min_requests >= 0):
            raise BadInput(
                "the threshold cannot be used",
                f"max_rate {self.max_rate}, alpha {self.alpha}, min_requests {self.min_requests}",
                "give max_rate and alpha between 0 and 1, min_requests ≥ 0",
            )


class ThresholdResult(msgspec.Struct, frozen=True):
    """The canary's rate with its interval. ``hold`` says that there are too few rows for any verdict."""

    verdict: Verdict
    text: str
    rate: Estimate
    hold: bool
    bad: float
    n: int
    decided: int | None


def rate_bounds(bad: ArrayLike, n: ArrayLike, alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bounds of a rate that hold at all times at once with probability ≥ 1 − alpha.

    Those rates p are kept whose beta-binomial mixture likelihood ratio B(½+s, ½+n−s)/B(½, ½) / (p^s (1−p)^(n−s)) is
    below 1/alpha: exact for independent rows, no normal approximation (Robbins 1970, "Statistical methods related to
    the law of the iterated logarithm"; Howard et al. 2021, arXiv 1810.08240).

    Args:
        bad: bad events so far, any shape.
        n: rows so far, the same shape.
        alpha: probability of ever missing.

    Returns:
        (low, high), float64 of the same shape; (0, 1) where n is 0.
    """
    from scipy import special

    s, total = np.asarray(bad, np.float64), np.asarray(n, np.float64)
    s, total = np.broadcast_arrays(s, total)
    limit = special.betaln(s + 0.5, total - s + 0.5) - special.betaln(0.5, 0.5) - math.log(1 / alpha)
    centre = s / np.maximum(total, 1)

    def kept(p: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray(special.xlogy(s, p) + special.xlog1py(total - s, -p) > limit)

    def edge(outside: NDArray[np.float64]) -> NDArray[np.float64]:
        inside, beyond = centre.copy(), outside
        for _ in range(HALVINGS):
            middle = (inside + beyond) / 2
            keep = kept(middle)
            inside, beyond = np.where(keep, middle, inside), np.where(keep, beyond, middle)
        return beyond

    low, high = edge(np.zeros_like(centre)), edge(np.ones_like(centre))
    return np.where(s == 0, 0.0, low), np.where(s == total, 1.0, high)


def analyse(counts: Counts, spec: ThresholdSpec) -> ThresholdResult:
    """Return the verdict on the canary's rate after all its looks, whatever stable does.

    ``harm`` once the whole interval was above the limit at a look with enough rows, and it stays; else ``safe`` once
    the whole interval was below it; else ``continue``. Unlike the comparison with stable this takes rows to be
    independent of each other: there is nobody to share a bad hour with.
    """
    bad, n = np.cumsum(counts.bad_c[0]), np.cumsum(counts.n_c)
    low, high = rate_bounds(bad, n, spec.alpha)
    asked = np.cumsum(counts.requests)
    enough = asked >= spec.min_requests
    above, below = np.flatnonzero(enough & (low > spec.max_rate)), np.flatnonzero(enough & (high < spec.max_rate))
    verdict: Verdict = "harm" if above.size else "safe" if below.size else "continue"
    at = int(above[0]) if above.size else int(below[0]) if below.size else None
    total, events = (int(n[-1]), float(bad[-1])) if n.size else (0, 0.0)
    seen = int(asked[-1]) if asked.size else 0
    rate = Estimate(
        events / total if total else None,
        float(low[-1]) if total else None,
        float(high[-1]) if total else None,
        1 - spec.alpha,
        "beta-binomial confidence sequence",
    )
    return ThresholdResult(
        verdict=verdict,
        text=_sentence(verdict, rate, total, seen, spec),
        rate=rate,
        hold=seen < spec.min_requests,
        bad=events,
        n=total,
        decided=at,
    )


def _sentence(verdict: Verdict, rate: Estimate, n: int, asked: int, spec: ThresholdSpec) -> str:
    if asked < spec.min_requests or rate.value is None:
        return f"{asked:,} of the {spec.min_requests:,} rows that a verdict needs"
    seen = f"{rate.value:.2%} of {n:,} rows, surely within {rate.low:.2%} to {rate.high:.2%}"
    relation = {"harm": "above", "safe": "below", "continue": "not yet told apart from"}[verdict]
    return f"{verdict}: {relation} the limit of {spec.max_rate:.2%} ({seen})"
