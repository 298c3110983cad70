"""How good predictions are, once their labels are known.

Truth y is an int array (n,) of class numbers; p is the probability of class 1, shape (n,), or of each class, shape
(n, k). Confusion counts add, so quality a day is the sum of quality a minute.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_tui.core.errors import BadInput
from mlops_tui.stats.estimate import Estimate, normal_quantile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Quality(msgspec.Struct, frozen=True):
    """Quality of n labelled predictions. ``roc_auc`` is for two classes; ``f1`` is that of class 1, else macro.

    ``confusion[i][j]`` counts rows of truth i predicted as j. Intervals: bootstrap of the confusion cells for
    accuracy, balanced accuracy and F1; DeLong for AUC; normal for log loss (nats) and Brier score.
    """

    n: int
    classes: int
    base_rates: tuple[float, ...]
    accuracy: Estimate
    balanced_accuracy: Estimate
    f1: Estimate
    log_loss: Estimate
    brier: Estimate
    roc_auc: Estimate
    ece: float | None
    confusion: tuple[tuple[int, ...], ...]


def confusion(y: ArrayLike, predicted: ArrayLike, classes: int) -> Ints:
    """Return counts of truth (rows) by prediction (columns), int64, shape (classes, classes).

    Raises:
        BadInput: the lengths differ, or a class number is not in 0 … classes − 1.
    """
    truth, guess = np.asarray(y, np.int64), np.asarray(predicted, np.int64)
    if truth.shape != guess.shape:
        raise BadInput("labels and predictions differ in length", f"{truth.size} labels, {guess.size} predictions")
    if truth.size and (min(truth.min(), guess.min()) < 0 or max(truth.max(), guess.max()) >= classes):
        raise BadInput("a class number is out of range", f"wanted 0 to {classes - 1}", "number the classes from 0")
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)


def accuracy(cells: ArrayLike) -> Floats:
    """Return the share of right predictions; cells (..., k, k), result (...); NaN without rows."""
    counts = np.asarray(cells, np.float64)
    return _ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum((-2, -1)))


def balanced_accuracy(cells: ArrayLike) -> Floats:
    """Return the mean recall over the classes that occur; cells (..., k, k), result (...)."""
    counts = np.asarray(cells, np.float64)
    recall = _ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1))
    present = ~np.isnan(recall)
    return _ratio(np.where(present, recall, 0.0).sum(-1), present.sum(-1))


def f1(cells: ArrayLike) -> Floats:
    """Return F1 of class 1 for two classes, else the mean over the classes; cells (..., k, k), result (...).

    A class that is neither true nor predicted anywhere counts 0, as in scikit-learn.
    """
    counts = np.asarray(cells, np.float64)
    both = counts.sum(-1) + counts.sum(-2)
    scores = 2 * np.diagonal(counts, axis1=-2, axis2=-1) / np.maximum(both, 1)
    return np.asarray(scores[..., 1] if counts.shape[-1] == 2 else scores.mean(-1))


def bootstrap(
    cells: ArrayLike,
    statistic: Callable[[Floats], Floats],
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return a statistic of counts with its percentile interval (Efron 1979).

    Rows are independent, so drawing n rows again is one multinomial draw of the cells: the cost doesn't depend on n.

    Args:
        cells: counts, any shape.
        statistic: maps an array (..., *shape of cells) to (...); NaN where undefined.
        level: probability that the interval holds the truth.
        draws: resamples.
        seed: the same seed gives the same interval.
    """
    counts = np.asarray(cells, np.int64)
    n = int(counts.sum())
    value = float(statistic(counts.astype(np.float64))) if n else float("nan")
    if np.isnan(value):
        return Estimate(None, level=level, method="bootstrap")
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, counts.ravel() / n, size=draws).reshape(draws, *counts.shape)
    figures = statistic(drawn.astype(np.float64))
    low, high = np.nanquantile(figures, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), level, f"bootstrap, {draws} draws")


def log_losses(y: ArrayLike, p: ArrayLike) -> Floats:
    """Return −ln of the probability given to the truth, nats, shape (n,); probabilities are clipped to 1e-15."""
    truth, shares = _checked(y, p)
    given = shares[np.arange(truth.size), truth] / shares.sum(1)
    return np.asarray(-np.log(np.clip(given, 1e-15, 1.0)))


def briers(y: ArrayLike, p: ArrayLike) -> Floats:
    """Return each row's squared error, shape (n,): (p−y)² for two classes, else summed over classes (Brier 1950)."""
    truth, shares = _checked(y, p)
    wrong = shares - (np.arange(shares.shape[1]) == truth[:, None])
    return np.asarray((wrong**2).sum(1) / (2 if shares.shape[1] == 2 else 1))


def roc_auc(y: ArrayLike, score: ArrayLike) -> float | None:
    """Return P(score of a 1 > score of a 0), a tie counting half; None when a class is missing (Mann-Whitney)."""
    truth = np.asarray(y) == 1
    values, place = np.unique(np.asarray(score, np.float64), return_inverse=True)
    ones = np.bincount(place[truth], minlength=values.size)
    return auc_from_counts(np.bincount(place[~truth], minlength=values.size), ones)


