"""How far two distributions lie apart, from counts over the same cells or from the raw values.

In all of these the first argument is the reference and the second is live traffic; counts are rows a cell.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class ChiSquared(NamedTuple):
    """Pearson's statistic, its degrees of freedom, and the p-value (1 where there is nothing to compare)."""

    statistic: float
    df: int
    p_value: float


def psi(reference: ArrayLike, live: ArrayLike) -> float:
    """Return the population stability index Σ (p−q)·ln(p/q), in nats; an empty cell counts as half a row.

    It is the symmetric Kullback-Leibler divergence (Jeffreys 1946). Healthy traffic has it near
    (cells − 1)·(1/n + 1/m): a fixed threshold on it means nothing without the number of rows.
    """
    p, q = (np.maximum(counts, 0.5) / max(counts.sum(), 1) for counts in _pair(reference, live))
    return float(((p - q) * np.log(p / q)).sum())


def js_divergence(reference: ArrayLike, live: ArrayLike) -> float:
    """Return the Jensen-Shannon divergence in nats, between 0 and ln 2 (Lin 1991)."""
    from scipy import special

    p, q = (counts / max(counts.sum(), 1) for counts in _pair(reference, live))
    middle = (p + q) / 2
    total = special.rel_entr(p, middle).sum() + special.rel_entr(q, middle).sum()
    return max(0.0, float(total) / 2)


def js_distance(reference: ArrayLike, live: ArrayLike, base: float = 2.0) -> float:
    """Return the square root of the Jensen-Shannon divergence; in base 2 it lies between 0 (same) and 1 (apart)."""
    return math.sqrt(js_divergence(reference, live) / math.log(base))


def js_excess(reference: ArrayLike, live: ArrayLike, base: float = 2.0) -> float:
    """Return the Jensen-Shannon distance less what chance alone makes of it at these numbers of rows.

    Two samples of one distribution over k cells have a divergence of about (k−1)(1/n + 1/m)/8 nats on average (the
    second order expansion that Grosse et al. 2002, Phys. Rev. E 65, 041905, make for weights n : m, here for even
    weights); it is taken off, down to 0.
    """
    ref, now = _pair(reference, live)
    if not (ref.sum() and now.sum()):
        return 0.0
    cells = np.count_nonzero(ref + now)
    chance = (cells - 1) * (1 / ref.sum() + 1 / now.sum()) / 8
    return math.sqrt(max(0.0, js_divergence(ref, now) - float(chance)) / math.log(base))


def chi_squared(reference: ArrayLike, live: ArrayLike) -> ChiSquared:
    """Return Pearson's two-sample test of one distribution over the cells, without continuity correction.

    Cells that are empty on both sides are left out. The approximation wants about 5 rows expected a cell (Cochran
    1954): see ``pool``.
    """
    from scipy import special

    ref, now = _pair(reference, live)
    filled = (ref + now) > 0
    ref, now = ref[filled], now[filled]
    if ref.size < 2 or not (ref.sum() and now.sum()):
        return ChiSquared(0.0, 0, 1.0)
    shares = (ref + now) / (ref.sum() + now.sum())
    statistic = sum(float(((side - shares * side.sum()) ** 2 / (shares * side.sum())).sum()) for side in (ref, now))
    return ChiSquared(statistic, ref.size - 1, float(special.chdtrc(ref.size - 1, statistic)))


def pool(reference: ArrayLike, live: ArrayLike, rows: float = 5.0) -> tuple[Floats, Floats]:
    """Return both counts with the rare cells merged until each side expects about ``rows`` in every cell."""
    ref, now = _pair(reference, live)
    both = ref + now
    order = np.argsort(-both, kind="stable")
    expects = both[order] * min(ref.sum(), now.sum()) / max(both.sum(), 1)
    kept = int(np.count_nonzero(expects >= rows))
    if 0 < kept < expects.size and expects[kept:].sum() < rows:
        kept -= 1
    ref, now = ref[order], now[order]
    return np.append(ref[:kept], ref[kept:].sum()), np.append(now[:kept], now[kept:].sum())


def share_p_value(reference: int, n: int, live: int, m: int) -> float:
    """Return the two-sided p-value that ``live`` of m rows and ``reference`` of n rows have one rate.

    Given the total k, live is binomial(k, m/(n+m)) (Przyborowski and Wilenski 1940, for rare events); the true law is
    hypergeometric, which is narrower, so the value errs to the safe side. Sound for any number of rows.
    """
    from scipy import special

    k, share = reference + live, m / (n + m)
    more = float(special.betainc(live, k - live + 1, share)) if live else 1.0
    fewer = float(special.betainc(k - live, live + 1, 1 - share)) if live < k else 1.0
    return min(1.0, 2 * min(more, fewer))


def ks_binned(reference: ArrayLike, live: ArrayLike, points: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """Return an interval that surely holds the Kolmogorov-Smirnov statistic of the values behind the counts.

    The largest difference of the two distribution functions is known at the edges (low); inside a cell it can at
    worst run from one corner to the opposite one (high), except in ``points``, cells of one single value.
    """
    f, g = (np.append(0.0, np.cumsum(counts) / max(counts.sum(), 1)) for counts in _pair(reference, live))
    low = float(np.abs(f - g).max())
    inside = np.maximum(f[1:] - g[:-1], g[1:] - f[:-1])
    if points is not None:
        inside = inside[~points]
    return low, max(low, float(inside.max(initial=0.0)))


def ks_p_value(d: float, n: int, m: int) -> float:
    """Return the asymptotic p-value of the two-sample statistic d from n and m values (Kolmogorov 1933, Smirnov 1939).

    It errs to the safe side for values that repeat, and for a d that is only a lower bound.
    """
    from scipy import special

    return float(special.kolmogorov(math.sqrt(n * m / (n + m)) * d)) if n and m else 1.0


def w1_binned(reference: ArrayLike, live: ArrayLike, centres: ArrayLike) -> float:
    """Return the first Wasserstein distance with every row at the centre of its cell, in units of the column.

    Args:
        reference: counts, shape (k,).
        live: counts, shape (k,).
        centres: ascending, shape (k,).
    """
    f, g = (np.cumsum(counts) / max(counts.sum(), 1) for counts in _pair(reference, live))
    return float(np.dot(np.abs(f - g)[:-1], np.diff(np.asarray(centres, np.float64))))


def ks_w1(reference: ArrayLike, live: ArrayLike) -> tuple[float, float]:
    """Return the exact Kolmogorov-Smirnov statistic and first Wasserstein distance of two samples of finite values.

    One sort a side; the rest is read off the positions in the merged order, O(n + m). Neither sample may be empty.
    """
    a, b = np.sort(np.asarray(reference, np.float64)), np.sort(np.asarray(live, np.float64))
    n, m = a.size, b.size
    from_b = np.zeros(n + m, bool)
    from_b[np.searchsorted(a, b, side="right") + np.arange(m)] = True
    merged = np.empty(n + m)
    merged[from_b], merged[~from_b] = b, a
    below_b = np.cumsum(from_b)
    gap = np.abs((np.arange(1, n + m + 1) - below_b) / n - below_b / m)
    steps = np.diff(merged)
    last_of_ties = np.append(steps != 0, True)
    return float(gap[last_of_ties].max()), float(np.dot(gap[:-1], steps))


def _pair(reference: ArrayLike, live: ArrayLike) -> tuple[Floats, Floats]:
    return np.asarray(reference, np.float64), np.asarray(live, np.float64)
