"""A profile's many cells merged into the few that people read and that effect sizes are taken over."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_tui.stats.profile import CategoricalProfile, NumericProfile, Profile


class Bin(msgspec.Struct, frozen=True):
    """One bar of a histogram: rows of reference and live traffic."""

    label: str
    reference: int
    live: int


def coarse(profile: Profile, live: ArrayLike, bins: int = 10) -> tuple[Bin, ...]:
    """Return about ``bins`` bars, then (if any row fell there) *other*, *unseen* and *missing*.

    Args:
        profile: the reference.
        live: counts of live rows, shape (profile.size,).
        bins: numeric: bars of about equal reference rows, fewer when single values are heavier than that;
            categorical: the most frequent categories.
    """
    group = groups(profile, bins)
    reference, rows = merge(profile.counts, group), merge(live, group)
    if isinstance(profile, NumericProfile):
        plain, special = _ranges(profile, group), ["missing"]
    else:
        plain, special = list(profile.categories[: int(group[-2]) - 1]), ["other", "unseen", "missing"]
    bars = zip([*plain, *special], reference.tolist(), rows.tolist(), strict=True)
    return tuple(Bin(*bar) for i, bar in enumerate(bars) if i < len(plain) or bar[1] or bar[2])


def groups(profile: Profile, bins: int = 10) -> NDArray[np.int64]:
    """Return which bar each cell belongs to, int64, shape (profile.size,); bars are numbered without gaps.

    Numeric: neighbouring cells until a bar holds about 1/bins of the reference; *missing* is a bar of its own.
    Categorical: the first ``bins`` categories, the others together with *other*, then *unseen* and *missing*.
    """
    if isinstance(profile, CategoricalProfile):
        named = min(bins, len(profile.categories))
        cells = np.minimum(np.arange(profile.size), named)
        cells[-2:] = named + 1, named + 2
        return cells
    counts = np.array(profile.counts[:-1], np.float64)
    middle = (np.cumsum(counts) - counts / 2) / max(counts.sum(), 1)
    place = np.minimum((middle * bins).astype(np.int64), bins - 1)
    bar = np.unique(place, return_inverse=True)[1]
    return np.append(bar, bar[-1] + 1)


def merge(counts: ArrayLike, group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return counts a bar, int64, shape (bars,)."""
    return np.bincount(group, weights=np.asarray(counts, np.float64)).astype(np.int64)


def _ranges(profile: NumericProfile, group: NDArray[np.int64]) -> list[str]:
    """Name each bar by its upper edge (``≤ 12.5``, ``< 40``), a single value (``= 40``), the last by its lower edge."""
    edges, points = profile.edges, profile.points
    names = []
    for bar in range(int(group[-1])):
        cells = np.flatnonzero(group[:-1] == bar)
        filled = [cell for cell in cells if profile.counts[cell]]
        first, last = int(cells[0]), int(cells[-1])
        if len(filled) == 1 and points[filled[0]]:
            names.append(f"= {edges[filled[0]]:.6g}")
        elif last == len(edges):
            names.append(_from(edges, first, bool(points[first])))
        elif points[last + 1]:
            names.append(f"< {edges[last + 1]:.6g}")
        else:
            names.append(f"≤ {edges[last]:.6g}")
    return names


def _from(edges: tuple[float, ...], first: int, point: bool) -> str:
    if first == 0:
        return "any"
    return f"≥ {edges[first]:.6g}" if point else f"> {edges[first - 1]:.6g}"
