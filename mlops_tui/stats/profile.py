"""A column as its reference saw it, in cells that live traffic can be counted into.

A profile is frozen when a model is promoted. Counts of the same profile add: late rows, two servers, minutes rolled up
to hours all merge exactly, and only counts need to leave the machine.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_tui.core.errors import BadInput

BINS = 256
TOP = 1_000
KNOWN = 65_536
"""Categories outside the top that are remembered (as 8-byte hashes), to tell a rare one from one never seen."""

Counts = NDArray[np.int64]


class NumericProfile(msgspec.Struct, frozen=True, tag="numeric", tag_field="kind"):
    """A numeric column in intervals closed on the right, cut at reference quantiles.

    Cell i holds edges[i-1] < x ≤ edges[i]; the first and the last cell lie outside what the reference saw. A value
    that fills more than one quantile bin has a cell of its own. The last count is for what is missing: null, NaN, and
    infinities, which have no place on the line.

    Args:
        edges: ascending, at most 2·256 + 1 of them.
        centres: mean of the reference values a cell (the middle or the edge of an empty one); len(edges) + 1.
        counts: rows of the reference a cell, the missing ones last; len(edges) + 2.
        mean: mean of the reference, None when all is missing; likewise ``std`` (population), ``low`` and ``high``.
    """

    edges: tuple[float, ...]
    centres: tuple[float, ...]
    counts: tuple[int, ...]
    mean: float | None
    std: float | None
    low: float | None
    high: float | None

    @property
    def size(self) -> int:
        """Length of a count vector."""
        return len(self.edges) + 2

    @property
    def points(self) -> NDArray[np.bool_]:
        """Which cells (the missing one left out) hold one single value, shape (size - 1,)."""
        edges = np.array(self.edges)
        points = np.zeros(len(edges) + 1, bool)
        points[1:-1] = edges[:-1] == _just_below(edges[1:])
        return points


class CategoricalProfile(msgspec.Struct, frozen=True, tag="categorical", tag_field="kind"):
    """A categorical column: a cell each for the most frequent, then *other*, *unseen* and *missing*.

    Args:
        categories: at most 1,000, most frequent first; one that the reference saw only once belongs to *other*.
        counts: rows of the reference a cell; len(categories) + 3. *unseen* is 0.
        singles: categories that the reference saw exactly once.
        distinct: different categories in the reference.
        known: sorted 8-byte hashes of those in *other*; None when there were more than 65,536 of them: then
            *unseen* cannot be told from *other* and both are counted as *other*.
    """

    categories: tuple[str, ...]
    counts: tuple[int, ...]
    singles: int
    distinct: int
    known: bytes | None

    @property
    def size(self) -> int:
        """Length of a count vector."""
        return len(self.categories) + 3


Profile = NumericProfile | CategoricalProfile


def build(values: Any, kind: Literal["numeric", "categorical"] | None = None) -> Profile:
    """Return the profile of a reference column.

    Args:
        values: array or sequence of n values; None, NaN and what a masked array masks are missing.
        kind: default: numeric when all that is there is integer or float, else categorical (text, bools, a mix).

    Raises:
        BadInput: a numeric column holds something that is no number.
    """
    values = _unmasked(values)
    if kind is None:
        kind = "numeric" if _all_numbers(np.asarray(values)) else "categorical"
    return _build_numeric(numbers(values)) if kind == "numeric" else _build_categorical(values)


def count(profile: Profile, values: Any) -> Counts:
    """Return how many of n values fall into each cell, int64, shape (profile.size,); counts of one profile add.

    Raises:
        BadInput: a numeric column holds something that is no number.
    """
    if isinstance(profile, CategoricalProfile):
        return _count_categorical(profile, _unmasked(values))
    column = numbers(values)
    finite = column[np.isfinite(column)]
    cells = np.searchsorted(np.array(profile.edges), finite, side="left")
    counts = np.bincount(cells, minlength=profile.size).astype(np.int64)
    counts[-1] = column.size - finite.size
    return counts


def expected(profile: Profile) -> Counts:
    """Return the reference counts that live counts are fairly compared with, int64, shape (profile.size,).

    They are the profile's own, except that a category seen only once counts as *unseen*: that is where such a row
    would have fallen had it not been in the reference (the leave-one-out estimate of Good 1953, "The population
    frequencies of species"), so a column of many rare values isn't called drifted for having rare values.
    """
    counts = np.array(profile.counts, np.int64)
    if isinstance(profile, CategoricalProfile) and profile.known is not None:
        counts[-3] -= profile.singles
        counts[-2] += profile.singles
    return counts


def to_bytes(profile: Profile) -> bytes:
    """Return the profile as JSON; ``from_bytes`` gives back the very same one."""
    return msgspec.json.encode(profile)


def from_bytes(data: bytes) -> Profile:
    """Rebuild a profile from its JSON.

    Raises:
        BadInput: the bytes are no profile.
    """
    try:
        profile: Profile = msgspec.json.decode(data, type=NumericProfile | CategoricalProfile)
        return profile
    except msgspec.MsgspecError as error:
        raise BadInput("this is not a reference profile", str(error)) from error


def category(value: Any) -> str | None:
    """Return the name under which a value is counted, None for missing; 1, 1.0 and True are all ``1``."""
    if value is None or value != value:
        return None
    if isinstance(value, bool | np.bool_):
        return "1" if value else "0"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _all_numbers(array: NDArray[Any]) -> bool:
    if array.dtype.kind != "O":
        return array.dtype.kind in "iuf"
    kinds = {type(value) for value in array.tolist() if value is not None}
    return bool(kinds) and all(issubclass(kind, int | float | np.number) and kind is not bool for kind in kinds)


def numbers(values: Any) -> NDArray[np.float64]:
    """Return a numeric column as float64, shape (n,), NaN where it is missing.

    Raises:
        BadInput: it holds something that is no number.
    """
    try:
        return np.asarray(_unmasked(values), np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise BadInput("a numeric column holds something that is no number", str(error)) from error


def _unmasked(values: Any) -> Any:
    """Return a masked array (DuckDB's for a column with nulls) as objects with None for what is masked."""
    if not isinstance(values, np.ma.MaskedArray):
        return values
    plain = np.ma.getdata(values).astype(object)
    plain[np.ma.getmaskarray(values)] = None
    return plain


def _just_below(values: ArrayLike) -> NDArray[np.float64]:
    """Return the next smaller float; below 0 the first normal one, since some libraries flush denormals to 0."""
    values = np.asarray(values, np.float64)
    return np.where(values == 0, -np.finfo(np.float64).tiny, np.nextafter(values, -np.inf))


def _build_numeric(column: NDArray[np.float64]) -> NumericProfile:
    finite = np.sort(column[np.isfinite(column)])
    missing, n = column.size - finite.size, finite.size
    if n == 0:
        return NumericProfile((), (0.0,), (0, missing), None, None, None, None)
    quantiles = finite[np.ceil(np.arange(1, BINS + 1) * n / BINS).astype(np.int64) - 1]
    values, repeats = np.unique(finite, return_counts=True)
    heavy = values[repeats > max(1, n / BINS)]
    edges = np.unique(np.concatenate([_just_below(finite[:1]), quantiles, heavy, _just_below(heavy)]))
    cells = np.searchsorted(edges, finite, side="left")
    counts = np.bincount(cells, minlength=len(edges) + 1)
    shift = finite.mean()  # sums of small differences: large offsets (timestamps) keep their digits
    sums = np.bincount(cells, weights=finite - shift, minlength=len(edges) + 1)
    inner = np.concatenate([edges[:1], (edges[:-1] + edges[1:]) / 2, edges[-1:]])
    centres = np.where(counts > 0, shift + sums / np.maximum(counts, 1), inner)
    return NumericProfile(
        edges=tuple(edges.tolist()),
        centres=tuple(np.maximum.accumulate(centres).tolist()),
        counts=(*counts.tolist(), missing),
        mean=float(shift),
        std=float(finite.std()),
        low=float(finite[0]),
        high=float(finite[-1]),
    )


def _tally(values: Any) -> tuple[Counter[str], int]:
    """Return rows a category and the missing rows."""
    array = values if isinstance(values, np.ndarray) else None
    items: Iterable[tuple[Any, int]]
    if array is not None and array.dtype.kind in "iufb":
        distinct, repeats = np.unique(array, return_counts=True)
        items = zip(distinct.tolist(), repeats.tolist(), strict=True)
    else:
        items = Counter(values.tolist() if array is not None else values).items()
    tally: Counter[str] = Counter()
    missing = 0
    for value, repeat in items:
        name = category(value)
        if name is None:
            missing += repeat
        else:
            tally[name] += repeat
    return tally, missing


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _build_categorical(values: Any) -> CategoricalProfile:
    tally, missing = _tally(values)
    ranked = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    top = [(name, rows) for name, rows in ranked[:TOP] if rows > 1]
    rest = ranked[len(top) :]
    hashes = np.array(sorted(_hash(name) for name, _ in rest), "<u8") if len(rest) <= KNOWN else None
    return CategoricalProfile(
        categories=tuple(name for name, _ in top),
        counts=(*(rows for _, rows in top), sum(rows for _, rows in rest), 0, missing),
        singles=sum(rows == 1 for _, rows in rest),
        distinct=len(ranked),
        known=None if hashes is None else hashes.tobytes(),
    )


def _count_categorical(profile: CategoricalProfile, values: Any) -> Counts:
    tally, missing = _tally(values)
    counts = np.zeros(profile.size, np.int64)
    counts[-1] = missing
    cells = {name: i for i, name in enumerate(profile.categories)}
    known = None if profile.known is None else np.frombuffer(profile.known, "<u8")
    for name, rows in tally.items():
        cell = cells.get(name)
        if cell is None:
            cell = -3 if known is None or _holds(known, _hash(name)) else -2
        counts[cell] += rows
    return counts


def _holds(ordered: NDArray[np.uint64], value: int) -> bool:
    at = int(np.searchsorted(ordered, np.uint64(value)))
    return at < ordered.size and int(ordered[at]) == value
