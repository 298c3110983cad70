"""A small random forest, and what it says of its features: which of them a figure hangs on.

Breiman, Random Forests (2001): trees grown on bootstrap samples, and the rise of the squared error on the rows that a
tree did not see when one feature is shuffled among them. Columns are read in at most 32 bins, so that a split is
counted, not sorted; six hundred rows with twenty columns take about a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS, TREES, DEPTH, LEAF = 32, 64, 10, 3
Codes = NDArray[np.int64]
Floats = NDArray[np.float64]


class Column(NamedTuple):
    """A feature: whole codes from 0 on, one a row; of numbers they are ordered, of words they are not."""

    codes: Codes
    ordered: bool


class Leaning(NamedTuple):
    """How the forest leans on its columns: shares that sum to 1 (or are all 0), their standard errors over the trees,
    and R² on rows that were left out."""  # fmt: skip

    shares: Floats
    errors: Floats
    explained: float


def numbers(values: Sequence[float]) -> Column:
    """Return numbers in bins of equal counts; few distinct ones keep a bin each."""
    array = np.asarray(values, dtype=np.float64)
    distinct = np.unique(array)
    if len(distinct) > BINS:
        distinct = np.unique(np.quantile(array, np.linspace(0, 1, BINS + 1)[:-1], method="lower"))
    return Column(np.searchsorted(distinct, array, side="right") - 1, True)


def words(values: Sequence[str]) -> Column:
    """Return words as codes; the rarest share the last one when there are too many."""
    names, codes, counts = np.unique(np.asarray(values, dtype=str), return_inverse=True, return_counts=True)
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(names))
    return Column(np.minimum(rank[codes], BINS - 1), False)


def lean(columns: Sequence[Column], y: Floats, seed: int = 0, trees: int = TREES) -> Leaning:
    """Grow a forest on columns and say how much it leans on each.

    Args:
        columns: features, each with a code for every row.
        y: what is to be told, n finite values.
        seed: of the bootstrap, the columns tried at a split, and the shuffles.
        trees: trees to grow.

    Raises:
        ValueError: no columns, or fewer than ten rows.
    """
    n, p = len(y), len(columns)
    if n < 10 or not p:
        raise ValueError("a forest wants ten rows and a column")
    rng = np.random.default_rng(seed)
    y = (y - y.mean()) / (y.std() or 1.0)
    rises, seen, told = np.zeros((trees, p)), np.zeros(n), np.zeros(n)
    for t in range(trees):
        bag = rng.integers(0, n, n)
        out = np.setdiff1d(np.arange(n), bag)
        codes = np.stack([_ordered(column, y, bag) for column in columns], axis=1)
        tree = _grow(codes[bag], y[bag], rng)
        guess = _walk(tree, codes[out])
        told[out] += guess
        seen[out] += 1
        base = np.mean((y[out] - guess) ** 2)
        for j in range(p):
            shuffled = codes[out]
            shuffled[:, j] = rng.permutation(shuffled[:, j])
            rises[t, j] = np.mean((y[out] - _walk(tree, shuffled)) ** 2) - base
    known = seen > 0
    explained = 1 - np.mean((y[known] - told[known] / seen[known]) ** 2) / (np.var(y[known]) or 1.0)
    mean, error = rises.mean(axis=0), rises.std(axis=0, ddof=1) / np.sqrt(trees)
    positive = np.maximum(mean, 0.0)
    total = positive.sum()
    return Leaning(positive / (total or 1.0), error / (total or np.inf), float(explained))


def _ordered(column: Column, y: Floats, bag: Codes) -> Codes:
    """Return codes in an order: that of numbers, or of the mean of each word over the rows of the bag alone."""
    if column.ordered:
        return column.codes
    counts = np.bincount(column.codes[bag], minlength=BINS)
    means = np.bincount(column.codes[bag], weights=y[bag], minlength=BINS) / np.maximum(counts, 1)
    rank = np.empty(BINS, dtype=np.int64)
    rank[np.argsort(means, kind="stable")] = np.arange(BINS)
    return rank[column.codes]


class _Tree(NamedTuple):
    """Nodes in the order they were made; a leaf is its own child."""

    column: Codes
    edge: Codes
    left: Codes
    right: Codes
    value: Floats
    depth: int


def _grow(codes: Codes, y: Floats, rng: np.random.Generator) -> _Tree:
    tries = max(1, -(-codes.shape[1] // 2))
    nodes: list[list[float]] = []
    pending = [(np.arange(len(y)), 0, -1, 0)]
    deepest = 0
    while pending:
        rows, depth, parent, side = pending.pop()
        number = len(nodes)
        if parent >= 0:
            nodes[parent][side] = number
        deepest = max(deepest, depth)
        nodes.append([0, BINS, number, number, float(y[rows].mean())])
        if depth == DEPTH or len(rows) < 2 * LEAF:
            continue
        tried = rng.choice(codes.shape[1], tries, replace=False)
        if (found := _split(codes[rows][:, tried], y[rows])) is not None:
            column, edge = int(tried[found[0]]), found[1]
            low = codes[rows, column] <= edge
            nodes[number][:2] = column, edge
            pending += [(rows[low], depth + 1, number, 2), (rows[~low], depth + 1, number, 3)]
    table = np.array(nodes)
    whole = table[:, :4].astype(np.int64)
    return _Tree(whole[:, 0], whole[:, 1], whole[:, 2], whole[:, 3], table[:, 4], deepest)


def _split(codes: Codes, y: Floats) -> tuple[int, int] | None:
    """Return column and last code of the left side of the best split, or None when none helps."""
    n, p = codes.shape
    flat = (codes + np.arange(p) * BINS).ravel()
    counts = np.bincount(flat, minlength=p * BINS).reshape(p, BINS).cumsum(axis=1)
    sums = np.bincount(flat, weights=np.repeat(y, p), minlength=p * BINS).reshape(p, BINS).cumsum(axis=1)
    total, right = sums[:, -1:], n - counts
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = sums**2 / counts + (total - sums) ** 2 / right - total**2 / n
    gain[(counts < LEAF) | (right < LEAF)] = -np.inf
    best = int(gain.argmax())
    return (best // BINS, best % BINS) if gain.flat[best] > 1e-9 else None


def _walk(tree: _Tree, codes: Codes) -> Floats:
    at = np.zeros(len(codes), dtype=np.int64)
    rows = np.arange(len(codes))
    for _ in range(tree.depth):
        at = np.where(codes[rows, tree.column[at]] <= tree.edge[at], tree.left[at], tree.right[at])
    return tree.value[at]
