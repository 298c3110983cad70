"""A gRPC request in the words of REST, with binary tensors, and REST's answer as a message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from mlops_tui.serving.bodies import FEATURE_AGE, LENGTH
from mlops_tui.serving.problem import Answer, Problem
from mlops_tui.serving.tensors import DTYPES, elements, strings, to_binary
from mlops_tui.serving.transport.grpc_messages import messages

_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def words(request: Any) -> tuple[bytes, bytes]:
    """Return a request's JSON and binary tensors as REST has them.

    Raises:
        Problem: its tensors are not what they say.
    """
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise Problem(f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs")
    if raw and (both := next((one.name for one in request.inputs if one.HasField("contents")), None)) is not None:
        raise Problem(f"input {both!r} has both contents and raw_input_contents")
    raw = raw or [_packed(given) for given in request.inputs]
    inputs = [
        {
            "name": given.name,
            "datatype": given.datatype,
            "shape": list(given.shape),
            "parameters": {"binary_data_size": len(blob)},
        }
        for given, blob in zip(request.inputs, raw, strict=True)
    ]
    said: dict[str, Any] = {"inputs": inputs, "parameters": {**said_by(request), "binary_data_output": True}}
    if request.id:
        said["id"] = request.id
    if request.outputs:
        said["outputs"] = [_output(output) for output in request.outputs]
    return orjson.dumps(said), b"".join(raw)


def said_by(request: Any) -> dict[str, Any]:
    """Return the request's own parameters."""
    chosen = {name: (one, one.WhichOneof("choice")) for name, one in request.parameters.items()}
    return {name: getattr(one, kind) for name, (one, kind) in chosen.items() if kind}


def _output(output: Any) -> dict[str, Any]:
    """Return a wanted output as REST has it: what it asks for that we do not have is refused there."""
    asked = {"classification": True} if "classification" in output.parameters else {}
    return {"name": output.name, "parameters": asked} if asked else {"name": output.name}


def _packed(given: Any) -> bytes:
    """Return the typed contents of an input as raw ones."""
    field = _CONTENTS.get(given.datatype)
    if field is None:
        known = "raw_input_contents must carry it" if given.datatype in DTYPES else "there is no such datatype"
        raise Problem(f"input {given.name!r}: {given.datatype!r}: {known}")
    values = getattr(given.contents, field)
    if sum(len(value) for _, value in given.contents.ListFields()) > len(values):
        raise Problem(f"input {given.name!r}: {given.datatype} belongs into {field}")
    if len(values) != elements(given.name, given.shape):
        raise Problem(f"input {given.name!r}: {len(values)} values for shape {list(given.shape)}")
    if field == "bytes_contents":
        return strings(values)
    try:
        return to_binary(np.array(list(values), DTYPES[given.datatype]))
    except OverflowError as error:
        raise Problem(f"input {given.name!r}: not {given.datatype} ({error})") from error


def response(answer: Answer) -> Any:
    """Return the answer to a request that was put in those words, as a message with raw contents."""
    size = next((int(value) for name, value in answer.headers if name == LENGTH), len(answer.body))
    said, at = orjson.loads(answer.body[:size]), size
    outputs: list[dict[str, Any]] = said["outputs"]
    raw = []
    for output in outputs:
        length = output.pop("parameters")["binary_data_size"]
        raw.append(answer.body[at : at + length])
        at += length
    return messages()["ModelInferResponse"](
        model_name=said["model_name"],
        model_version=said["model_version"],
        id=said["id"],
        parameters=dict(_parameters((*said["parameters"].items(), *_age(answer)))),
        outputs=outputs,
        raw_output_contents=raw,
    )


def _age(answer: Answer) -> list[tuple[str, str]]:
    """Return how old looked up features are, if that was asked: metadata of a call are not seen by most clients."""
    return [("feature_age_s", value.decode()) for name, value in answer.marks if name == FEATURE_AGE]


def _parameters(said: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    for name, value in said:
        if isinstance(value, bool):
            yield name, messages()["InferParameter"](bool_param=value)
        else:
            yield name, messages()["InferParameter"](string_param=str(value))
