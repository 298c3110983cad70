"""What a model takes and gives, as the other side reads it: name, datatype, shape; -1 is a free dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .wire import DTYPES, TEXT, Array, datatype

_WORDS = {
    "float": "FP32", "float32": "FP32", "double": "FP64", "float64": "FP64", "float16": "FP16", "half": "FP16",
    "integer": "INT32", "int32": "INT32", "long": "INT64", "int64": "INT64", "int16": "INT16", "int8": "INT8",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "bool": "BOOL", "boolean": "BOOL",
    "string": TEXT, "str": TEXT, "object": TEXT, "datetime": TEXT, "binary": TEXT,
}  # fmt: skip

PARAM = "params."
"""Begins the name of what is no tensor of rows, but sets how a model runs: MLflow's params travel beside its inputs."""


class Spec(NamedTuple):
    """A tensor; ``optional`` ones may be left out."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False

    def row(self) -> Array:
        """Return one row of nothing: zeros, or empty words."""
        shape = [1 if d < 0 else d for d in self.shape]
        if self.datatype == TEXT:
            return np.full(shape, "", np.object_)
        return np.zeros(shape, DTYPES[self.datatype])

    @classmethod
    def seen(cls, name: str, array: Array, batch: bool) -> Spec:
        """Return the spec of an array that a model gave for one row; its first dimension is the rows' if ``batch``."""
        free = batch and array.ndim > 0 and array.shape[0] == 1
        return cls(name, datatype(array), (-1, *array.shape[1:]) if free else array.shape)


def spec_of(said: dict[str, Any]) -> Spec:
    """Return the spec that a signature says.

    Raises:
        ValueError: its type is none of ours.
    """
    kind = str(said.get("datatype") or said["dtype"])
    found = kind if kind in DTYPES or kind == TEXT else _WORDS.get(kind)
    if found is None:
        raise ValueError(f"{said['name']!r} is of type {kind}, which no tensor has")
    shape = tuple(d if isinstance(d, int) else -1 for d in said.get("shape") or (-1,))
    return Spec(str(said["name"]), found, shape, bool(said.get("optional", False)))


def param_of(said: dict[str, Any]) -> Spec | None:
    """Return the spec of a param, a list if its dimension is free; None for what no tensor holds."""
    kind = _WORDS.get(said["dtype"])
    return None if kind is None else Spec(PARAM + said["name"], kind, (-1,) if said["list"] else (1,), True)


def listed(specs: Sequence[Spec]) -> list[dict[str, Any]]:
    """Return specs as plain data."""
    return [one._asdict() for one in specs]
