"""The binary file that W&B writes while a run goes on: protocol-buffer records in the framing of LevelDB's log.

The file is cut into blocks of 32 KiB. A record lies in one or more chunks, none of which crosses a block; a chunk has a
checksum, its length, and whether it is the whole, first, middle or last part of its record.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mlops_tui.core.errors import BadInput, MlopsError

_BLOCK, _HEAD = 32768, struct.Struct("<IHB")
_START, _IDENT, _MAGIC = struct.Struct("<4sHB"), b":W&B", 0xBEE1
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_KINDS = (_WHOLE, _FIRST, _MIDDLE, _LAST)


class Field(NamedTuple):
    """A field of a message: its number, and its value as it was sent: a whole number, or bytes."""

    number: int
    value: int | bytes


def records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file. A torn end, as a killed process leaves it, is the end.

    Raises:
        BadInput: it is no such file.
        MlopsError: it is damaged before its end.
    """
    content = path.read_bytes()
    if len(content) < _START.size or _START.unpack_from(content)[:2] != (_IDENT, _MAGIC):
        raise BadInput(f"{path} is no run file of W&B's", "it does not begin as one", "name a folder that holds wandb/")
    at, parts = _START.size, b""
    while (left := len(content) - at) >= _HEAD.size:
        room = _BLOCK - at % _BLOCK
        if room < _HEAD.size:  # no head fits into what is left of a block
            at += room
            continue
        checksum, length, kind = _HEAD.unpack_from(content, at)
        body = content[at + _HEAD.size : at + _HEAD.size + length]
        if len(body) < length:
            return
        if kind not in _KINDS or zlib.crc32(body, zlib.crc32(bytes([kind]))) != checksum:
            if left <= _BLOCK:
                return
            raise MlopsError(f"{path} is damaged", f"the record at byte {at:,} has another checksum", "")
        at += _HEAD.size + length
        parts = body if kind in (_WHOLE, _FIRST) else parts + body
        if kind in (_WHOLE, _LAST):
            yield parts


def fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of a protocol-buffer message, in their order.

    Raises:
        ValueError: it is cut or no message.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield Field(number, value)
            continue
        if wire == 2:
            length, at = _varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > len(message):
            raise ValueError("a field is cut")
        yield Field(number, message[at : at + length])
        at += length


def one(message: bytes, number: int) -> bytes:
    """Return the last value of a field that holds bytes, text or a message; empty when it is not there."""
    found = b""
    for field in fields(message):
        if field.number == number and isinstance(field.value, bytes):
            found = field.value
    return found


def text(message: bytes, number: int) -> str:
    """Return a field that holds text."""
    return one(message, number).decode(errors="replace")


def whole(message: bytes, number: int, default: int = 0) -> int:
    """Return a field that holds a whole number, of 64 bits with a sign."""
    found = default
    for field in fields(message):
        if field.number == number and isinstance(field.value, int):
            found = field.value - (1 << 64) if field.value >= 1 << 63 else field.value
    return found


def many(message: bytes, number: int) -> list[bytes]:
    """Return every value of a repeated field of texts or messages."""
    return [field.value for field in fields(message) if field.number == number and isinstance(field.value, bytes)]


def zigzag(value: int) -> int:
    """Return the number that a ``sint64`` means."""
    return (value >> 1) ^ -(value & 1)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("a number is cut")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
        shift += 7
