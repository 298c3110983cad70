"""What answers when the revision that should does not: another revision, at last a constant.

A revision that fails, takes too long, or is switched off by a toggle may be stood in for, as the routes say. Answers
that come so carry ``fallback: true``, are counted as such and are in the inference log.

The time limit holds for what runs outside the event loop, as everything does that takes over a millisecond. A run in
the loop cannot be cut short: by the probe at loading it is shorter than the shortest limit that can be set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mlops_tui.core.errors import BadInput
from mlops_tui.serving.deployment import Rescue
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.tensors import DTYPES, Array, Tensor


class LastResort:
    """A constant answer for every row, in the types of the outputs.

    Args:
        values: by output; a number or text, or a list for an output with several values a row.
        models: those that it must be able to stand in for.

    Raises:
        BadInput: an output has no value, or one that it cannot hold.
    """

    def __init__(self, values: Mapping[str, Any], models: Iterable[Model]) -> None:
        self._rows = {id(model): constants(values, model.output_tensors) for model in models}

    def fits(self, model: Model) -> bool:
        """Tell whether it can stand in for a model."""
        return id(model) in self._rows

    def arrays(self, model: Model, rows: int) -> list[Array]:
        """Return the outputs for so many rows."""
        return [np.repeat(one, rows, 0) if whole else one for one, whole in self._rows[id(model)]]


def constants(values: Mapping[str, Any], outputs: Sequence[Tensor]) -> list[tuple[Array, bool]]:
    """Return each output for one row, and whether it has a dimension of rows.

    Args:
        values: by output.
        outputs: of a model.

    Raises:
        BadInput: an output has no value, or one that it cannot hold.
    """
    return [_row(tensor, values, [one.name for one in outputs]) for tensor in outputs]


def _row(tensor: Tensor, values: Mapping[str, Any], names: Sequence[str]) -> tuple[Array, bool]:
    if tensor.name not in values:
        raise BadInput(f"the last resort has no value for the output {tensor.name!r}", "", f"outputs: {names}")
    by_row = bool(tensor.shape) and tensor.shape[0] == -1
    free = tensor.shape[1:] if by_row else tensor.shape
    try:
        given = np.asarray(values[tensor.name], DTYPES[tensor.datatype])
        sizes = given.shape[max(0, given.ndim - len(free)) :]
        sizes = (1,) * (len(free) - len(sizes)) + sizes
        array = np.broadcast_to(given, [d if d >= 0 else n for d, n in zip(free, sizes, strict=True)])
    except (ValueError, TypeError, OverflowError) as error:
        words = f"the last resort's value for {tensor.name!r} does not fit {tensor.datatype} {list(tensor.shape)}"
        raise BadInput(words, str(error)) from error
    return (array[None] if by_row else array), by_row


def last_resort(rescue: Rescue, models: Iterable[Model]) -> LastResort | None:
    """Return the constant answer of a deployment, if it has one.

    Raises:
        BadInput: it does not fit the models.
    """
    return None if rescue.last_resort is None else LastResort(rescue.last_resort, models)
