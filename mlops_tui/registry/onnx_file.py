"""Reading an ONNX file's frame (inputs, outputs, metadata, opsets) without the onnx package and without its weights.

An ONNX file is one protocol-buffer message; fields are walked by their tags and everything that is not needed is
stepped over, so a model of gigabytes costs a few reads. Field numbers: onnx.proto3 of onnx 1.20
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3); encoding:
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MODEL_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_MAX_TEXT = 1 << 20
_EXTERNAL = 1
# fmt: off
_DTYPES = (
    "undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16",
    "float64", "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz",
    "float8e5m2", "float8e5m2fnuz", "uint4", "int4", "float4e2m1",
)
# fmt: on


class NotOnnx(ValueError):
    """The bytes are not an ONNX model; the message says where they stop being one."""


class Span(NamedTuple):
    """Where a field's bytes lie."""

    at: int
    size: int


def read_signature(file: BinaryIO, size: int) -> dict[str, Any]:
    """Return what an ONNX model takes and gives.

    Args:
        file: a seekable reader of the model.
        size: its length in bytes.

    Returns:
        ``inputs`` and ``outputs`` (each with name, dtype and shape, whose free dimensions are a name or None),
        ``opset`` (domain → version), ``ir``, ``metadata`` (text → text) and ``external``, whether weights lie in
        another file.

    Raises:
        NotOnnx: it is no ONNX model, or not a whole one.
    """
    model = _collect(file, Span(0, size))
    if unknown := model.keys() - _MODEL_FIELDS:
        raise NotOnnx(f"it has a field {min(unknown)}, which no ONNX model has")
    if not {1, 7, 8} <= model.keys():
        raise NotOnnx("a model has a version, a graph and operator sets")
    graph = _collect(file, _span(model[7][-1]))
    weights = [_collect(file, _span(one)) for one in graph[5]]
    names = {_text(file, one[8][-1]) for one in weights if one[8]}
    inputs = [_value(file, _span(one)) for one in graph[11]]
    opsets = [_collect(file, _span(one)) for one in model[8]]
    entries = [_collect(file, _span(one)) for one in model[14]]
    return {
        "ir": _number(model[1]),
        "opset": {_last(file, one, 1) or "ai.onnx": _number(one[2]) for one in opsets},
        "inputs": [one for one in inputs if one["name"] not in names],
        "outputs": [_value(file, _span(one)) for one in graph[12]],
        "metadata": {_last(file, one, 1): _last(file, one, 2) for one in entries},
        "external": any(_number(one[14]) == _EXTERNAL for one in weights),
    }


def _value(file: BinaryIO, span: Span) -> dict[str, Any]:
    """Read a ValueInfoProto; anything but a tensor has the dtype ``other``."""
    info = _collect(file, span)
    kind = _collect(file, _span(info[2][-1])) if info[2] else {}
    name = _last(file, info, 1)
    if not kind.get(1):
        return {"name": name, "dtype": "other", "shape": None}
    tensor = _collect(file, _span(kind[1][-1]))
    code = _number(tensor[1])
    dtype = _DTYPES[code] if code < len(_DTYPES) else f"type{code}"
    shape = [_dimension(file, one) for one in _collect(file, _span(tensor[2][-1]))[1]] if tensor[2] else None
    return {"name": name, "dtype": dtype, "shape": shape}


def _dimension(file: BinaryIO, field: int | Span) -> int | str | None:
    dimension = _collect(file, _span(field))
    if dimension[1]:
        return _number(dimension[1])
    return _last(file, dimension, 2) or None


def _collect(file: BinaryIO, span: Span) -> dict[int, list[int | Span]]:
    """Return a message's fields by number, each in order."""
    found: dict[int, list[int | Span]] = defaultdict(list)
    for number, value in _fields(file, span):
        found[number].append(value)
    return found


def _fields(file: BinaryIO, span: Span) -> Iterator[tuple[int, int | Span]]:
    at, end = span.at, span.at + span.size
    while at < end:
        tag, at = _varint(file, at, end)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise NotOnnx(f"byte {at} begins no field")
        if wire == _VARINT:
            value, at = _varint(file, at, end)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(file, at, end)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise NotOnnx(f"byte {at} begins no field")
        if at + size > end:
            raise NotOnnx(
                f"a field of {size:,} bytes at byte {at:,} does not fit: the file is cut, or is something else"
            )
        yield number, Span(at, size)
        at += size


def _varint(file: BinaryIO, at: int, end: int) -> tuple[int, int]:
    """Read a base-128 number of at most 64 bits and return it with the place after it."""
    file.seek(at)
    value = 0
    for place, byte in enumerate(file.read(min(10, end - at))):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + place + 1
    raise NotOnnx(f"byte {at} begins no number")


def _span(field: int | Span) -> Span:
    if isinstance(field, int):
        raise NotOnnx("a number stands where a message should be")
    return field


def _number(fields: list[int | Span]) -> int:
    value = fields[-1] if fields else 0
    if isinstance(value, Span):
        raise NotOnnx("a message stands where a number should be")
    return value - (1 << 64) if value >> 63 else value


def _last(file: BinaryIO, message: dict[int, list[int | Span]], number: int) -> str:
    found = message.get(number)
    return _text(file, found[-1]) if found else ""


def _text(file: BinaryIO, field: int | Span) -> str:
    span = _span(field)
    file.seek(span.at)
    try:
        return file.read(min(span.size, _MAX_TEXT)).decode()
    except UnicodeDecodeError as error:
        raise NotOnnx(f"the text at byte {span.at:,} is not text") from error
