"""What a batch of points says of each series: how many, the last one, the least and the greatest."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Summary(NamedTuple):
    """Columns with a row a series.

    Attributes:
        sid: the series.
        n: how many points.
        nonfinite: how many of them are NaN or infinite.
        low: the least finite value, None without any.
        high: the greatest.
        step: of the last point: the greatest (step, time, value), NaN being greater than any number.
        ts: its time, µs.
        last: its value.
    """

    sid: NDArray[np.int32]
    n: NDArray[np.int64]
    nonfinite: NDArray[np.int64]
    low: list[float | None]
    high: list[float | None]
    step: NDArray[np.int64]
    ts: NDArray[np.int64]
    last: NDArray[np.float64]


def summarised(sid: Any, step: Any, ts: Any, value: Any) -> Summary:
    """Return the summary of at least one point; a sixth of what the database takes for it."""
    order = _grouped(sid)
    sid, step, ts, value = sid[order], step[order], ts[order], value[order]
    first = np.flatnonzero(np.r_[True, sid[1:] != sid[:-1]])
    n = np.diff(first, append=len(sid))
    finite = np.isfinite(value)
    whole = bool(finite.all())
    finites = np.add.reduceat(finite, first, dtype=np.int64)
    low = np.minimum.reduceat(value if whole else np.where(finite, value, np.inf), first)
    high = np.maximum.reduceat(value if whole else np.where(finite, value, -np.inf), first)
    last_step, at = _greatest(step, first, n, np.ones(len(sid), bool))
    last_ts, at = _greatest(ts, first, n, at)
    last, _ = _greatest(value, first, n, at)
    return Summary(sid[first], n, n - finites, _known(low, finites), _known(high, finites), last_step, last_ts, last)


def _grouped(sid: Any) -> Any:
    """Return the order in which the points of each series are together; 16 bits are sorted by their digits."""
    low, span = int(sid.min()), int(sid.max()) - int(sid.min())
    return np.argsort((sid - low).astype(np.uint16) if span < 1 << 16 else sid, kind="stable")


def _greatest(column: Any, first: Any, n: Any, among: Any) -> tuple[Any, Any]:
    """Return the greatest of each series among some points, and which of those points have it."""
    least = -np.inf if column.dtype.kind == "f" else np.iinfo(column.dtype).min
    found = np.maximum.reduceat(np.where(among, column, least), first)  # NaN comes through
    return found, among & (column == np.repeat(found, n))


def _known(column: Any, finites: Any) -> list[float | None]:
    return [value if known else None for value, known in zip(column.tolist(), finites.tolist(), strict=True)]
