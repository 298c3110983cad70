"""What a score is worth: isotonic calibration, and quality estimated before any label has come."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_tui.core.errors import BadInput
from mlops_tui.stats.estimate import Estimate
from mlops_tui.stats.quality import auc_from_counts

Floats = NDArray[np.float64]


class Calibrator(msgspec.Struct, frozen=True):
    """A non-decreasing map from scores to probabilities: linear between its knots, flat beyond them."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, score: ArrayLike) -> Floats:
        """Return probabilities of class 1, in the shape of the scores."""
        return np.interp(np.asarray(score, np.float64), self.scores, self.probabilities)


class Expected(msgspec.Struct, frozen=True):
    """Quality expected without labels. ``confusion[i][j]``: rows expected of truth i among those predicted as j.

    The interval of ``accuracy`` covers the luck of the labels to come, not an error of the calibration.
    """

    n: float
    positive_rate: float
    accuracy: Estimate
    roc_auc: float | None
    confusion: tuple[tuple[float, float], tuple[float, float]]


def isotonic(values: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return the non-decreasing sequence closest to the values in weighted squares, float64, shape (n,).

    Pool adjacent violators, O(n) (Ayer et al. 1955; Barlow et al. 1972). Weights are positive, shape (n,).
    """
    y = np.asarray(values, np.float64)
    w = np.ones(y.size) if weights is None else np.asarray(weights, np.float64)
    means: list[float] = []
    masses: list[float] = []
    lengths: list[int] = []
    for value, weight in zip(y.tolist(), w.tolist(), strict=True):
        length = 1
        while means and means[-1] >= value:
            mass = masses.pop()
            value = (means.pop() * mass + value * weight) / (mass + weight)
            weight += mass
            length += lengths.pop()
        means.append(value)
        masses.append(weight)
        lengths.append(length)
    return np.repeat(np.array(means, np.float64), lengths)


def calibrate(y: ArrayLike, score: ArrayLike, weights: ArrayLike | None = None) -> Calibrator:
    """Return the isotonic map from scores to probabilities that fits labelled rows best (Zadrozny and Elkan 2002).

    Fit it on rows that the model was not trained on. Rows of one score are pooled first.

    Args:
        y: labels, 0 or 1, shape (n,).
        score: finite, shape (n,).
        weights: rows that each entry stands for, shape (n,); default 1.

    Raises:
        BadInput: no rows, or a score that is not finite.
    """
    truth, values = np.asarray(y, np.float64), np.asarray(score, np.float64)
    mass = np.ones(values.size) if weights is None else np.asarray(weights, np.float64)
    if values.size == 0 or truth.shape != values.shape or not np.isfinite(values).all():
        raise BadInput("scores cannot be calibrated", "they are empty, not finite, or not one a label")
    knots, place = np.unique(values, return_inverse=True)
    rows = np.bincount(place, weights=mass)
    fitted = isotonic(np.bincount(place, weights=mass * truth) / rows, rows)
    bend = np.ones(knots.size, bool)
    bend[1:-1] = (fitted[1:-1] != fitted[:-2]) | (fitted[1:-1] != fitted[2:])
    return Calibrator(tuple(knots[bend].tolist()), tuple(fitted[bend].tolist()))


def expect(
    score: ArrayLike,
    calibrator: Calibrator,
    threshold: float = 0.5,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Expected:
    """Return the quality that calibrated scores promise (confidence-based performance estimation).

    A row of calibrated probability c is a hit with probability c when 1 is predicted, else 1 − c; sums of these are
    the expected confusion. The expected AUC weights each pair of rows by the chance that they are a 1 and a 0. It
    holds while the meaning of a score does (covariate shift), not when the same inputs get other labels (concept
    drift). Source: Humphrey et al. 2022; Białek et al. 2024, arXiv 2401.08348.

    Args:
        score: the model's scores, shape (n,), on the scale that the calibrator was fitted on.
        calibrator: from ``calibrate``.
        threshold: 1 is predicted from this score on.
        weights: rows at each score, shape (n,), e.g. counts of a profile at its centres; default 1.
        level: probability that the interval of accuracy holds the accuracy to come.
    """
    values = np.asarray(score, np.float64)
    rows = np.ones(values.size) if weights is None else np.asarray(weights, np.float64)
    n = float(rows.sum())
    if n == 0:
        return Expected(0.0, 0.0, Estimate(None, level=level, method="CBPE"), None, ((0.0, 0.0), (0.0, 0.0)))
    one = calibrator(values)
    called = values >= threshold
    cells = [[float(np.dot(rows * side, called == j)) for j in (False, True)] for side in (1 - one, one)]
    right = np.where(called, one, 1 - one)
    share = float(np.dot(rows, right) / n)
    error = math.sqrt(float(np.dot(rows, right * (1 - right)))) / n
    figure = Estimate.around(share, error, level, "CBPE")
    return Expected(
        n=n,
        positive_rate=float(np.dot(rows, one) / n),
        accuracy=msgspec.structs.replace(figure, low=max(0.0, figure.low or 0.0), high=min(1.0, figure.high or 0.0)),
        roc_auc=_expected_auc(values, one, rows),
        confusion=((cells[0][0], cells[0][1]), (cells[1][0], cells[1][1])),
    )


def _expected_auc(score: Floats, one: Floats, rows: Floats) -> float | None:
    """Return the AUC of fractional labels; a row is not paired with itself."""
    knots, place = np.unique(score, return_inverse=True)
    ones = np.bincount(place, weights=rows * one, minlength=knots.size)
    zeros = np.bincount(place, weights=rows * (1 - one), minlength=knots.size)
    area, pairs = auc_from_counts(zeros, ones), float(ones.sum() * zeros.sum())
    itself = float(np.dot(rows, one * (1 - one)))
    if area is None or pairs - itself <= 0:
        return None
    return min(1.0, (area * pairs - itself / 2) / (pairs - itself))
