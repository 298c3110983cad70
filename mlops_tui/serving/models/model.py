"""A model ready to answer: one ONNX Runtime session, its signature, and how its rows look in the inference log."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from mlops_tui.core.errors import BadInput
from mlops_tui.serving.models.probe import LONG_S, Probe
from mlops_tui.serving.models.session import Session, Wish
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.tensors import DTYPES, ONNX_TYPES, Array, Rows, Tensor

if TYPE_CHECKING:
    from mlops_tui.serving.models.lookup import Lookup
    from mlops_tui.serving.models.pool import Pool

MAX_LOGGED_COLUMNS = 4096
_REMEMBERED = 256
Feed = Mapping[str, Array]
Packed = bytes | memoryview
"""Bytes of numbers, where they can be pointed at in an array rather than copied."""
_Plan = list[tuple[int, int]]


class Model:
    """An ONNX model, loaded and warmed.

    ``features`` and ``outputs`` name the columns of its inference log. They come from the model's metadata
    (``mlops.features``, ``mlops.outputs``: JSON lists) when those fit, else from the tensors' names. A side whose width
    is not known beforehand, or over 4096, is not logged and names nothing. ``named`` tells whether the features' names
    are the model's own; ``feature_set`` is the record of their definitions, as JSON. ``joins`` tells whether rows of
    several requests may run together.

    Args:
        data: the ONNX file: its content, or its path, which spares a copy.
        wish: where and how it is to run; default, one thread of the CPU.

    Raises:
        BadInput: it is not a model, or it takes or gives something else than tensors.
        Refused: it must run on a GPU, and does not.
    """

    def __init__(self, data: bytes | str, wish: Wish | None = None) -> None:
        self._session = Session(data, wish or Wish())
        self._run = self._session.run
        self._describe(
            [_tensor(node) for node in self._session.inputs], [_tensor(node) for node in self._session.outputs]
        )
        shapes = self._warm_up()
        probe = Probe(self.run, self.inputs, self.output_tensors)
        self.joins, self._cost = probe.joins, probe.cost
        meta = self._session.metadata
        self.refuses_nan = probe.refuses_nan or meta.get("mlops.missing") == "refuse"
        self._lay_out(shapes, meta)

    def _describe(self, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """Note what it takes and gives."""
        self.inputs, self.output_tensors = inputs, outputs
        self.output_names = [tensor.name for tensor in self.output_tensors]
        self._heads = [_head(tensor) for tensor in self.output_tensors]
        self._heads_of_shape: dict[tuple[int, tuple[int, ...]], bytes] = {}
        self._position = {name: i for i, name in enumerate(self.output_names)}
        self._single = _single(self.inputs)
        self._rows = _row(self.inputs)
        self.warm_up_error = ""

    def _lay_out(self, shapes: Sequence[Sequence[int]], meta: Mapping[str, str]) -> None:
        """Choose the columns of the inference log; ``shapes`` are those of the outputs for one row."""
        self._feature_plan = _plan(self.inputs, [t.shape for t in self.inputs], self.inputs)
        if len(self._feature_plan) < len(self.inputs):
            self._feature_plan = []
        self._output_plan = _plan(self.output_tensors, shapes, self.inputs)
        self.feature_set = meta.get("mlops.feature_set", "")
        self.features = _columns(self.inputs, self._feature_plan, meta.get("mlops.features", ""))
        self.outputs = _columns(self.output_tensors, self._output_plan, meta.get("mlops.outputs", ""))
        self.named = bool(self.features) and self.features != _columns(self.inputs, self._feature_plan, "")

    lookup: Lookup | None = None
    """Where features are looked up by key, when the deployment says so."""
    lane: Pool | None = None
    """Threads of its own, so that a model that hangs holds up none of the others that take long."""
    params: Mapping[str, Tensor] = {}
    """What a request may set besides its rows, by name; one value, or a list where the dimension is free."""
    optional: frozenset[str] = frozenset()
    """Inputs that may be left out."""
    gives_table = False
    """It gives rows of named columns, not an array, or one for each name."""
    refuses_nan = False
    platform = "onnxruntime_onnx"
    """What the protocol calls the engine."""

    @property
    def condition(self) -> dict[str, Any]:
        """What there is to know of the engine: where it runs, and why not where it was wished."""
        said = {"engine": "onnx", "provider": self._session.provider}
        return {**said, "why": self._session.why} if self._session.why else said

    def close(self) -> None:
        """Let go of what the model holds; nobody asks it any more."""
        self._session.close()

    def check(self, feed: Feed) -> int:
        """Return how many rows the tensors hold, if they are what the model takes.

        Raises:
            Problem: a tensor is missing, unknown, or of another data type or shape; or there are no rows.
        """
        if self._single is not None and len(feed) == 1:
            name, dtype, tail = self._single
            array = feed.get(name)
            # What is ours has the very same type; to compare two costs as much as all the rest.
            if array is not None and (array.dtype is dtype or array.dtype == dtype):
                shape: tuple[int, ...] = array.shape
                if shape and shape[0] and shape[1:] == tail:
                    if self.refuses_nan:
                        self._refuse_nan(feed)
                    return shape[0]
        sizes: dict[str, int] = {}
        for tensor in self.inputs:
            if tensor.name not in feed:
                raise Problem(f"input {tensor.name!r} is missing; the model takes {[t.name for t in self.inputs]}")
            _fits(tensor, feed[tensor.name], sizes)
        if len(feed) > len(self.inputs):
            raise Problem(f"unknown inputs {sorted(set(feed) - {t.name for t in self.inputs})}")
        shape = feed[self.inputs[0].name].shape if self.inputs else ()
        if shape and shape[0] == 0:
            raise Problem("the request has no rows")
        if self.refuses_nan:
            self._refuse_nan(feed)
        return shape[0] if shape else 1

    def takes(self, rows: Rows) -> bool:
        """Tell whether rows are all that the model takes, so that :meth:`check` would let their array pass.

        Args:
            rows: finite numbers.
        """
        return self._rows == (rows.name, rows.datatype, rows.width) and rows.count > 0 and self.lookup is None

    def _refuse_nan(self, feed: Feed) -> None:
        for name, array in feed.items():
            if array.dtype.kind == "f" and (missing := np.isnan(array)).any():
                at = [int(i) for i in np.argwhere(missing)[0]]
                raise Problem(f"input {name!r} has a missing value (NaN) at {at}, and the model takes none")

    def run(self, feed: Feed) -> list[Array]:
        """Return every output for tensors that :meth:`check` has let pass, in the order of ``output_names``."""
        results: list[Array] = self._run(self.output_names, feed, None)
        return results

    def takes_long(self, rows: int) -> bool:
        """Tell whether a run of so many rows would hold up other requests."""
        fixed_s, row_s = self._cost
        return fixed_s + rows * row_s > LONG_S

    def position(self, output: str) -> int:
        """Return where an output stands in what :meth:`run` returns.

        Raises:
            Problem: the model has no such output.
        """
        try:
            return self._position[output]
        except KeyError:
            raise Problem(f"unknown output {output!r}; the model has {self.output_names}") from None

    def output_head(self, at: int, shape: tuple[int, ...]) -> bytes:
        """Return how an output of that shape begins in the protocol: ``{"name":…,"datatype":…,"shape":[…]``."""
        known = self._heads_of_shape.get((at, shape))
        if known is None:
            known = self._heads[at] + orjson.dumps(shape)
            if len(self._heads_of_shape) < _REMEMBERED:
                self._heads_of_shape[at, shape] = known
        return known

    def feature_bytes(self, feed: Feed, rows: int) -> Packed:
        """Return the features as the log keeps them: float32, row-major; empty when they are not logged."""
        if not self.features:
            return b""
        return _pack([feed[t.name] for t in self.inputs], self._feature_plan, rows, len(self.features))

    def output_bytes(self, results: Sequence[Array], rows: int) -> Packed:
        """Return the outputs as the log keeps them: float32, row-major; empty when they are not logged."""
        if not self.outputs:
            return b""
        return _pack(results, self._output_plan, rows, len(self.outputs))

    def _warm_up(self) -> list[tuple[int, ...]]:
        """Run one row of zeros, which also tells the shapes of the outputs; some models refuse zeros, and may."""
        feed = {}
        for t in self.inputs:
            blank = "" if t.datatype == "BYTES" else 0
            feed[t.name] = np.full([d if d >= 0 else 1 for d in t.shape], blank, DTYPES[t.datatype])
        try:
            self.run(feed)
            return [np.shape(result) for result in self.run(feed)]
        except Exception as error:
            self.warm_up_error = str(error)[:500]
            return [t.shape for t in self.output_tensors]


def _tensor(node: Any) -> Tensor:
    if node.type not in ONNX_TYPES:
        raise BadInput(
            f"{node.name!r} of the model is a {node.type}", "only tensors can be served", "export it without a ZipMap"
        )
    shape = node.shape or []
    return Tensor(
        node.name,
        ONNX_TYPES[node.type],
        tuple(d if isinstance(d, int) else -1 for d in shape),
        tuple(d if isinstance(d, str) else None for d in shape),
    )


def _head(tensor: Tensor) -> bytes:
    return orjson.dumps({"name": tensor.name, "datatype": tensor.datatype})[:-1] + b',"shape":'


def _single(inputs: Sequence[Tensor]) -> tuple[str, np.dtype[Any], tuple[int, ...]] | None:
    """Return what a quick check needs when the model takes one tensor whose first dimension alone is free."""
    if len(inputs) != 1 or not inputs[0].shape or inputs[0].shape[0] != -1 or -1 in inputs[0].shape[1:]:
        return None
    return inputs[0].name, DTYPES[inputs[0].datatype], inputs[0].shape[1:]


def _row(inputs: Sequence[Tensor]) -> tuple[str, str, int] | None:
    """Return name, datatype and width of the only input, when it is rows of numbers."""
    if (only := _single(inputs)) is None or len(only[2]) != 1 or only[2][0] < 1:
        return None
    return only[0], inputs[0].datatype, only[2][0]


def _fits(tensor: Tensor, array: Array, sizes: dict[str, int]) -> None:
    """Refuse an array that is not the tensor; dimensions of one name must agree over all inputs."""
    if array.dtype != DTYPES[tensor.datatype]:
        found = next((name for name, dtype in DTYPES.items() if dtype == array.dtype), str(array.dtype))
        raise Problem(f"input {tensor.name!r} is {found}, the model takes {tensor.datatype}")
    wanted = [
        sizes.setdefault(s, n) if s else d for d, s, n in zip(tensor.shape, tensor.symbols, array.shape, strict=False)
    ]
    if array.ndim != len(tensor.shape) or any(d not in (-1, n) for d, n in zip(wanted, array.shape, strict=True)):
        raise Problem(f"input {tensor.name!r} has shape {list(array.shape)}, the model takes {list(tensor.shape)}")


def _plan(tensors: Sequence[Tensor], shapes: Sequence[Sequence[int]], inputs: Sequence[Tensor]) -> _Plan:
    """Return which tensors have numbers that belong to a row, and how many each."""
    batch = inputs[0].shape[:1] if inputs else ()
    return [
        (i, width)
        for i, (tensor, shape) in enumerate(zip(tensors, shapes, strict=True))
        if tensor.datatype != "BYTES" and tensor.shape[:1] in ((), batch) and (width := _width(shape)) > 0
    ]


def _width(shape: Sequence[int]) -> int:
    """Return how many numbers a row has, or 0 when that is not known."""
    return 0 if not shape or any(d < 1 for d in shape[1:]) else math.prod(shape[1:])


def _columns(tensors: Sequence[Tensor], plan: _Plan, named: str) -> tuple[str, ...]:
    names = [
        tensors[i].name if width == 1 else f"{tensors[i].name}_{column}" for i, width in plan for column in range(width)
    ]
    if len(names) > MAX_LOGGED_COLUMNS:
        return ()
    try:
        given = json.loads(named)
    except ValueError:
        return tuple(names)
    fits = isinstance(given, list) and len(given) == len(names) == len(set(map(str, given)))
    return tuple(map(str, given)) if fits else tuple(names)


def _pack(arrays: Sequence[Array], plan: _Plan, rows: int, width: int) -> Packed:
    if len(plan) == 1 and (only := arrays[plan[0][0]]).dtype == np.float32:
        return np.ascontiguousarray(only).data.cast("B") if only.size == rows * width else b""
    table = np.empty((rows, width), np.float32)
    at = 0
    try:
        for i, columns in plan:
            table[:, at : at + columns] = arrays[i].reshape(rows, columns)
            at += columns
    except ValueError:
        # An output whose width changes from request to request: this one has no place in the columns.
        return b""
    return table.data.cast("B")
