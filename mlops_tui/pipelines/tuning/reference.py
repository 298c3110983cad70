"""The reference set: what a candidate's answers are judged by, and how much of their accuracy it loses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops_tui.core.errors import BadInput
from mlops_tui.serving.models.model import Feed, Model
from mlops_tui.serving.tensors import DTYPES, Array

BATCH = 256
MOST_ROWS = 20_000
CLASSES, NUMBERS = "classification", "regression"
Columns = Mapping[str, NDArray[Any]]


class Reference(NamedTuple):
    """Rows by column, and their truth where it is known (empty where not)."""

    columns: Columns
    label: NDArray[Any]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values()), ()))

    def feed(self, model: Model, begin: int, end: int) -> Feed:
        """Return rows as a model takes them: columns of one tensor, or a tensor a column.

        Raises:
            BadInput: a column is missing, or of another type.
        """
        if len(model.inputs) == 1 and len(model.features) > 1:
            tensor = model.inputs[0]
            parts = [self._column(name, begin, end) for name in model.features]
            return {tensor.name: _as(np.stack(parts, axis=1), tensor.datatype, tensor.name)}
        feed = {}
        for tensor in model.inputs:
            array = _as(self._column(tensor.name, begin, end), tensor.datatype, tensor.name)
            feed[tensor.name] = array.reshape(len(array), *[1 if d < 0 else d for d in tensor.shape[1:]])
        return feed

    def _column(self, name: str, begin: int, end: int) -> NDArray[Any]:
        if name not in self.columns:
            raise BadInput(
                f"the reference set has no column {name}", f"it has {', '.join(list(self.columns)[:12])}", "--data REF"
            )
        return self.columns[name][begin:end]


def _as(array: NDArray[Any], datatype: str, name: str) -> Array:
    try:
        return np.ascontiguousarray(array.astype(DTYPES[datatype]))
    except (ValueError, TypeError) as error:
        raise BadInput(f"the reference set's {name} is not {datatype}", str(error)[:200]) from error


class Answers(NamedTuple):
    """What a model says of the reference set: classes or numbers."""

    task: str
    values: NDArray[Any]


def answers(path: Path, reference: Reference) -> Answers:
    """Ask a model about every row of the reference set."""
    model = Model(path.read_bytes())
    found: list[list[Array]] = []
    for begin in range(0, reference.rows, BATCH):
        found.append(model.run(reference.feed(model, begin, begin + BATCH)))
    arrays = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    return _read(arrays, [tensor.datatype for tensor in model.output_tensors], reference.label)


def _read(arrays: Sequence[Array], datatypes: Sequence[str], label: NDArray[Any]) -> Answers:
    """Return classes where an output holds them or the truth is two, else numbers."""
    for array, datatype in zip(arrays, datatypes, strict=True):
        if (datatype.startswith(("INT", "UINT")) or datatype in ("BYTES", "BOOL")) and array.size == len(array):
            return Answers(CLASSES, array.reshape(-1))
    scores = arrays[0].reshape(len(arrays[0]), -1).astype(np.float64)
    if scores.shape[1] > 1:
        return Answers(CLASSES, scores.argmax(axis=1))
    values = scores[:, 0]
    known = label[np.isfinite(label)] if len(label) else label
    two = len(known) and set(np.unique(known)) <= {0.0, 1.0}
    share = not len(known) and len(values) and float(values.min()) >= 0.0 and float(values.max()) <= 1.0
    if two or share:
        return Answers(CLASSES, (values >= 0.5).astype(np.int64))
    return Answers(NUMBERS, values)


class Loss(NamedTuple):
    """How much worse a candidate answers than fp32: ``value`` is a share, in ``words`` what was compared."""

    value: float
    words: str


def loss(plain: Answers, other: Answers, label: NDArray[Any]) -> Loss:
    """Return what a candidate loses against fp32.

    Of classes: points of accuracy where the truth is known, else the share of rows on which the two disagree. Of
    numbers: the growth of the root mean squared error, else the distance of the two in standard deviations.
    """
    known = np.isfinite(label.astype(np.float64)) if len(label) else np.zeros(len(plain.values), bool)
    if plain.task == CLASSES:
        agree = float(np.mean(plain.values == other.values))
        if known.any():
            truth = label[known]
            before, after = (float(np.mean(one.values[known] == truth)) for one in (plain, other))
            return Loss(before - after, f"accuracy {after:.2%} (fp32 {before:.2%}), agrees on {agree:.2%}")
        return Loss(1 - agree, f"agrees with fp32 on {agree:.2%}")
    apart = float(np.sqrt(np.mean((plain.values - other.values) ** 2)))
    if known.any():
        before, after = (float(np.sqrt(np.mean((one.values[known] - label[known]) ** 2))) for one in (plain, other))
        return Loss(after / before - 1 if before else float(after > 0), f"RMSE {after:.4g} (fp32 {before:.4g})")
    width = float(np.std(plain.values)) or 1.0
    return Loss(apart / width, f"{apart / width:.2%} of a standard deviation from fp32")


def bodies(model: Model, reference: Reference | None, count: int = 64) -> list[str]:
    """Return requests of one row each, as clients send them; made of zeros without a reference set."""
    made = []
    for at in range(count if reference is not None and reference.rows else 1):
        feed = _zeros(model) if reference is None or not reference.rows else _row(model, reference, at)
        made.append(json.dumps({"inputs": [_tensor(name, array) for name, array in feed.items()]}))
    return made


def _row(model: Model, reference: Reference, at: int) -> Feed:
    begin = at % reference.rows
    return reference.feed(model, begin, begin + 1)


def _zeros(model: Model) -> Feed:
    blank = {"BYTES": ""}
    return {
        t.name: np.full([1 if d < 0 else d for d in t.shape], blank.get(t.datatype, 0), DTYPES[t.datatype])
        for t in model.inputs
    }


def _tensor(name: str, array: Array) -> dict[str, Any]:
    datatype = next(known for known, dtype in DTYPES.items() if dtype == array.dtype)
    values = array.ravel()
    if array.dtype.kind == "f":
        values = np.nan_to_num(values)  # JSON has no NaN
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": values.tolist()}
