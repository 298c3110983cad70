"""How JsonLogic turns one kind of value into another: as JavaScript does, with the official provider as the judge.

Where that provider departs from JavaScript so do we (in a text, true is ``True``): a toggle must not depend on who
evaluates it.
"""

from __future__ import annotations

from math import isnan, nan
from typing import Any

_NOT_NUMBERS = ("inf", "-inf", "+inf")


def number(value: Any) -> int | float:
    """Return a value as a number; NaN when it is none."""
    if isinstance(value, int | float):
        return value
    if value is None:
        return 0
    if isinstance(value, str):
        if value.strip().lower() in _NOT_NUMBERS:
            return nan
        try:
            return float(value)
        except ValueError:
            return nan
    if isinstance(value, list) and len(value) < 2:
        return number(value[0]) if value else 0
    return nan


def text(value: Any) -> str:
    """Return a value as a text; a list is its elements with commas between."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.15g}"
    if value is None:
        return "null"
    if isinstance(value, list):
        return ",".join(map(text, value))
    return "[object Object]" if isinstance(value, dict) else str(value)


def truth(value: Any) -> bool:
    """Tell whether a value counts as true: an empty list does not, an empty object does."""
    if isinstance(value, dict):
        return True
    return bool(value) and not (isinstance(value, float) and isnan(value))


def equal(a: Any, b: Any) -> bool:
    """Compare with coercion (``==``); of lists and objects only the very same are equal."""
    if type(a) is type(b):
        return a is b if isinstance(a, list | dict) else bool(a == b)
    if isinstance(a, int | float) or isinstance(b, int | float):
        return number(a) == number(b)
    if a is None or b is None:
        return False
    if isinstance(a, str) or isinstance(b, str):
        return text(a) == text(b)
    return False


def less(a: Any, b: Any, or_equal: bool) -> bool:
    """Tell whether ``a`` comes before ``b``: as numbers when either is one, else as texts when either is one."""
    if not isinstance(a, int | float) and not isinstance(b, int | float) and (isinstance(a, str) or isinstance(b, str)):
        x, y = text(a), text(b)
        return x <= y if or_equal else x < y
    n, m = number(a), number(b)
    return n <= m if or_equal else n < m
