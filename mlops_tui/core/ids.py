"""Identifiers: UUIDv7 made by whoever creates the object, so that offline clients need no server."""

from __future__ import annotations

import os
import re
import time
from typing import Any

_UUID7 = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")
_OPAQUE = re.compile(r"[0-9a-f-]{16,}")


def uuid7() -> str:
    """Return a new UUIDv7 (RFC 9562 §5.7) as 36 lower-case characters, ordered by creation time.

    The 12 bits after the version carry the fraction of the millisecond (RFC 9562 §6.2, method 3),
    so ids made by one process in the same millisecond still sort.
    """
    nanos = time.time_ns()
    millis, rest = divmod(nanos, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    tail = int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
    value = (millis & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | tail
    return dashed(f"{value:032x}")


def dashed(digits: str) -> str:
    """Return up to 32 digits with dashes where an id has them, as MLflow writes ids without."""
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join(part for part in parts if part)


def born_ms(identifier: str) -> int | None:
    """Return when a UUIDv7 was made, in milliseconds since 1970; None when the id is none."""
    digits = identifier.replace("-", "")
    return int(digits[:12], 16) if _UUID7.fullmatch(digits) else None


def short(identifier: str) -> str:
    """Return the part of an id that people see: its last eight digits.

    A UUIDv7 begins with the clock, so ids of one minute share their beginning; the end is random.
    """
    return identifier[-8:]


def opaque(value: Any) -> bool:
    """Tell whether an id is one that only machines can tell apart, so that people see its end alone."""
    return isinstance(value, str) and _OPAQUE.fullmatch(value) is not None


def shortened(text: str) -> str:
    """Return a text with the id in ``noun:id`` as people see it."""
    noun, colon, name = text.partition(":")
    return f"{noun}:{short(name)}" if colon and opaque(name) else text


def matches(identifier: str, typed: str) -> bool:
    """Tell whether what a person typed names this id: its whole, its beginning or its end."""
    typed = typed.lower().removeprefix("r-").removeprefix("j-")
    return len(typed) >= 4 and (identifier.startswith(typed) or identifier.endswith(typed))
