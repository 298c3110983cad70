"""Canonical CBOR (RFC 8949, 4.2.3) of JSON values: a key of any type becomes the same bytes in every flagd provider."""

from __future__ import annotations

import struct
from math import isinf, isnan
from typing import Any

_UINT, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP, _TAG = range(7)
_SHORT_TEXT = [bytes((_TEXT << 5 | n,)) for n in range(24)]
_SIMPLE = {False: b"\xf4", True: b"\xf5", None: b"\xf6"}


def cbor(value: Any) -> bytes:
    """Return the bytes of a JSON value; whole numbers that fit 64 bits are integers however they were written.

    Raises:
        ValueError: a text is not Unicode, or it is no JSON value.
    """
    if isinstance(value, str):
        raw = value.encode()
        return (_SHORT_TEXT[len(raw)] if len(raw) < 24 else _head(_TEXT, len(raw))) + raw
    if value is None or isinstance(value, bool):
        return _SIMPLE[value]
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        whole = value.is_integer() and -(2**63) <= value <= 2**64 - 1
        return _integer(int(value)) if whole else _float(value)
    if isinstance(value, list | tuple):
        return _head(_LIST, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, dict):
        pairs = sorted(((cbor(k), cbor(v)) for k, v in value.items()), key=lambda pair: (len(pair[0]), pair[0]))
        return _head(_MAP, len(value)) + b"".join(k + v for k, v in pairs)
    raise ValueError(f"{type(value).__name__} is not a JSON value")


def _head(kind: int, n: int) -> bytes:
    first = kind << 5
    if n < 24:
        return bytes((first | n,))
    size = (n.bit_length() + 7) // 8
    power = 0 if size <= 1 else (size - 1).bit_length()
    return bytes((first | 24 + power,)) + n.to_bytes(1 << power, "big")


def _integer(value: int) -> bytes:
    kind, n = (_UINT, value) if value >= 0 else (_NEGATIVE, -1 - value)
    if n < 1 << 64:
        return _head(kind, n)
    raw = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return _head(_TAG, 2 + kind) + _head(_BYTES, len(raw)) + raw


def _float(value: float) -> bytes:
    if isnan(value):
        return b"\xf9\x7e\x00"
    for first, form in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            raw = struct.pack(form, value)
        except OverflowError:
            continue
        if isinf(value) or struct.unpack(form, raw)[0] == value:
            return first + raw
    return b"\xfb" + struct.pack(">d", value)
