"""Values of JSON as arrays: the cells of a table, and what a request sets besides its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlops_tui.serving.models.model import Feed, Model
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.tensors import DTYPES, Array, Tensor, flatten


class Word(str):
    """A cell of CSV, which means what its column holds: 1 is a number here and a name there."""


def settings(model: Model, given: Mapping[str, Any]) -> Feed:
    """Return those of a request's params that a model has; others are for toggles and stickiness.

    Raises:
        Problem: a value is not of its param's type.
    """
    found = {}
    for name, tensor in model.params.items():
        if (value := given.get(name)) is not None:
            listed = tensor.shape == (-1,)
            values = value if isinstance(value, list) else [value]
            # A cell of a table may be missing, and may be yes for 1; what is said on purpose may not.
            loose = any(one is None or (type(one) is bool and tensor.datatype != "BOOL") for one in values)
            if isinstance(value, list) is not listed or loose:
                raise Problem(f"the param {name!r} is {'a list' if listed else 'one value'} of {tensor.datatype}")
            found[tensor.name] = convert(name, values, tensor)
    return found


def convert(name: str, values: Any, tensor: Tensor) -> Array:
    """Return a value, or nested lists of them, as an array of a tensor's type; a missing number is NaN if it has one.

    Raises:
        Problem: the lists differ in their lengths, or a value does not fit.
    """
    dtype = DTYPES[tensor.datatype]
    shape: list[int] = []
    inner = values
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    flat: list[Any] = []
    try:
        if isinstance(values, list):
            flatten(values, tuple(shape), flat)
        else:
            flat.append(values)
        with np.errstate(over="raise"):
            return np.array([_cell(value, dtype.kind, tensor.nullable) for value in flat], dtype).reshape(shape)
    except FloatingPointError:
        raise Problem(f"{name!r}: a value is too large for {tensor.datatype}") from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Problem(f"{name!r}: not {tensor.datatype} ({error})") from error


def read_alike(values: Sequence[Any]) -> list[float | str | None]:
    """Return the cells of a column of CSV of which nobody says what it holds: numbers if all are, else words."""
    try:
        return [None if value is None else _number(value) for value in values]
    except ValueError:
        return [None if value is None else str(value) for value in values]


def _cell(value: Any, kind: str, nullable: bool) -> Any:
    if type(value) is Word:
        value = _meant(value, kind)
    if kind == "f" and (value is None or type(value) in (int, float, bool)):
        return math.nan if value is None else float(value)
    if kind in "iu" and (type(value) in (int, bool) or (type(value) is float and value.is_integer())):
        return int(value)
    if (kind == "b" and type(value) is bool) or (kind == "O" and (type(value) is str or (value is None and nullable))):
        return value
    raise ValueError(f"{str(value)[:40]!r} does not fit")


def _meant(word: Word, kind: str) -> Any:
    """Return a cell of CSV as its column holds it.

    Raises:
        ValueError: it cannot be that.
    """
    if kind == "O":
        return str(word)
    if kind == "b":
        return {"true": True, "false": False}.get(word.strip().lower())
    if kind in "iu" and word.strip().lstrip("+-").isdecimal():
        return int(word)
    number = _number(word)
    if math.isinf(number):
        raise ValueError(f"{word[:40]!r} does not fit")
    return None if math.isnan(number) else number


def _number(text: str) -> float:
    if "_" in text:
        raise ValueError(f"{text[:40]!r} does not fit")  # float() would take 1_0 for ten
    return float(text)
