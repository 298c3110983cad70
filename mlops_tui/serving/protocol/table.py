"""MLflow's ``/invocations``: four JSON shapes of a table, read into the tensors that a model takes.

``dataframe_split`` and ``dataframe_records`` carry columns, taken by name where the model names its features and by
position otherwise; ``inputs`` and ``instances`` carry tensors, alone or by input name.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import orjson

from mlops_tui.serving.bodies import CSV, JSON_BODY, Envelope, checked_id, decoded
from mlops_tui.serving.models.model import Feed, Model
from mlops_tui.serving.problem import Answer, Headers, Problem, safe
from mlops_tui.serving.protocol.cells import Word, convert, read_alike, settings
from mlops_tui.serving.tensors import DTYPES, Array, Tensor
from mlops_tui.serving.traffic.results import Results
from mlops_tui.serving.traffic.routing import Arm

_SHAPES = ("dataframe_split", "dataframe_records", "inputs", "instances")
_NOTHING = msgspec.Raw(b"")


class _Split(msgspec.Struct):
    data: msgspec.Raw
    columns: list[str | int] | None = None


class _Body(msgspec.Struct):
    dataframe_split: _Split | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    inputs: msgspec.Raw = _NOTHING
    instances: msgspec.Raw = _NOTHING
    params: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Body)
_any = msgspec.json.Decoder(Any)
_matrix = msgspec.json.Decoder(list[list[float | None]])
_rows = msgspec.json.Decoder(list[list[Any]])


class Invocation:
    """A request to ``/invocations``; what its values mean depends on the model that they are for."""

    __slots__ = ("_body", "id")
    together = rows = None

    def __init__(self, envelope: Envelope, body: bytes) -> None:
        """Read a body that is already decompressed.

        Raises:
            Problem: 415 for what is neither JSON nor CSV, 400 for what is neither a table nor one of the four shapes.
        """
        if envelope.kind == CSV:
            self._body = _from_csv(body)
        elif envelope.kind in (JSON_BODY, ""):
            self._body = decoded(_decoder, body)
        else:
            raise Problem(
                f"content-type {envelope.kind[:100]!r} is not supported; send application/json or text/csv", 415
            )
        self.id = checked_id(envelope.id)
        given = [shape for shape in _SHAPES if getattr(self._body, shape) not in (None, _NOTHING)]
        if len(given) != 1:
            raise Problem(f"exactly one of {', '.join(_SHAPES)} is needed, found {', '.join(given) or 'none'}")

    def feed(self, model: Model) -> Feed:
        """Return the tensors for a model; :meth:`Model.check` compares them with what it takes.

        Raises:
            Problem: a column is missing, a row is longer than another, or a value is of the wrong kind.
        """
        rows, params = self._rows(model), self._body.params
        return {**rows, **settings(model, params)} if params and model.params else rows

    def _rows(self, model: Model) -> Feed:
        body = self._body
        if body.dataframe_split is not None:
            return _split(body.dataframe_split, model)
        if body.dataframe_records is not None:
            return _records(body.dataframe_records, model)
        return _tensors(bytes(body.inputs) or bytes(body.instances), model)

    def first(self, name: str, model: Model) -> Any:
        """Return the value of a column, or of a named input, in the first row; None when there is none."""
        body = self._body
        if body.dataframe_records is not None:
            return body.dataframe_records[0].get(name) if body.dataframe_records else None
        split = body.dataframe_split
        if split is None:
            return _first_of(bytes(body.inputs) or bytes(body.instances), name)
        columns = [str(one) for one in split.columns] if split.columns is not None else list(model.features)
        rows = _quietly(bytes(split.data))
        row = rows[0] if isinstance(rows, list) and rows else None
        at = columns.index(name) if name in columns else -1
        return row[at] if isinstance(row, list) and 0 <= at < len(row) else None

    def answer(self, arm: Arm, results: Results, ident: str, fallback: bool) -> Answer:
        """Return ``{"predictions": …}``: the values of the only output, of each by its name, or the rows of a table."""
        names = arm.model.output_names
        values = [r.tolist() if r.dtype.kind == "O" else np.ascontiguousarray(r) for r in results]
        said: Any = values[0] if len(values) == 1 else dict(zip(names, values, strict=True))
        if arm.model.gives_table:
            rows = zip(*(list(value) for value in values), strict=True)
            said = [dict(zip(names, row, strict=True)) for row in rows]
        marks: Headers = ((b"x-request-id", safe(ident)),)
        if fallback:
            marks = (*marks, (b"x-mlops-fallback", b"true"))
        text = orjson.dumps({"predictions": said}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Answer(200, arm.headers, text, marks)


def _first_of(raw: bytes, name: str) -> Any:
    """Return the first value of a named input, given by columns or by rows."""
    given = _quietly(raw)
    if isinstance(given, list) and given:
        given = given[0]
    value = given.get(name) if isinstance(given, dict) else None
    while isinstance(value, list):
        value = value[0] if value else None
    return value


def _quietly(raw: bytes) -> Any:
    """Decode JSON; None when it is none, which whoever reads the tensors will say."""
    try:
        return _any.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _from_csv(body: bytes) -> _Body:
    """Return a table with a line of names and lines of values; what a value means depends on its column."""
    try:
        names, *lines = csv.reader(io.StringIO(body.decode()), strict=True)
    except (ValueError, csv.Error) as error:
        raise Problem(f"the body is not CSV with a line of names: {error}") from error
    if len(set(names)) < len(names):
        raise Problem("two columns have the same name")
    rows = [[Word(text) if text.strip() else None for text in line] for line in lines if line]
    if any(len(row) != len(names) for row in rows):
        raise Problem(f"every row must have {len(names)} values")
    return _Body(dataframe_records=[dict(zip(names, row, strict=True)) for row in rows])


def _split(split: _Split, model: Model) -> Feed:
    columns = [str(name) for name in split.columns] if split.columns is not None else None
    if columns is not None and len(set(columns)) < len(columns):
        raise Problem("two columns have the same name")
    if len(model.inputs) == 1 and (
        columns is None or tuple(columns) == model.features or not _by_names(columns, model)
    ):
        array = _array("data", split.data, model.inputs[0])
        if columns is not None and array.size and array.ndim > 1 and array.shape[1] != len(columns):
            raise Problem(f"every row must have {len(columns)} values")
        return {model.inputs[0].name: _table(array, model.inputs[0])}
    if columns is None:
        raise Problem("the model takes several inputs: 'columns' must name them")
    rows = decoded(_rows, split.data)
    if any(len(row) != len(columns) for row in rows):
        raise Problem(f"every row must have {len(columns)} values")
    return _by_name(columns, dict(zip(columns, zip(*rows, strict=True), strict=True)) if rows else {}, model)


def _records(records: list[dict[str, Any]], model: Model) -> Feed:
    columns = list(records[0]) if records else []
    if any(record.keys() != records[0].keys() for record in records):
        raise Problem("every record must have the same columns")
    values = {name: tuple(record[name] for record in records) for name in columns}
    if len(model.inputs) == 1 and not _by_names(columns, model):
        rows = [list(record.values()) for record in records]
        return {model.inputs[0].name: _table(convert("data", rows, model.inputs[0]), model.inputs[0])}
    return _by_name(columns, values, model)


def _by_names(columns: Sequence[str], model: Model) -> bool:
    """Tell whether columns go by their names: the model knows them, or they are those that we gave its columns."""
    return model.named or set(columns) == set(model.features)


def _by_name(columns: list[str], values: Mapping[str, Sequence[Any]], model: Model) -> Feed:
    wanted = model.features if len(model.inputs) == 1 else [tensor.name for tensor in model.inputs]
    if model.lookup is not None and model.lookup.key in columns and values:
        return model.lookup.completed({name: _given(name, list(values[name])) for name in columns})
    if missing := [name for name in wanted if name not in columns and name not in model.optional]:
        raise Problem(f"columns are missing: {', '.join(missing[:10])}")
    if not values:
        raise Problem("the request has no rows")
    if len(model.inputs) > 1:
        return {t.name: _table(convert(t.name, list(values[t.name]), t), t) for t in model.inputs if t.name in values}
    only = model.inputs[0]
    return {only.name: _table(np.stack([convert(name, list(values[name]), only) for name in wanted], axis=1), only)}


def _given(name: str, values: list[Any]) -> Array:
    """Return a column that goes to the look-up: keys may be words, features are numbers."""
    if any(type(value) is Word for value in values):
        values = read_alike(values)
    if all(type(value) in (int, float, bool, type(None)) for value in values):
        return np.array([math.nan if value is None else value for value in values])
    if all(type(value) is str for value in values):
        return np.array(values, np.object_)
    raise Problem(f"{name!r}: numbers and words do not mix")


def _tensors(raw: bytes, model: Model) -> Feed:
    text = raw.lstrip()
    if len(model.inputs) == 1 and text[:1] == b"[" and text[1:].lstrip()[:1] != b"{":
        return {model.inputs[0].name: _array(model.inputs[0].name, raw, model.inputs[0])}
    given: Any = decoded(_any, raw)
    if isinstance(given, list):
        if not all(isinstance(row, dict) and row.keys() == given[0].keys() for row in given):
            raise Problem("rows are all arrays, or all objects with the same names")
        given = {name: [row[name] for row in given] for name in (given[0] if given else ())}
    if not isinstance(given, dict):
        raise Problem(f"the model takes {[t.name for t in model.inputs]}: give an array for each name")
    tensors = {t.name: t for t in model.inputs}
    if unknown := [name for name in given if name not in tensors]:
        raise Problem(f"unknown inputs {unknown[:10]}; the model takes {list(tensors)}")
    return {name: convert(name, _column(values, tensors[name]), tensors[name]) for name, values in given.items()}


def _column(values: Any, tensor: Tensor) -> Any:
    """Return the values of a column: of one row, a value may stand for itself."""
    return values if isinstance(values, list) or tensor.shape != (-1,) else [values]


def _table(array: Array, tensor: Tensor) -> Array:
    """Give rows of columns the shape that the tensor has, when the numbers of values allow it."""
    tail = tensor.shape[1:]
    if array.ndim == 2 and not tail and array.shape[1] == 1:
        return array[:, 0]
    if tail and -1 not in tail and array.size == len(array) * math.prod(tail):
        return array.reshape(len(array), *tail)
    return array.reshape(-1, 1) if array.ndim == 1 and len(tail) == 1 else array


def _array(name: str, raw: bytes | msgspec.Raw, tensor: Tensor) -> Array:
    if DTYPES[tensor.datatype].kind == "f":
        try:
            with np.errstate(over="raise"):
                return np.array(_matrix.decode(raw), DTYPES[tensor.datatype])
        except FloatingPointError:
            raise Problem(f"{name!r}: a value is too large for {tensor.datatype}") from None
        except (msgspec.DecodeError, ValueError, RecursionError):
            pass
    return convert(name, decoded(_any, bytes(raw)), tensor)
