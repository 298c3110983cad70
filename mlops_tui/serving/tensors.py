"""Tensors of the Open Inference Protocol v2: data types, JSON and binary data, both ways."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from mlops_tui.serving.problem import Problem

Array = NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
ONNX_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_LITTLE = {name: dtype.newbyteorder("<") for name, dtype in DTYPES.items()}
_KINDS: dict[str, type] = {"b": bool, "u": int, "i": int, "f": float, "O": str}
_FLAT = {kind: msgspec.json.Decoder(list[type_]) for kind, type_ in _KINDS.items()}  # type: ignore[valid-type]
_NUMBERS = msgspec.json.Decoder(list[int | float])
_NESTED = msgspec.json.Decoder(list[Any])
_SIMD_FROM = 1024
_BIG = sys.byteorder == "big"
_MOST_DIMENSIONS, _LARGEST = 32, 1 << 48
_U32 = struct.Struct("<I")


class Tensor(NamedTuple):
    """An input or output of a model: -1 stands for a free dimension, ``symbols`` for its name if it has one.

    A ``nullable`` one takes words that are missing (None), as a column of a table may have; those of a
    ``date`` are dates.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    symbols: tuple[str | None, ...]
    nullable: bool = False
    date: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its arrays."""
        return DTYPES[self.datatype]

    def metadata(self) -> dict[str, Any]:
        """Return the tensor as the protocol's metadata shows it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


class Rows(msgspec.Struct, eq=False, gc=False):
    """Rows of numbers as the bytes that they are, before anybody asks for an array.

    To make an array for each request, look at it and join it with others costs more than to read the numbers (2 µs).
    """

    name: str
    datatype: str
    count: int
    width: int
    data: bytes

    def array(self) -> Array:
        """Return them as an array, which cannot be written to."""
        return np.ndarray((self.count, self.width), DTYPES[self.datatype], self.data)


def joined(several: Sequence[Rows]) -> Array:
    """Return rows of one type and width below each other."""
    flat = np.frombuffer(b"".join([rows.data for rows in several]), DTYPES[several[0].datatype])
    return flat.reshape(-1, several[0].width)


def elements(name: str, shape: Sequence[int]) -> int:
    """Return how many elements a shape has.

    Raises:
        Problem: a dimension is negative, or there is no such array at all.
    """
    if len(shape) > _MOST_DIMENSIONS or (shape and max(shape) > _LARGEST):
        raise Problem(f"input {name!r}: shape {list(shape)[:16]} is beyond {_MOST_DIMENSIONS} dimensions or 2⁴⁸ a side")
    n = 1
    for d in shape:
        if d < 0:
            raise Problem(f"input {name!r}: shape {list(shape)[:16]} has a negative dimension")
        n *= d
    return n


def from_json(name: str, datatype: str, shape: list[int], raw: bytes) -> Array:
    """Return the tensor that a JSON array holds, flat or nested as its shape.

    Raises:
        Problem: the data type is unknown, or the data are not what datatype and shape say.
    """
    dtype = DTYPES.get(datatype)
    if dtype is None:
        raise Problem(f"input {name!r}: unknown datatype {datatype!r}; known are {', '.join(DTYPES)}")
    n = elements(name, shape)
    if not raw:
        raise Problem(f"input {name!r} has neither data nor binary_data_size")
    try:
        with np.errstate(over="raise"):
            flat = _flat(raw, dtype) if _is_flat(raw, dtype) else _nested(raw, dtype, shape)
    except FloatingPointError:
        raise Problem(f"input {name!r}: a value is too large for {datatype}") from None
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise Problem(f"input {name!r}: data is not an array of {datatype} ({error})") from error
    if flat.size != n:
        raise Problem(f"input {name!r}: {flat.size} values for shape {shape}")
    return flat.reshape(shape)


