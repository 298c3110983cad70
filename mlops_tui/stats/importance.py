"""Which features a model leans on: how much worse it gets when one of them is shuffled."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_tui.core.errors import BadInput
from mlops_tui.stats.quality import log_losses

Columns = Mapping[str, NDArray[Any]]


class Feature(msgspec.Struct, frozen=True):
    """One feature: mean ``drop`` in score over its ``repeats`` shuffles with its standard ``error`` (None for one).

    ``share`` is its part of all drops, those below 0 counting as 0; ``rank`` is 1 for the largest.
    """

    name: str
    drop: float
    error: float | None
    share: float
    rank: int
    repeats: int


class Importance(msgspec.Struct, frozen=True):
    """All measured features, most important first; shares sum to 1, or are all 0 when no shuffle did any harm.

    ``complete`` is False when the time limit came first; ``missing`` names the features that were never shuffled.
    """

    features: tuple[Feature, ...]
    base_score: float
    rows: int
    seed: int
    complete: bool
    missing: tuple[str, ...]


def permutation(
    predict: Callable[[dict[str, NDArray[Any]]], ArrayLike],
    columns: Columns,
    y: ArrayLike,
    score: Callable[[NDArray[Any], NDArray[np.float64]], float] | None = None,
    max_rows: int = 2_000,
    repeats: int = 5,
    seed: int = 0,
    batch: int = 16_384,
    limit_s: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
) -> Importance:
    """Return permutation importance (Breiman 2001; Fisher et al. 2019, arXiv 1801.01489).

    Every round shuffles each feature once, so whatever the time limit cuts off, all have been shuffled about as often.

    Args:
        predict: maps columns of any number of rows to predictions, shape (rows,) or (rows, k).
        columns: the features by name, first axis n rows; a column of shape (n, j) is shuffled as one feature.
        y: truth, shape (n,).
        score: larger is better; default: minus the log loss in nats.
        max_rows: so many rows are drawn (without replacement) when there are more.
        repeats: rounds.
        seed: of the drawing and the shuffles; the same seed gives the same result while the time suffices.
        batch: rows a call of ``predict`` at most, several shuffles together (at least one whole copy of the rows).
        limit_s: seconds after which no further call is made.
        clock: seconds, rising.

    Raises:
        BadInput: no rows, no columns, or lengths that differ.
    """
    truth = np.asarray(y)
    if not columns or truth.size == 0 or any(len(column) != len(truth) for column in columns.values()):
        raise BadInput("importance needs columns and labels of one length, at least one row")
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.choice(len(truth), min(max_rows, len(truth)), replace=False))
    data, truth = {name: np.asarray(column)[kept] for name, column in columns.items()}, truth[kept]
    judge = score or _minus_log_loss
    started = clock()
    base = float(judge(truth, np.asarray(predict(data), np.float64)))
    tasks = [name for _ in range(repeats) for name in data]
    together = max(1, batch // len(truth))
    drops: dict[str, list[float]] = {name: [] for name in data}
    for first in range(0, len(tasks), together):
        if clock() - started >= limit_s:
            break
        names = tasks[first : first + together]
        guesses = np.asarray(predict(_shuffled(data, names, rng)), np.float64)
        for name, guess in zip(names, np.split(guesses, len(names)), strict=True):
            drops[name].append(base - float(judge(truth, guess)))
    return _ranked(drops, base, len(truth), seed, repeats)


def _shuffled(data: dict[str, NDArray[Any]], names: list[str], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return one copy of the rows for each name, stacked, with that feature shuffled in its copy."""
    rows = len(next(iter(data.values())))
    stacked = {name: np.concatenate([column] * len(names)) for name, column in data.items()}
    for copy, name in enumerate(names):
        stacked[name][copy * rows : (copy + 1) * rows] = data[name][rng.permutation(rows)]
    return stacked


def _ranked(drops: dict[str, list[float]], base: float, rows: int, seed: int, repeats: int) -> Importance:
    means = {name: float(np.mean(values)) for name, values in drops.items() if values}
    total = sum(max(0.0, mean) for mean in means.values())
    features = []
    for rank, name in enumerate(sorted(means, key=lambda name: -means[name]), start=1):
        values = drops[name]
        error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
        share = max(0.0, means[name]) / total if total else 0.0
        features.append(Feature(name, means[name], error, share, rank, len(values)))
    return Importance(
        features=tuple(features),
        base_score=base,
        rows=rows,
        seed=seed,
        complete=all(len(values) == repeats for values in drops.values()),
        missing=tuple(name for name, values in drops.items() if not values),
    )


def _minus_log_loss(y: NDArray[Any], p: NDArray[np.float64]) -> float:
    return -float(log_losses(y, p).mean())
