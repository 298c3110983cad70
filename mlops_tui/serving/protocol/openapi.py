"""The server's OpenAPI document: its paths, and what each model that is served now takes and gives.

Compression and the binary tensor extension are told in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mlops_tui import __version__
from mlops_tui.serving.bodies import FEATURE_AGE
from mlops_tui.serving.models.model import Model
from mlops_tui.serving.protocol.schemas import SHARED, TEXT, Schema, answer, inference, object_of, table
from mlops_tui.serving.traffic.routing import Router

_TEXT = """Open Inference Protocol v2 and MLflow's scoring protocol.

Requests of one to three rows are described; more are taken likewise, up to the limit of the body's size. Bodies may be
compressed (Content-Encoding gzip or deflate), and so may answers (Accept-Encoding). The binary tensor data extension
is served both ways: application/octet-stream with Inference-Header-Content-Length. A request's id comes back, also
from the header X-Request-Id.

Where clients stick to a version by a field, it is looked for in `parameters` (`params` of /invocations), the input or
column of that name, and the model's features; of several rows the first one decides for the request."""


def document(name: str, routers: Mapping[str, Router], shelf: Sequence[str], token: bool) -> Schema:
    """Return the document.

    Args:
        name: of the model that answers ``/invocations``.
        routers: who answers, by what clients call each model.
        shelf: names of models that clients may have loaded and unloaded.
        token: whether requests need one.
    """
    paths: dict[str, Schema] = {
        "/v2": {"get": _get("Server", _ref("Server"))},
        "/v2/health/live": {"get": _get("Live", _flag("live"), open_=True)},
        "/v2/health/ready": {"get": _get("Ready", _flag("ready"), open_=True)},
        "/health": {"get": _get("Ready", _flag("ready"), open_=True)},
        "/ping": {"get": _get("Ready, as MLflow asks", _flag("ready"), open_=True)},
        "/version": {"get": _get("Version of the program", object_of({"version": TEXT}))},
        "/metrics": {"get": _get("Metrics for Prometheus", {"type": "string"}, "text/plain")},
        "/openapi.json": {"get": _get("This document", {"type": "object"})},
        "/v2/repository/index": {"post": _post("Models that are loaded, or could be", _INDEX, _ref("Index"), False)},
        **_changes(shelf),
    }
    if name in routers:
        own = routers[name].lead.model
        asked = _post("Inference from a table, as MLflow asks", table(own), _ref("Predictions"))
        paths["/invocations"] = {"post": _asks_age(own, asked)}
    answers: dict[str, Schema] = {}
    for called, router in routers.items():
        for path, item in _of_model(called, router, answers):
            paths[path] = item
    found: Schema = {
        "openapi": "3.1.0",
        "info": {"title": name, "version": __version__, "description": _TEXT},
        "paths": paths,
        "components": {"schemas": {**SHARED, **answers}},
    }
    if token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


def _of_model(name: str, router: Router, answers: dict[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """Yield the paths of a model; revisions that take and give the same share theirs, others have their own."""
    lead, base = router.lead.model, f"/v2/models/{name}"
    alike = [arm for arm in router.arms if _tensors(arm.model) == _tensors(lead)]
    called = [each for arm in alike for each in arm.names()]
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string", "enum": called}}
    yield from _at(base, lead, name, {}, answers)
    yield from _at(f"{base}/versions/{{version}}", lead, name, {"parameters": [version]}, answers)
    for arm in router.arms:
        for each in () if arm in alike else arm.names():
            yield from _at(f"{base}/versions/{each}", arm.model, f"{name}.{each}", {}, answers)


def _at(
    base: str, model: Model, called: str, common: Schema, answers: dict[str, Schema]
) -> Iterator[tuple[str, Schema]]:
    answers[f"Answer.{called}"] = answer(model)
    infer = _post("Inference", inference(model), _ref(f"Answer.{called}"))
    yield base, {**common, "get": _get("Model", _ref("Model"))}
    yield f"{base}/ready", {**common, "get": _get("Model is ready", _flag("ready"))}
    yield f"{base}/infer", {**common, "post": _asks_age(model, infer)}


def _tensors(model: Model) -> list[object]:
    key = model.lookup.key if model.lookup is not None else None
    return [key, *(tensor.metadata() for tensor in (*model.inputs, *model.output_tensors))]


def _asks_age(model: Model, post: Schema) -> Schema:
    """Add to an operation how the age of looked up features is asked for, where some are looked up."""
    if model.lookup is None:
        return post
    named = FEATURE_AGE.decode().title()
    words = "true: the answer says in the same header how many seconds old the oldest looked up row is"
    asked = {"name": named, "in": "header", "description": words, "schema": {"enum": ["true", "false"]}}
    told = {named: {"description": "seconds", "schema": {"type": "integer", "minimum": 0}}}
    good = {**post["responses"]["200"], "headers": told}
    return {**post, "parameters": [asked], "responses": {**post["responses"], "200": good}}


# The repository.

_INDEX: Schema = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
_CHANGE: Schema = {
    "type": "object",
    "properties": {
        "parameters": {"type": "object", "properties": {"version": TEXT}},
    },
}


def _changes(shelf: Sequence[str]) -> dict[str, Schema]:
    """Return the paths by which models are loaded and unloaded, where there are any to load."""
    if not shelf:
        return {}
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "enum": list(shelf)}}
    version = {"name": "version", "in": "path", "required": True, "schema": TEXT}
    base, done = "/v2/repository/models/{model}", {"type": "object"}
    return {
        path: {"parameters": given, "post": _post(f"{verb.title()} {what}", _CHANGE, done, False)}
        for verb in ("load", "unload")
        for path, given, what in (
            (f"{base}/{verb}", [name], "a model"),
            (f"{base}/versions/{{version}}/{verb}", [name, version], "one version of a model"),
        )
    }


# What all have.


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _flag(name: str) -> Schema:
    return object_of({name: {"type": "boolean"}})


def _responses(schema: Schema, kind: str) -> Schema:
    error = {"application/json": {"schema": _ref("Error")}}
    unready = {"application/json": {"schema": {"anyOf": [_ref("Error"), schema]}}}
    return {
        "200": {"description": "the answer", "content": {kind: {"schema": schema}}},
        "4XX": {"description": "a mistake of the client", "content": error},
        "5XX": {"description": "the model failed, or is not ready", "content": unready},
    }


def _get(summary: str, schema: Schema, kind: str = "application/json", open_: bool = False) -> Schema:
    found: Schema = {"summary": summary, "responses": _responses(schema, kind)}
    return {**found, "security": []} if open_ else found


def _post(summary: str, request: Schema, schema: Schema, required: bool = True) -> Schema:
    body = {"required": required, "content": {"application/json": {"schema": request}}}
    return {"summary": summary, "requestBody": body, "responses": _responses(schema, "application/json")}
