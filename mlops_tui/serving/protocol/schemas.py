"""What a model takes and gives, as JSON schemas of the server's OpenAPI document.

A schema cannot say that a tensor has as many values as its shape multiplied. So requests of one to three rows are
described, each exactly; more rows are taken likewise.
"""

from __future__ import annotations

import sys
from math import prod
from typing import Any

import numpy as np

from mlops_tui.serving.bodies import MAX_ID
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.tensors import DTYPES, Tensor

_ROWS = (1, 2, 3)
_MOST_VALUES = 4096
Schema = dict[str, Any]
_LIMITS: dict[int, Schema] = {
    # From half a step above the largest number on, rounding gives infinity.
    2: {"exclusiveMinimum": -65520.0, "exclusiveMaximum": 65520.0},
    4: {"exclusiveMinimum": -(2 - 2**-24) * 2.0**127, "exclusiveMaximum": (2 - 2**-24) * 2.0**127},
    8: {"minimum": -sys.float_info.max, "maximum": sys.float_info.max},
}
_DATE = r"^(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])(T([01]\d|2[0-3]):[0-5]\d:[0-5]\d)?$"
"""What every reader of dates takes; some more is taken."""
TEXT: Schema = {"type": "string"}
_PARAMETERS: Schema = {
    "type": ["object", "null"],
    "properties": {"binary_data_output": {"enum": [False, None]}},
    "description": "what toggles look at and clients may stick to a version by, e.g. customer_id",
}
_KEY: Schema = {"type": ["string", "integer"]}
_KEYS: dict[str, Schema] = {"BYTES": TEXT, "INT64": {"type": "integer", "minimum": 0, "maximum": 2**31}}
_TENSOR: Schema = {
    "name": TEXT,
    "datatype": {"enum": list(DTYPES)},
    "shape": {"type": "array", "items": {"type": "integer"}},
}


def inference(model: Model) -> Schema:
    """Return what an inference request of the protocol holds: the model's tensors, or the key of looked up features."""
    outputs = [
        {"type": "object", "required": ["name"], "properties": {"name": {"const": name}}} for name in model.output_names
    ]
    asked = {"type": ["array", "null"], "maxItems": 1, "items": {"anyOf": outputs}}
    common = {
        "id": {"type": ["string", "null"], "maxLength": MAX_ID},
        "outputs": asked,
        "parameters": _settings(model, _PARAMETERS),
    }
    given = [inputs for rows in _ROWS if (inputs := _inputs(model, rows)) is not None]
    if model.lookup is not None:
        given += [_tensors([_tensor(model.lookup.key, kind, (1,), value)]) for kind, value in _KEYS.items()]
    return {
        "anyOf": [
            {"type": "object", "required": ["inputs"], "properties": {**common, "inputs": inputs}} for inputs in given
        ]
    }


def _settings(model: Model, known: Schema) -> Schema:
    """Return an object of what a request may set: the params of the model beside what is known anyway."""
    values = {
        name: _array(_value(one), None) if one.shape == (-1,) else _value(one) for name, one in model.params.items()
    }
    own = {name: {"anyOf": [value, {"type": "null"}]} for name, value in values.items()}
    return {**known, "properties": {**known.get("properties", {}), **own}}


def _inputs(model: Model, rows: int) -> Schema | None:
    tensors = []
    # Their order means nothing: what may be left out stands last, where an array may end.
    for tensor in sorted(model.inputs, key=lambda one: one.name in model.optional):
        shape = _shape(tensor, rows)
        if prod(shape) > _MOST_VALUES and rows > 1:
            return None
        tensors.append(_tensor(tensor.name, tensor.datatype, shape, _value(tensor)))
    return _tensors(tensors, len(model.optional))


def _tensors(given: list[Schema], optional: int = 0) -> Schema:
    return {"type": "array", "minItems": len(given) - optional, "maxItems": len(given), "prefixItems": given}


def _tensor(name: str, datatype: str, shape: tuple[int, ...], value: Schema) -> Schema:
    properties = {
        "name": {"const": name},
        "datatype": {"const": datatype},
        "shape": {"const": list(shape)},
        "data": _array(value, prod(shape)),
    }
    return {"type": "object", "required": list(properties), "properties": properties}


