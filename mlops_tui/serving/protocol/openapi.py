"""The server's OpenAPI document: its paths, and what the model that is served now takes and gives.

A schema cannot say that a tensor has as many values as its shape multiplied. So requests of one to three rows are
described, each exactly; more rows are taken likewise. Compression and the binary tensor extension are told in words.
"""

from __future__ import annotations

import sys
from math import prod
from typing import Any

import numpy as np

from mlops_tui import __version__
from mlops_tui.serving.bodies import MAX_ID
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.tensors import DTYPES, Tensor

_ROWS = (1, 2, 3)
_MOST_VALUES = 4096
_Schema = dict[str, Any]
_LIMITS: dict[int, _Schema] = {
    # From half a step above the largest number on, rounding gives infinity.
    2: {"exclusiveMinimum": -65520.0, "exclusiveMaximum": 65520.0},
    4: {"exclusiveMinimum": -(2 - 2**-24) * 2.0**127, "exclusiveMaximum": (2 - 2**-24) * 2.0**127},
    8: {"minimum": -sys.float_info.max, "maximum": sys.float_info.max},
}
_TEXT = """Open Inference Protocol v2 and MLflow's scoring protocol.

Requests of one to three rows are described; more are taken likewise, up to the limit of the body's size. Bodies may be
compressed (Content-Encoding gzip or deflate), and so may answers (Accept-Encoding). The binary tensor data extension
is served both ways: application/octet-stream with Inference-Header-Content-Length."""


def document(name: str, model: Model, versions: list[str], token: bool) -> _Schema:
    """Return the document.

    Args:
        name: what clients call the model.
        model: whose tensors are described.
        versions: labels of the revisions that can be asked by name.
        token: whether requests need one.
    """
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string", "enum": versions}}
    one = f"/v2/models/{name}"
    by_version = f"{one}/versions/{{version}}"
    infer, table = _infer(model), _table(model)
    answer = _ref("InferenceAnswer")
    paths: dict[str, _Schema] = {
        "/v2": {"get": _get("Server", _ref("Server"))},
        "/v2/health/live": {"get": _get("Live", _flag("live"), open_=True)},
        "/v2/health/ready": {"get": _get("Ready", _flag("ready"), open_=True)},
        "/ping": {"get": _get("Ready, as MLflow asks", _flag("ready"), open_=True)},
        "/metrics": {"get": _get("Metrics for Prometheus", {"type": "string"}, "text/plain")},
        one: {"get": _get("Model", _ref("Model"))},
        f"{one}/ready": {"get": _get("Model is ready", _flag("ready"))},
        f"{one}/infer": {"post": _post("Inference", infer, answer)},
        by_version: {"parameters": [version], "get": _get("A revision", _ref("Model"))},
        f"{by_version}/ready": {"parameters": [version], "get": _get("A revision is ready", _flag("ready"))},
        f"{by_version}/infer": {"parameters": [version], "post": _post("Inference by a revision", infer, answer)},
        "/invocations": {"post": _post("Inference from a table, as MLflow asks", table, _ref("Predictions"))},
    }
    found: _Schema = {
        "openapi": "3.1.0",
        "info": {"title": name, "version": __version__, "description": _TEXT},
        "paths": paths,
        "components": {"schemas": _answers(model)},
    }
    if token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _flag(name: str) -> _Schema:
    return {"type": "object", "required": [name], "properties": {name: {"type": "boolean"}}}


def _responses(schema: _Schema, kind: str) -> _Schema:
    error = {"application/json": {"schema": _ref("Error")}}
    unready = {"application/json": {"schema": {"anyOf": [_ref("Error"), schema]}}}
    return {
        "200": {"description": "the answer", "content": {kind: {"schema": schema}}},
        "4XX": {"description": "a mistake of the client", "content": error},
        "5XX": {"description": "the model failed, or is not ready", "content": unready},
    }


def _get(summary: str, schema: _Schema, kind: str = "application/json", open_: bool = False) -> _Schema:
    found: _Schema = {"summary": summary, "responses": _responses(schema, kind)}
    return {**found, "security": []} if open_ else found


def _post(summary: str, request: _Schema, schema: _Schema) -> _Schema:
    body = {"required": True, "content": {"application/json": {"schema": request}}}
    return {"summary": summary, "requestBody": body, "responses": _responses(schema, "application/json")}


