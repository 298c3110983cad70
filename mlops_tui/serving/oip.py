"""Open Inference Protocol v2: a request read into tensors, answers written as JSON or with binary tensors.

Specification: https://github.com/kserve/open-inference-protocol; binary tensor data extension of the Triton server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import orjson

from mlops_tui.serving.bodies import decoded, request_id
from mlops_tui.serving.model import Feed, Model
from mlops_tui.serving.problem import Answer, Problem
from mlops_tui.serving.routing import Arm
from mlops_tui.serving.tensors import Array, from_binary, from_json, to_binary, to_json

LENGTH = b"inference-header-content-length"


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


_decoder = msgspec.json.Decoder(_Request)


class Inference:
    """A request of the protocol: its tensors, its id, and which outputs it wants how."""

    __slots__ = ("_binary", "_tensors", "_wanted", "id")

    def __init__(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        """Read a body that is already decompressed.

        Raises:
            Problem: 400, with the client's mistake.
        """
        length = headers.get(LENGTH)
        end = len(body) if length is None else _header_length(length, len(body))
        request = decoded(_decoder, body if end == len(body) else body[:end])
        self.id = request_id(request.id, headers)
        self._tensors: dict[str, Array] = {}
        for given in request.inputs:
            if given.name in self._tensors:
                raise Problem(f"input {given.name!r} comes twice")
            self._tensors[given.name], end = _tensor(given, body, end)
        if end != len(body):
            raise Problem(f"{len(body) - end} bytes are left over after the binary tensors")
        self._wanted = request.outputs
        every = request.parameters is not None and bool(request.parameters.binary_data_output)
        self._binary: dict[str, bool] | bool = every
        if request.outputs:
            self._binary = {output.name: _wants_binary(output, every) for output in request.outputs}

    def feed(self, model: Model) -> Feed:
        """Return the tensors for a model; :meth:`Model.check` compares them with what it takes.

        Raises:
            Problem: an output was asked for that the model does not have.
        """
        for output in self._wanted or ():
            model.position(output.name)
        return self._tensors

    def answer(self, arm: Arm, results: Sequence[Array], ident: str, fallback: bool) -> Answer:
        """Return the answer, with every output of the model or those that were asked for."""
        model = arm.model
        names = [o.name for o in self._wanted] if self._wanted else model.output_names
        head = arm.fallback_head if fallback else arm.head
        parts: list[bytes] = []
        blobs: list[bytes] = []
        for name in names:
            at = model.position(name)
            array = results[at]
            begin = model.output_heads[at] + orjson.dumps(array.shape)
            if self._binary is True or (self._binary and self._binary[name]):
                blobs.append(to_binary(array))
                parts.append(b'%b,"parameters":{"binary_data_size":%d}}' % (begin, len(blobs[-1])))
            else:
                parts.append(b'%b,"data":%b}' % (begin, to_json(array)))
        text = b'%b,"id":%b,"outputs":[%b]}' % (head, orjson.dumps(ident), b",".join(parts))
        if not blobs:
            return Answer(200, arm.headers, text)
        size = (LENGTH, str(len(text)).encode())
        return Answer(200, (*arm.binary_headers, size), text + b"".join(blobs))


def _header_length(value: bytes, size: int) -> int:
    if not value.isdigit() or len(value) > 12 or int(value) > size:
        raise Problem("Inference-Header-Content-Length is not a number of bytes within the body")
    return int(value)


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
