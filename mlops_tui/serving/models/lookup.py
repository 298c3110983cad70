"""Features by key on the request path: a client sends ids, the server puts in what is known of them.

What the client sends beside the id goes before what is known: fresh values, or those of an entity that nobody knows.
The definitions must be those by which the model's training features were computed; digests are compared, not names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any

import numpy as np

from mlops_tui.core.errors import BadInput
from mlops_tui.data.online.table import OnlineTable
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.record.counters import Gauge, Slot
from mlops_tui.serving.tensors import Array, Tensor

REFUSE, BLANK = "refuse", "blank"
POLICIES = (REFUSE, BLANK)
_NAMED = 10


class Completed(dict[str, Array]):
    """Tensors whose features were looked up; ``age_s`` is how old the oldest row of them is, in seconds."""

    age_s: int | None = None


class Lookup:
    """The look-up for one model.

    Args:
        table: the online features.
        missing: what an unknown entity gets: ``refuse`` answers 404, ``blank`` takes its features as missing (NaN).
        inputs: what the model takes.
        features: the names of its features, in order.
        said: its ``mlops.feature_set``: the definitions by which it was trained, as JSON.
        slot: where look-ups are counted.

    Attributes:
        key: what the id is called in a request.

    Raises:
        BadInput: the model does not say its definitions, or they are others.
    """

    def __init__(
        self, table: OnlineTable, missing: str, inputs: Sequence[Tensor], features: Sequence[str], said: str, slot: Slot
    ) -> None:
        self._table, self._missing, self._inputs, self._slot = table, missing, inputs, slot
        self.key = str(table.header["key"])
        self.features = tuple(features)
        _compare(table, self.features, said)
        place = {name: at for at, name in enumerate(table.names)}
        self._unknown = [name for name in self.features if name not in place]
        columns = [place.get(name, 0) for name in self.features]
        self._columns = None if columns == list(range(len(table.names))) else columns
        self._plain = len(inputs) == 1 and inputs[0].dtype == np.float32

    def completed(self, given: Mapping[str, Array]) -> Completed:
        """Return the model's tensors for a request that has the key.

        Args:
            given: the key, and features by name that go before what is known; one value a row each.

        Raises:
            Problem: 404 for an entity that nobody knows, 400 for columns that do not fit.
        """
        keys = given[self.key].ravel().tolist()
        if not keys:
            raise Problem("the request has no rows")
        rows = self._table.find(keys)
        matrix = self._table.values(rows)
        if self._columns is not None:
            matrix = matrix[:, self._columns]
        self._slot.add(Gauge.LOOKUPS, len(keys))
        if -1 in rows:
            rows = self._absent(keys, rows, matrix, given)
        if len(given) > 1 or self._unknown:
            self._put_in(matrix, given)
        found = Completed({self._inputs[0].name: matrix} if self._plain else self._tensors(matrix))
        if rows:
            age_us = time_ns() // 1000 - self._table.oldest(rows)
            self._slot[Gauge.FEATURE_AGE_S] = found.age_s = max(0, age_us) // 1_000_000
        return found

    def _absent(self, keys: list[Any], rows: list[int], matrix: Array, given: Mapping[str, Array]) -> list[int]:
        """Blank the features of unknown entities, if that may be or the client sends them; returns the known rows."""
        absent = [str(key)[:40] for key, at in zip(keys, rows, strict=True) if at < 0]
        self._slot.add(Gauge.LOOKUP_MISSES, len(absent))
        if self._missing == REFUSE and not all(name in given for name in self.features):
            more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
            raise Problem(f"there are no features of {self.key} {', '.join(absent[:_NAMED])}{more}", 404)
        matrix[[at < 0 for at in rows]] = np.nan
        return [at for at in rows if at >= 0]

    def _put_in(self, matrix: Array, given: Mapping[str, Array]) -> None:
        for name, column in given.items():
            if name == self.key:
                continue
            if name not in self.features:
                raise Problem(f"unknown column {name!r}; the features are {', '.join(self.features)}")
            try:
                matrix[:, self.features.index(name)] = column.reshape(len(matrix))
            except (ValueError, TypeError) as error:
                raise Problem(f"column {name!r} does not have one number a row") from error
        if absent := [name for name in self._unknown if name not in given]:
            raise Problem(f"columns are missing, and not among the online features: {', '.join(absent[:_NAMED])}")

    def _tensors(self, matrix: Array) -> dict[str, Array]:
        if len(self._inputs) == 1:
            only = self._inputs[0]
            return {only.name: np.ascontiguousarray(matrix, only.dtype)}
        return {one.name: _column(matrix[:, at], one) for at, one in enumerate(self._inputs)}


def _column(values: Array, tensor: Tensor) -> Array:
    if tensor.dtype.kind in "iu" and np.isnan(values).any():
        raise Problem(f"the feature {tensor.name!r} is missing, and {tensor.datatype} has no value for that", 404)
    return values.astype(tensor.dtype).reshape(-1, *([1] * (len(tensor.shape) - 1)))


def _compare(table: OnlineTable, features: Sequence[str], said: str) -> None:
    view = table.header.get("view", "the view")
    try:
        trained = {one["name"]: one["digest"] for one in json.loads(said)["features"]}
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            "features cannot be looked up for this model",
            "it does not say by which definitions its own were computed",
            "train it on a set that mlops feature training-set made",
        ) from error
    online = table.digests
    other = [name for name in features if name in online and online[name] != trained.get(name)]
    if other:
        raise BadInput(
            f"the online features of {view} are not those of this model",
            f"other definitions: {', '.join(other)}",
            "materialise the view again with the versions that it was trained on",
        )
    if not any(name in online for name in features):
        raise BadInput(f"{view} has none of this model's features", f"it has {', '.join(online)}", "name another view")
