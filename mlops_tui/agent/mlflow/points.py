"""Values of metrics as clients send them, and as the journal keeps them: one a record, or a batch by columns.

The thousand values of a batch are looked at a column at a time; only when something is wrong one after the other, to
name the first that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from mlops_tui.agent.mlflow.coding import Ask, absent
from mlops_tui.agent.mlflow.errors import invalid
from mlops_tui.agent.mlflow.names import check_name
from mlops_tui.core.clock import now_us
from mlops_tui.core.jsonx import ieee_word

FEW = 4
"""Values up to which each gets a record of its own."""
_YEAR_10000 = 253_402_300_800_000
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class Point(Ask):
    """One value of a metric; the time is milliseconds since 1970."""

    key: str | None = None
    value: float | None = None
    timestamp: int | None = None
    step: Int64 | None = None
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


def records_of(points: Sequence[Any], path: str) -> list[dict[str, Any]]:
    """Return values (with the fields of :class:`Point`) as records of the journal.

    Args:
        points: the values.
        path: what the list is called in the request, for messages; empty for a single value.

    Raises:
        WireError: one is not complete, or cannot be kept.
    """
    if len(points) <= FEW:
        return [_record(point, f"{path}[{index}]." if path else "") for index, point in enumerate(points)]
    keys = [point.key for point in points]
    stamps = [point.timestamp for point in points]
    values = [point.value for point in points]
    names = set(keys)
    if None in names or "" in names or None in stamps or None in values:
        _name_first(points, path)
    if min(stamps) < 0 or max(stamps) >= _YEAR_10000:
        _name_first(points, path)
    for name in names:
        check_name(name, f"{path}[{keys.index(name)}].name", "Metric name")
    numbers = dict(zip(dict.fromkeys(keys), count(), strict=False))
    record: dict[str, Any] = {
        "v": 1, "e": "mb", "t": now_us(), "k": list(numbers), "i": [numbers[key] for key in keys],
        "ts": [stamp * 1000 for stamp in stamps], "s": [point.step or 0 for point in points], "m": values,
    }  # fmt: skip
    odd = np.flatnonzero(~np.isfinite(np.array(values, dtype=np.float64))).tolist()
    if odd:
        record["x"] = {str(index): ieee_word(values[index]) for index in odd}
        for index in odd:
            values[index] = 0.0
    return [record]


def measures_of(points: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the values that belong to a logged model as records of it."""
    return [
        {
            "v": 1, "e": "measure", "t": point.timestamp * 1000, "model": point.model_id, "s": point.step or 0,
            "dataset": point.dataset_name or "", "digest": point.dataset_digest or "", **_said(point),
        }
        for point in points
        if point.model_id
    ]  # fmt: skip


def _record(point: Any, at: str) -> dict[str, Any]:
    """Return one value as a record of its own.

    Raises:
        WireError: it is not complete, or cannot be kept.
    """
    _check(point, at)
    return {"v": 1, "e": "m", "t": point.timestamp * 1000, "s": point.step or 0, **_said(point)}


def _said(point: Any) -> dict[str, Any]:
    finite = point.value - point.value == 0.0
    return {"m": {point.key: point.value}} if finite else {"x": {point.key: ieee_word(point.value)}}


def _check(point: Any, at: str) -> None:
    key, value, ts = point.key, point.value, point.timestamp
    if not key or value is None or ts is None:
        raise absent(at + ("key" if not key else "value" if value is None else "timestamp"))
    check_name(key, f"{at}name", "Metric name")
    if not 0 <= ts < _YEAR_10000:
        raise invalid(
            f"Invalid value {ts} for parameter '{at}timestamp' supplied: metric '{key}' (value={value}). "
            "Timestamp must be a nonnegative number of milliseconds, before the year 10000."
        )


def _name_first(points: Sequence[Any], path: str) -> None:
    """Raise the error of the first value that has one."""
    for index, point in enumerate(points):
        _check(point, f"{path}[{index}].")