# Requests.


def _infer(model: Model) -> _Schema:
    outputs = [
        {"type": "object", "required": ["name"], "properties": {"name": {"const": name}}} for name in model.output_names
    ]
    asked = {"type": ["array", "null"], "maxItems": 1, "items": {"anyOf": outputs}}
    common = {"id": {"type": ["string", "null"], "maxLength": MAX_ID}, "outputs": asked}
    return {
        "anyOf": [
            {"type": "object", "required": ["inputs"], "properties": {**common, "inputs": inputs}}
            for rows in _ROWS
            if (inputs := _inputs(model, rows)) is not None
        ]
    }


def _inputs(model: Model, rows: int) -> _Schema | None:
    tensors = []
    for tensor in model.inputs:
        shape = _shape(tensor, rows)
        if prod(shape) > _MOST_VALUES and rows > 1:
            return None
        properties = {
            "name": {"const": tensor.name},
            "datatype": {"const": tensor.datatype},
            "shape": {"const": list(shape)},
            "data": _array(_value(tensor), prod(shape)),
        }
        tensors.append({"type": "object", "required": list(properties), "properties": properties})
    return {"type": "array", "minItems": len(tensors), "maxItems": len(tensors), "prefixItems": tensors}


def _shape(tensor: Tensor, rows: int) -> tuple[int, ...]:
    free = [d if d >= 0 else 1 for d in tensor.shape]
    return (rows, *free[1:]) if tensor.shape[:1] == (-1,) else tuple(free)


def _array(items: _Schema, size: int) -> _Schema:
    return {"type": "array", "minItems": size, "maxItems": size, "items": items}


def _nested(tensor: Tensor, rows: int) -> _Schema:
    schema = _value(tensor)
    more = {"number": ["boolean", "null"], "integer": ["boolean"]}.get(schema["type"], [])
    schema["type"] = [schema["type"], *more]
    for size in reversed(_shape(tensor, rows)):
        schema = _array(schema, size)
    return schema


def _value(tensor: Tensor) -> _Schema:
    dtype = DTYPES[tensor.datatype]
    if dtype.kind == "b":
        return {"type": "boolean"}
    if dtype.kind == "O":
        return {"type": "string"}
    if dtype.kind == "f":
        return {"type": "number", **_LIMITS[dtype.itemsize]}
    limits = np.iinfo(dtype)
    return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}


def _table(model: Model) -> _Schema:
    """Tensors by name: of MLflow's four shapes the one that every model takes."""
    if len(model.inputs) == 1 and model.inputs[0].shape[:1] == (-1,):
        (only,) = model.inputs
        nested = _nested(only, 1)
        return _named({only.name: {"type": "array", "minItems": 1, "items": nested["items"]}})
    return {"anyOf": [_named({t.name: _nested(t, rows) for t in model.inputs}) for rows in _ROWS]}


def _named(tensors: _Schema) -> _Schema:
    given = {"type": "object", "required": list(tensors), "properties": tensors, "additionalProperties": False}
    return {"type": "object", "required": ["inputs"], "properties": {"inputs": given}}


# Answers.


def _answers(model: Model) -> dict[str, _Schema]:
    text: _Schema = {"type": "string"}
    numbers: _Schema = {"type": "array", "items": {"type": "integer"}}
    tensor = {"name": text, "datatype": {"enum": list(DTYPES)}, "shape": numbers}
    output = {**tensor, "name": {"enum": model.output_names}, "data": {"type": "array"}}
    return {
        "Error": _object({"error": text}),
        "Server": _object({"name": text, "version": text, "extensions": {"type": "array", "items": text}}),
        "Model": _object(
            {
                "name": text,
                "versions": {"type": "array", "items": text},
                "platform": text,
                "inputs": {"type": "array", "items": _object(tensor)},
                "outputs": {"type": "array", "items": _object(tensor)},
            }
        ),
        "InferenceAnswer": _object(
            {
                "model_name": text,
                "model_version": text,
                "id": text,
                "outputs": {"type": "array", "minItems": 1, "items": _object(output)},
            }
        ),
        "Predictions": _object({"predictions": {"type": ["array", "object"]}}),
    }


def _object(properties: _Schema) -> _Schema:
    return {"type": "object", "required": list(properties), "properties": properties}
