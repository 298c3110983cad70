"""What may stand in a record: names, texts and numbers, made safe without ever raising."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

MAX_LINE = 48 * 1024 * 1024
"""Bytes of the longest record; the writer drops longer ones, the reader quarantines them."""
MAX_NAME = 250
"""Characters of the longest name of a metric, parameter or tag."""


def is_name(key: object) -> bool:
    """Tell whether a metric, parameter or tag may be called so: 1 to 250 printable characters."""
    return isinstance(key, str) and 0 < len(key) <= MAX_NAME and key.isprintable() and not key.isspace()


def as_text(value: object) -> str:
    """Return a value as the store keeps it: its ``str``, of numpy and torch scalars that of their number.

    Raises:
        Exception: whatever the value's own ``__str__`` raises.
    """
    if not isinstance(value, str):
        item = getattr(value, "item", None)
        value = item() if callable(item) and getattr(value, "shape", None) == () else value
    return str(value)


def as_texts(values: Mapping[Any, Any]) -> tuple[dict[str, str], list[str]]:
    """Return the usable pairs as texts, in their order, and a word on each pair that is not usable."""
    good: dict[str, str] = {}
    bad: list[str] = []
    for key, value in values.items():
        if not is_name(key):
            bad.append(f"{key if isinstance(key, str) else type(key).__name__!r:.80} is no name")
            continue
        try:
            good[key] = as_text(value)
        except Exception as error:  # a foreign __str__ or .item()
            bad.append(f"{key} cannot be written as text ({type(error).__name__})")
    return good, bad


def as_number(value: object) -> float | None:
    """Return the number that a value is (Python, numpy, torch scalar, Decimal), or None when it is none.

    A string is never a number, even when it looks like one: ``float("3")`` is parsing, not measuring.
    """
    try:
        item = getattr(value, "item", None)  # numpy and torch; float() of a tensor with a gradient warns
        value = item() if callable(item) else value
        return None if isinstance(value, (str, bytes, bytearray)) else float(value)  # type: ignore[arg-type]
    except Exception:  # TypeError of most, OverflowError of huge integers, anything of a foreign __float__
        return None


def as_step(value: object) -> int | None:
    """Return a step as a signed 64-bit integer, or None when the value is not one (1.5, "3", NaN)."""
    try:
        step = operator.index(value)  # type: ignore[arg-type]  # int, bool, numpy and torch integers
    except Exception:
        number = as_number(value)
        if number is None or not number.is_integer():
            return None
        step = int(number)
    return step if -(2**63) <= step < 2**63 else None


def logical_path(path: object) -> str | None:
    """Return an artifact's path as the store knows it (relative, ``/`` between, no ``..``), or None."""
    if not isinstance(path, str):
        return None
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    usable = parts and ".." not in parts and not path.startswith("/") and path.isprintable() and len(path) <= 1000
    return "/".join(parts) if usable else None
