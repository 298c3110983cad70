"""The operations table as OpenAPI 3.1, for ``/spec`` and ``mlops spec``."""

from __future__ import annotations

from typing import Any

import msgspec

import mlops_tui.contracts  # noqa: F401  (fills the table)
from mlops_tui import __version__
from mlops_tui.contracts.operation import OPERATIONS, Kind, Started


def spec() -> dict[str, Any]:
    """Return the OpenAPI document of every operation, with its permission, effect and kind."""
    types: list[Any] = []
    for operation in OPERATIONS.values():
        types += [operation.request, Started if operation.kind is Kind.JOB else operation.answer]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths = {}
    for index, operation in enumerate(OPERATIONS.values()):
        paths[f"/op/{operation.name}"] = {
            "post": {
                "operationId": operation.name,
                "summary": operation.help,
                "x-permission": operation.permission,
                "x-effect": operation.effect.value,
                "x-kind": operation.kind.value,
                "x-cli": operation.example,
                "requestBody": {"content": {"application/json": {"schema": schemas[2 * index]}}},
                "responses": {
                    "200": {
                        "description": "answer",
                        "content": {"application/json": {"schema": schemas[2 * index + 1]}},
                    }
                },
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "mlops_tui agent", "version": __version__},
        "paths": paths,
        "components": {"schemas": components},
    }
