"""Does a model treat groups alike? Rates a group, their differences with intervals, small groups reported only.

Everything follows from one table of counts, cells[group, truth, prediction], which adds over time and machines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_tui.core.errors import BadInput
from mlops_tui.stats.estimate import Estimate, wilson
from mlops_tui.stats.quality import bootstrap

Floats = NDArray[np.float64]
RATES = ("selection_rate", "tpr", "fpr", "accuracy")


class Group(msgspec.Struct, frozen=True):
    """One group's rates, shares in [0, 1], each with Wilson's interval; undefined where its denominator is 0.

    ``judged`` names the rates whose own denominator reaches the minimum group size: only those enter a difference.
    """

    name: str
    n: int
    positives: int
    selection_rate: Estimate
    tpr: Estimate
    fpr: Estimate
    accuracy: Estimate
    judged: tuple[str, ...]


class Fairness(msgspec.Struct, frozen=True):
    """How unlike the judged groups are treated; 0 is alike. Undefined with fewer than two judged groups.

    Args:
        demographic_parity: largest minus smallest selection rate (share predicted 1).
        equalized_odds: the larger of the differences in true and in false positive rate.
        accuracy_gap: accuracy over all rows minus that of the worst judged group.
        extremes: for each rate the judged groups where it is smallest and largest.
        small: groups with fewer rows than ``min_group``: their rates are shown, not judged.
    """

    groups: tuple[Group, ...]
    demographic_parity: Estimate
    equalized_odds: Estimate
    accuracy_gap: Estimate
    extremes: dict[str, tuple[str, str]]
    small: tuple[str, ...]
    min_group: int


def tally(y: ArrayLike, predicted: ArrayLike, group: ArrayLike, groups: int) -> NDArray[np.int64]:
    """Return counts by group, truth and prediction, int64, shape (groups, 2, 2).

    Args:
        y: truth, 0 or 1, shape (n,).
        predicted: 0 or 1, shape (n,).
        group: number of each row's group, 0 … groups − 1, shape (n,).
        groups: how many.

    Raises:
        BadInput: lengths differ or a number is out of range.
    """
    truth, guess, place = (np.asarray(x, np.int64) for x in (y, predicted, group))
    if not truth.shape == guess.shape == place.shape:
        raise BadInput("labels, predictions and groups differ in length", f"{truth.size}, {guess.size}, {place.size}")
    if truth.size and (min(truth.min(), guess.min(), place.min()) < 0 or max(truth.max(), guess.max()) > 1):
        raise BadInput("labels and predictions must be 0 or 1, groups numbered from 0")
    if truth.size and place.max() >= groups:
        raise BadInput("a group number is out of range", f"wanted 0 to {groups - 1}")
    return np.bincount(place * 4 + truth * 2 + guess, minlength=groups * 4).reshape(groups, 2, 2)


def analyse(
    cells: ArrayLike, names: Sequence[str], min_group: int = 100, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> Fairness:
    """Return each group's rates and the differences between the judged ones.

    Differences as in Hardt et al. 2016 and Agarwal et al. 2018 (fairlearn's definitions); intervals by multinomial
    resampling of the cells. A largest difference is biased upward by chance, and its interval with it: take its lower
    end as what is shown.

    Args:
        cells: from ``tally``, shape (groups, 2, 2).
        names: of the groups, in order.
        min_group: a rate is judged only where its own denominator (rows; true 1s for tpr; true 0s for fpr) is so large.
        level: probability that an interval holds the truth.
        draws: resamples.
        seed: the same seed gives the same intervals.

    Raises:
        BadInput: not one name a group.
    """
    counts = np.asarray(cells, np.int64)
    if counts.shape != (len(names), 2, 2):
        raise BadInput("the counts don't fit the names of the groups", f"{counts.shape} for {len(names)} names")
    judged = _denominators(counts) >= max(1, min_group)
    figures = rates(counts.astype(np.float64))

    def measure(statistic: Callable[[Floats], Floats], columns: list[int]) -> Estimate:
        if max(judged[:, column].sum() for column in columns) < 2:
            return Estimate(None, level=level, method=f"fewer than two groups of {min_group} rows")
        return bootstrap(counts, statistic, level, draws, seed)

    def spread(table: Floats, column: int) -> Floats:
        if judged[:, column].sum() < 2:
            return np.zeros(table.shape[:-3])
        values = rates(table)[..., judged[:, column], column]
        width = _nan_max(values) - _nan_min(values)
        return np.where(np.isfinite(width), width, np.nan)

    def gap(table: Floats) -> Floats:
        overall = (table[..., 0, 0] + table[..., 1, 1]).sum(-1) / table.sum((-3, -2, -1))
        return np.asarray(overall - _nan_min(rates(table)[..., judged[:, 3], 3]))

    return Fairness(
        groups=tuple(_group(name, counts[i], judged[i], level) for i, name in enumerate(names)),
        demographic_parity=measure(lambda table: spread(table, 0), [0]),
        equalized_odds=measure(lambda table: np.maximum(spread(table, 1), spread(table, 2)), [1, 2]),
        accuracy_gap=measure(gap, [3]),
        extremes=_extremes(figures, judged, names),
        small=tuple(name for name, enough in zip(names, judged[:, 0], strict=True) if not enough),
        min_group=min_group,
    )


def rates(cells: Floats) -> Floats:
    """Return selection rate, TPR, FPR and accuracy a group; cells (..., groups, 2, 2), result (..., groups, 4)."""
    right = cells[..., 0, 0] + cells[..., 1, 1]
    parts = np.stack([cells[..., 1].sum(-1), cells[..., 1, 1], cells[..., 0, 1], right], axis=-1)
    whole = _denominators(cells)
    return np.where(whole > 0, parts / np.where(whole > 0, whole, 1), np.nan)


def _denominators(cells: NDArray[np.int64] | Floats) -> Floats:
    n, ones, zeros = cells.sum((-2, -1)), cells[..., 1, :].sum(-1), cells[..., 0, :].sum(-1)
    return np.stack([n, ones, zeros, n], axis=-1).astype(np.float64)


def _group(name: str, cells: NDArray[np.int64], judged: NDArray[np.bool_], level: float) -> Group:
    (true_no, false_yes), (false_no, true_yes) = cells.tolist()
    n, ones = int(cells.sum()), false_no + true_yes
    return Group(
        name=name,
        n=n,
        positives=ones,
        selection_rate=wilson(false_yes + true_yes, n, level),
        tpr=wilson(true_yes, ones, level),
        fpr=wilson(false_yes, n - ones, level),
        accuracy=wilson(true_no + true_yes, n, level),
        judged=tuple(rate for rate, enough in zip(RATES, judged, strict=True) if enough),
    )


def _extremes(figures: Floats, judged: NDArray[np.bool_], names: Sequence[str]) -> dict[str, tuple[str, str]]:
    found = {}
    for column, rate in enumerate(RATES):
        values = np.where(judged[:, column], figures[:, column], np.nan)
        if judged[:, column].sum() > 1:
            found[rate] = names[int(np.nanargmin(values))], names[int(np.nanargmax(values))]
    return found


def _nan_max(values: Floats) -> Floats:
    return np.asarray(np.where(np.isnan(values), -np.inf, values).max(-1))


def _nan_min(values: Floats) -> Floats:
    return np.asarray(np.where(np.isnan(values), np.inf, values).min(-1))
