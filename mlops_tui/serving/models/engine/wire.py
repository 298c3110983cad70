"""Tensors over a Unix socket: a JSON header, then the bytes of each tensor as they lie in memory."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frame import LENGTH, Message, exactly, receive_head

Array = NDArray[Any]

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4", "UINT64": "u8", "INT8": "i1", "INT16": "i2",
    "INT32": "i4", "INT64": "i8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip
TEXT = "BYTES"
"""Strings: each with its length before it, four bytes little-endian; one that is missing has a length and no bytes."""
_MISSING = 0xFFFF_FFFF

_NAMES = {np.dtype(code): name for name, code in DTYPES.items()}


def datatype(array: Array) -> str:
    """Return what a protocol calls the type of an array.

    Raises:
        TypeError: tensors cannot have it.
    """
    if array.dtype.kind in "OUS":
        return TEXT
    try:
        return _NAMES[array.dtype.newbyteorder("=")]
    except KeyError:
        raise TypeError(f"arrays of {array.dtype} are no tensors") from None


def send(sock: socket.socket, message: Message, tensors: Mapping[str, Array] | None = None) -> None:
    """Send a message with its tensors.

    Raises:
        OSError: the other end is gone, or did not read in time.
        TypeError: an array is no tensor.
    """
    listed: list[Any] = []
    blobs: list[bytes | memoryview] = []
    for name, array in (tensors or {}).items():
        kind = datatype(array)
        blob = _text(array) if kind == TEXT else _plain(array, DTYPES[kind])
        listed.append([name, kind, list(array.shape), len(blob)])
        blobs.append(blob)
    head = json.dumps({**message, "tensors": listed}).encode()
    parts = [memoryview(LENGTH.pack(len(head)) + head), *(memoryview(blob) for blob in blobs if len(blob))]
    while parts:
        sent = sock.sendmsg(parts[:64])
        while parts and sent >= len(parts[0]):
            sent -= len(parts.pop(0))
        if sent:
            parts[0] = parts[0][sent:]


def receive(sock: socket.socket) -> tuple[Message, dict[str, Array]]:
    """Wait for a message and return it with its tensors.

    Raises:
        EOFError: the other end is gone.
        TimeoutError: it says nothing for as long as the socket waits.
    """
    message = receive_head(sock)
    tensors = {}
    for name, kind, shape, length in message.pop("tensors"):
        data = exactly(sock, length)
        if kind == TEXT:
            tensors[name] = _strings(data).reshape(shape)
        else:
            tensors[name] = np.frombuffer(data, DTYPES[kind]).reshape(shape)
    return message, tensors


def _plain(array: Array, code: str) -> memoryview:
    """Return the bytes of an array, row-major and in the byte order of this machine, as does the other end."""
    return np.ascontiguousarray(array, code).reshape(-1).view(np.uint8).data


def _text(array: Array) -> bytes:
    return b"".join(map(_word, array.ravel().tolist()))


def _word(value: Any) -> bytes:
    if value is None:
        return LENGTH.pack(_MISSING)
    text = str(value).encode("utf-8", "replace")
    return LENGTH.pack(len(text)) + text


def _strings(data: bytearray) -> Array:
    found: list[str | None] = []
    at = 0
    while at < len(data):
        size = LENGTH.unpack_from(data, at)[0]
        if size == _MISSING:
            found.append(None)
            at += 4
            continue
        found.append(data[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return np.array(found, np.object_)