def _shape(tensor: Tensor, rows: int) -> tuple[int, ...]:
    free = [d if d >= 0 else 1 for d in tensor.shape]
    return (rows, *free[1:]) if tensor.shape[:1] == (-1,) else tuple(free)


def _array(items: Schema, size: int | None) -> Schema:
    sizes = {} if size is None else {"minItems": size, "maxItems": size}
    return {"type": "array", **sizes, "items": items}


def _nested(tensor: Tensor, rows: int) -> Schema:
    schema = _value(tensor)
    more = {"number": ["boolean", "null"], "integer": ["boolean"]}.get(schema["type"], ["null"] * tensor.nullable)
    schema["type"] = [schema["type"], *more]
    alone = schema
    for size in reversed(_shape(tensor, rows)):
        schema = _array(schema, size)
    return {"anyOf": [schema, alone]} if tensor.shape == (-1,) and rows == 1 else schema


def _value(tensor: Tensor) -> Schema:
    dtype = DTYPES[tensor.datatype]
    if dtype.kind == "b":
        return {"type": "boolean"}
    if dtype.kind == "O":
        return {"type": "string", **({"pattern": _DATE} if tensor.date else {})}
    if dtype.kind == "f":
        return {"type": "number", **_LIMITS[dtype.itemsize]}
    limits = np.iinfo(dtype)
    return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}


def table(model: Model) -> Schema:
    """Return what a table holds: tensors by name, the one of MLflow's four shapes that every model takes; or keys."""
    if model.lookup is None:
        return _by_name(model)
    row = {"type": "object", "required": [model.lookup.key], "properties": {model.lookup.key: _KEY}}
    keys = {"type": "array", "minItems": 1, "items": {**row, "additionalProperties": False}}
    return {"anyOf": [_by_name(model), {**object_of({"dataframe_records": keys}), "additionalProperties": False}]}


def _by_name(model: Model) -> Schema:
    if len(model.inputs) == 1 and model.inputs[0].shape[:1] == (-1,):
        (only,) = model.inputs
        nested = _nested(only, 1)
        several = {"type": "array", "minItems": 1, "items": nested.get("anyOf", [nested])[0]["items"]}
        return _named(model, {only.name: {"anyOf": [several, *nested.get("anyOf", ())[1:]]}})
    return {"anyOf": [_named(model, {t.name: _nested(t, rows) for t in model.inputs}) for rows in _ROWS]}


def _named(model: Model, tensors: Schema) -> Schema:
    needed = [name for name in tensors if name not in model.optional]
    given = {"type": "object", "required": needed, "properties": tensors, "additionalProperties": False}
    params = _settings(model, {"type": ["object", "null"]})
    return {"type": "object", "required": ["inputs"], "properties": {"inputs": given, "params": params}}


def answer(model: Model) -> Schema:
    """Return what an inference gives."""
    output = {**_TENSOR, "name": {"enum": model.output_names}, "data": {"type": "array"}}
    outputs = {"type": "array", "minItems": 1, "items": object_of(output)}
    return object_of({"model_name": TEXT, "model_version": TEXT, "id": TEXT, "outputs": outputs})


def object_of(properties: Schema) -> Schema:
    """Return an object that has all of these properties."""
    return {"type": "object", "required": list(properties), "properties": properties}


SHARED: dict[str, Schema] = {
    "Error": object_of({"error": TEXT}),
    "Server": object_of({"name": TEXT, "version": TEXT, "extensions": {"type": "array", "items": TEXT}}),
    "Model": object_of(
        {
            "name": TEXT,
            "versions": {"type": "array", "items": TEXT},
            "platform": TEXT,
            "inputs": {"type": "array", "items": object_of(_TENSOR)},
            "outputs": {"type": "array", "items": object_of(_TENSOR)},
        }
    ),
    "Predictions": object_of({"predictions": {"type": ["array", "object"]}}),
    "Index": {
        "type": "array",
        "items": object_of(
            {"name": TEXT, "version": TEXT, "state": {"enum": ["READY", "UNAVAILABLE"]}, "reason": TEXT}
        ),
    },
}
"""What every server gives, whatever it serves."""