def auc_from_counts(zeros: ArrayLike, ones: ArrayLike) -> float | None:
    """Return the AUC from rows of class 0 and 1 at each score, ascending, shape (k,) both; weights may be fractions."""
    negative, positive = np.asarray(zeros, np.float64), np.asarray(ones, np.float64)
    pairs = negative.sum() * positive.sum()
    if pairs == 0:
        return None
    below = np.cumsum(negative) - negative / 2
    return float(np.dot(below, positive) / pairs)


def delong(y: ArrayLike, score: ArrayLike, level: float = 0.95) -> Estimate:
    """Return the AUC with DeLong's interval (DeLong et al. 1988; by ranks as in Sun and Xu 2014), O(n log n)."""
    truth = np.asarray(y) == 1
    values = np.asarray(score, np.float64)
    ones, zeros = np.sort(values[truth]), np.sort(values[~truth])
    if not (ones.size and zeros.size):
        return Estimate(None, level=level, method="DeLong")
    over = (np.searchsorted(zeros, ones, "left") + np.searchsorted(zeros, ones, "right")) / (2 * zeros.size)
    under = 1 - (np.searchsorted(ones, zeros, "left") + np.searchsorted(ones, zeros, "right")) / (2 * ones.size)
    area = float(over.mean())
    if min(ones.size, zeros.size) < 2:
        return Estimate(area, 0.0, 1.0, level, "DeLong")
    half = normal_quantile(level) * float(np.sqrt(over.var(ddof=1) / ones.size + under.var(ddof=1) / zeros.size))
    return Estimate(area, max(0.0, area - half), min(1.0, area + half), level, "DeLong")


def ece(y: ArrayLike, p: ArrayLike, bins: int = 10) -> float | None:
    """Return the expected calibration error over bins of equal width (Naeini et al. 2015); None without rows.

    Two classes: of the probability of class 1. More: of the probability of the predicted class.
    """
    truth, shares = _checked(y, p)
    if not truth.size:
        return None
    guess = shares.argmax(1)
    two = shares.shape[1] == 2
    sure, right = (shares[:, 1], truth == 1) if two else (shares.max(1), guess == truth)
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    off = np.bincount(place, weights=sure - right, minlength=bins)
    return float(np.abs(off).sum() / truth.size)


def evaluate(
    y: ArrayLike, p: ArrayLike, threshold: float = 0.5, level: float = 0.95, draws: int = 1000, seed: int = 0
) -> Quality:
    """Return every figure at once.

    Args:
        y: truth, int, shape (n,).
        p: probability of class 1, shape (n,), or of each class, shape (n, k).
        threshold: two classes: 1 is predicted from this probability on; more: the likeliest is predicted.
        level: probability that an interval holds the truth.
        draws: resamples of the bootstrap.
        seed: of the bootstrap.

    Raises:
        BadInput: lengths differ, a label is out of range, or a probability is not in [0, 1].
    """
    truth, shares = _checked(y, p)
    k = shares.shape[1]
    guess = (shares[:, 1] >= threshold).astype(np.int64) if k == 2 else shares.argmax(1)
    cells = confusion(truth, guess, k)
    return Quality(
        n=truth.size,
        classes=k,
        base_rates=tuple((np.bincount(truth, minlength=k) / max(truth.size, 1)).tolist()),
        accuracy=bootstrap(cells, accuracy, level, draws, seed),
        balanced_accuracy=bootstrap(cells, balanced_accuracy, level, draws, seed),
        f1=bootstrap(cells, f1, level, draws, seed),
        log_loss=_mean(log_losses(truth, shares), level),
        brier=_mean(briers(truth, shares), level),
        roc_auc=delong(truth, shares[:, 1], level)
        if k == 2
        else Estimate(None, level=level, method="two classes only"),
        ece=ece(truth, shares),
        confusion=tuple(tuple(row) for row in cells.tolist()),
    )


def _checked(y: ArrayLike, p: ArrayLike) -> tuple[Ints, Floats]:
    """Return truth (n,) and probabilities (n, k), k ≥ 2."""
    shares = np.asarray(p, np.float64)
    if shares.ndim == 1:
        shares = np.stack([1 - shares, shares], axis=1)
    truth = np.asarray(y, np.int64)
    if shares.ndim != 2 or truth.shape != shares.shape[:1]:
        raise BadInput("labels and predictions differ in length", f"{truth.shape} labels, {shares.shape} predictions")
    if truth.size and (truth.min() < 0 or truth.max() >= shares.shape[1]):
        raise BadInput("a label is out of range", f"wanted 0 to {shares.shape[1] - 1}", "number the classes from 0")
    if not ((shares >= 0) & (shares <= 1)).all():
        raise BadInput("a probability is not between 0 and 1", fix="give probabilities, not scores or logits")
    return truth, shares


def _mean(values: Floats, level: float) -> Estimate:
    if values.size < 2:
        return Estimate(float(values[0]) if values.size else None, level=level, method="normal")
    return Estimate.around(float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size)), level)


def _ratio(part: ArrayLike, whole: ArrayLike) -> Floats:
    below = np.asarray(whole, np.float64)
    return np.where(below > 0, np.asarray(part, np.float64) / np.where(below > 0, below, 1), np.nan)