def _is_flat(raw: bytes, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "O":
        return not raw[:64].lstrip()[1:].lstrip().startswith(b"[")
    return raw.find(b"[", 1) < 0


def _flat(raw: bytes, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "f" and len(raw) > _SIMD_FROM:
        return _Simd.floats(raw).astype(dtype)
    try:
        return np.array(_FLAT[dtype.kind].decode(raw), dtype)
    except msgspec.ValidationError:
        if dtype.kind not in "iu":
            raise
        return np.array(_whole(_NUMBERS.decode(raw)), dtype)


def _whole(values: Sequence[float]) -> list[int]:
    """Return numbers as integers: to JSON, 2.0 is one.

    Raises:
        ValueError: one is not whole.
    """
    if broken := next((v for v in values if type(v) is float and not v.is_integer()), None):
        raise ValueError(f"{broken} is not whole")
    return [int(v) for v in values]


class _Simd:
    """One parser for the process: it keeps its buffers, which halves the time of a large array."""

    parser: Any = None

    @classmethod
    def floats(cls, raw: bytes) -> Array:
        import simdjson

        parser, cls.parser = cls.parser or simdjson.Parser(), None
        # Put back only when nothing of this document lives on: a parser with living arrays refuses the next one.
        document: Any = parser.parse(raw)
        found = np.frombuffer(document.as_buffer(of_type="d"), np.float64)
        cls.parser = parser
        return found


def _nested(raw: bytes, dtype: np.dtype[Any], shape: list[int]) -> Array:
    flat: list[Any] = []
    flatten(_NESTED.decode(raw), tuple(shape), flat)
    kind = _KINDS[dtype.kind]
    if kind is float:
        if not all(type(v) is float or type(v) is int for v in flat):
            raise ValueError("not all are numbers")
    elif kind is int and all(type(v) is int or type(v) is float for v in flat):
        flat = _whole(flat)
    elif not all(type(v) is kind for v in flat):
        raise ValueError(f"not all are {kind.__name__}")
    return np.array(flat, dtype)


def flatten(values: Any, shape: tuple[int, ...], into: list[Any]) -> None:
    """Append the values of nested lists in row-major order.

    Raises:
        ValueError: they are nested otherwise than the shape.
    """
    if not isinstance(values, list) or not shape or len(values) != shape[0]:
        raise ValueError("nested otherwise than its shape")
    if len(shape) == 1:
        into.extend(values)
        return
    for value in values:
        flatten(value, shape[1:], into)


def from_binary(name: str, datatype: str, shape: list[int], blob: bytes, at: int, size: int) -> Array:
    """Return the tensor that lies in ``size`` bytes of the body from ``at`` on (the binary tensor data extension).

    Raises:
        Problem: the data type is unknown or the sizes contradict each other.
    """
    dtype = _LITTLE.get(datatype)
    if dtype is None:
        raise Problem(f"input {name!r}: unknown datatype {datatype!r}; known are {', '.join(DTYPES)}")
    n = elements(name, shape)
    if size < 0 or at + size > len(blob):
        raise Problem(f"input {name!r}: binary_data_size {size} goes beyond the end of the body")
    if datatype == "BYTES":
        return _strings(name, blob[at : at + size], n).reshape(shape)
    if size != n * dtype.itemsize:
        raise Problem(f"input {name!r}: binary_data_size {size} does not match shape {shape} of {datatype}")
    if datatype == "BOOL":
        return np.frombuffer(blob, np.uint8, n, at).astype(np.bool_).reshape(shape)
    found: Array = np.ndarray(shape, dtype, blob, at)
    return found if found.flags.aligned else found.copy()


def _strings(name: str, blob: bytes, n: int) -> Array:
    found: list[str] = []
    at = 0
    try:
        while at < len(blob):
            size = _U32.unpack_from(blob, at)[0]
            if at + 4 + size > len(blob):
                raise Problem(f"input {name!r}: a string goes beyond binary_data_size")
            found.append(blob[at + 4 : at + 4 + size].decode())
            at += 4 + size
    except (struct.error, UnicodeDecodeError) as error:
        raise Problem(f"input {name!r}: cannot read its strings ({error})") from error
    if len(found) != n:
        raise Problem(f"input {name!r}: {len(found)} strings for {n} elements")
    return np.array(found, np.object_)


def to_json(array: Array) -> bytes:
    """Return the values as a flat JSON array; JSON has no NaN or infinity, they become null."""
    if array.dtype.kind == "O":
        return orjson.dumps(array.ravel().tolist(), default=str)
    return orjson.dumps(np.ascontiguousarray(array).ravel(), option=orjson.OPT_SERIALIZE_NUMPY)


def to_binary(array: Array) -> bytes:
    """Return the values as raw little-endian bytes; strings each with their length before them."""
    if array.dtype.kind == "O":
        return strings([str(value).encode() for value in array.ravel()])
    return (array.astype(array.dtype.newbyteorder("<")) if _BIG else array).tobytes()


def strings(values: Iterable[bytes]) -> bytes:
    """Return strings as the binary tensor data extension has them: each with its length before it."""
    return b"".join(_U32.pack(len(value)) + value for value in values)
