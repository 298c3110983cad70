"""Open Inference Protocol v2: a request read into tensors, answers written as JSON or with binary tensors.

Specification: https://github.com/kserve/open-inference-protocol; binary tensor data extension of the Triton server.
"""

from __future__ import annotations

from math import prod
from typing import Annotated

import msgspec
import numpy as np
import orjson
from msgspec import Meta

from mlops_tui.serving.bodies import JSON_BODY, LENGTH, OCTETS, Envelope, checked_id, decoded
from mlops_tui.serving.models.model import Feed, Model
from mlops_tui.serving.problem import Answer, Problem
from mlops_tui.serving.tensors import DTYPES, Array, from_binary, from_json, to_binary, to_json
from mlops_tui.serving.traffic.results import Results, Shared
from mlops_tui.serving.traffic.routing import Arm


class _Parameters(msgspec.Struct):
    binary_data_size: int | None = None
    binary_data: bool | None = None
    binary_data_output: bool | None = None
    classification: msgspec.Raw | None = None


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: _Parameters | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


class _Output(msgspec.Struct):
    name: str
    parameters: _Parameters | None = None


class _Request(msgspec.Struct):
    inputs: list[_Input]
    outputs: list[_Output] | None = None
    id: str | None = None
    parameters: _Parameters | None = None


_LARGEST = float(np.finfo(np.float32).max)


class _SmallInput(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: str
    data: list[Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)]]


class _Small(msgspec.Struct, forbid_unknown_fields=True):
    """What most requests are: a few numbers, every output wanted as JSON."""

    inputs: tuple[_SmallInput]
    id: str | None = None


_decoder = msgspec.json.Decoder(_Request)
_small = msgspec.json.Decoder(_Small)
_SMALL = 2048
_FLOATS = {name: DTYPES[name] for name in ("FP32", "FP64")}


class Inference:
    """A request of the protocol: its tensors, its id, and which outputs it wants how."""

    __slots__ = ("_binary", "_tensors", "_wanted", "id")

    id: str | None
    _tensors: dict[str, Array]

    def __init__(self, envelope: Envelope, body: bytes) -> None:
        """Read a body that is already decompressed.

        Raises:
            Problem: 415 for a body that says it is something else, 400 for other mistakes of the client.
        """
        if envelope.kind not in (JSON_BODY, "") and (envelope.kind != OCTETS or envelope.length is None):
            raise Problem(
                f"content-type {envelope.kind[:100]!r} is not supported; send application/json, or "
                f"application/octet-stream with Inference-Header-Content-Length",
                415,
            )
        self._wanted: list[_Output] | None = None
        self._binary: dict[str, bool] | bool = False
        if len(body) > _SMALL or envelope.length is not None or not self._read_small(envelope, body):
            self._read(envelope, body)

    def _read_small(self, envelope: Envelope, body: bytes) -> bool:
        """Read a body of the most frequent kind in half the time; False, and nothing done, when it is another."""
        try:
            request = _small.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        (given,) = request.inputs
        dtype, shape = _FLOATS.get(given.datatype), given.shape
        if dtype is None or not shape or min(shape) < 0 or prod(shape) != len(given.data):
            return False
        self._tensors = {given.name: np.array(given.data, dtype).reshape(shape)}
        self.id = checked_id(envelope.id if request.id is None else request.id)
        return True

    def _read(self, envelope: Envelope, body: bytes) -> None:
        end = len(body) if envelope.length is None else envelope.length
        if end > len(body):
            raise Problem("Inference-Header-Content-Length is not a number of bytes within the body")
        request = decoded(_decoder, body if end == len(body) else body[:end])
        self.id = checked_id(envelope.id if request.id is None else request.id)
        self._tensors = {}
        for given in request.inputs:
            if given.name in self._tensors:
                raise Problem(f"input {given.name!r} comes twice")
            self._tensors[given.name], end = _tensor(given, body, end)
        if end != len(body):
            raise Problem(f"{len(body) - end} bytes are left over after the binary tensors")
        self._wanted = request.outputs
        every = request.parameters is not None and bool(request.parameters.binary_data_output)
        self._binary = every
        if request.outputs:
            self._binary = {output.name: _wants_binary(output, every) for output in request.outputs}
            if len(self._binary) < len(request.outputs):
                raise Problem("an output is asked for twice")

    def feed(self, model: Model) -> Feed:
        """Return the tensors for a model; :meth:`Model.check` compares them with what it takes.

        Raises:
            Problem: an output was asked for that the model does not have.
        """
        for output in self._wanted or ():
            model.position(output.name)
        lookup = model.lookup
        return self._tensors if lookup is None or lookup.key not in self._tensors else lookup.completed(self._tensors)

    def answer(self, arm: Arm, results: Results, ident: str, fallback: bool) -> Answer:
        """Return the answer, with every output of the model or those that were asked for."""
        head = arm.fallback_head if fallback else arm.head
        if not self._wanted and not self._binary:
            outputs = results.of_all(_every_output, arm.model)
            return Answer(200, arm.headers, b'%b,"id":%b,"outputs":[%b]}' % (head, orjson.dumps(ident), outputs))
        model = arm.model
        wanted = [model.position(o.name) for o in self._wanted] if self._wanted else range(len(model.output_names))
        parts: list[bytes] = []
        blobs: list[bytes] = []
        for at in wanted:
            begin = model.output_head(at, results.shape(at))
            if self._binary is True or (self._binary and self._binary[model.output_names[at]]):
                blobs.append(to_binary(results[at]))
                parts.append(b'%b,"parameters":{"binary_data_size":%d}}' % (begin, len(blobs[-1])))
            else:
                parts.append(b'%b,"data":%b}' % (begin, to_json(results[at])))
        text = b'%b,"id":%b,"outputs":[%b]}' % (head, orjson.dumps(ident), b",".join(parts))
        if not blobs:
            return Answer(200, arm.headers, text)
        size = (LENGTH, str(len(text)).encode())
        return Answer(200, (*arm.binary_headers, size), text + b"".join(blobs))


def _every_output(results: Shared, model: Model) -> list[bytes]:
    """Write every output as JSON for each request of a run."""
    outputs = range(len(model.output_names))
    if results.single:
        heads = [model.output_head(at, results.shapes(at)[0]).replace(b"%", b"%%") for at in outputs]
        whole = b",".join(b'%b,"data":[%%b]}' % head for head in heads)
        return [whole % row for row in zip(*map(results.lines, outputs), strict=True)]
    columns: list[list[bytes]] = []
    for at in outputs:
        begins = [model.output_head(at, shape) for shape in results.shapes(at)]
        columns.append([b'%b,"data":%b}' % pair for pair in zip(begins, results.json(at), strict=True)])
    return [b",".join(parts) for parts in zip(*columns, strict=True)]


def _tensor(given: _Input, body: bytes, at: int) -> tuple[Array, int]:
    """Return an input and where the next binary one begins."""
    size = given.parameters.binary_data_size if given.parameters else None
    raw = bytes(given.data)
    if size is None:
        return from_json(given.name, given.datatype, given.shape, raw), at
    if raw:
        raise Problem(f"input {given.name!r} has both data and binary_data_size")
    return from_binary(given.name, given.datatype, given.shape, body, at, size), at + size


def _wants_binary(output: _Output, every: bool) -> bool:
    if output.parameters is None:
        return every
    if output.parameters.classification is not None:
        raise Problem(f"output {output.name!r}: the classification extension is not supported")
    return every if output.parameters.binary_data is None else output.parameters.binary_data
