"""The operators whose arguments are all worked out before: arithmetic, texts, lists, and flagd's own.

Each takes the data and the list of its arguments. One that cannot make sense of them returns None, which means: the
default variant.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import isnan, nan
from typing import Any

from mlops_tui.toggles.fractional import fractional
from mlops_tui.toggles.lookup import lookup
from mlops_tui.toggles.semver import compared
from mlops_tui.toggles.values import equal, less, number, text, truth

Operator = Callable[[Any, list[Any]], Any]
_log = logging.getLogger("mlops.toggles")


def _at(args: list[Any], i: int) -> Any:
    return args[i] if i < len(args) else None


def _ordered(before: Callable[[Any, Any], bool]) -> Operator:
    """Return a comparison of two values, or of three of which the second must lie between."""

    def compare(data: Any, args: list[Any]) -> bool:
        a, b, c = _at(args, 0), _at(args, 1), _at(args, 2)
        return before(a, b) and (c is None or before(b, c))

    return compare


def _plus(data: Any, args: list[Any]) -> int | float:
    return sum(map(number, args))


def _times(data: Any, args: list[Any]) -> int | float:
    product: int | float = 1
    for arg in args:
        product *= number(arg)
    return product


def _minus(data: Any, args: list[Any]) -> int | float:
    a, b = number(_at(args, 0)), _at(args, 1)
    return -a if b is None else a - number(b)


def _in(data: Any, args: list[Any]) -> bool:
    needle, hay = _at(args, 0), _at(args, 1)
    if isinstance(hay, list):
        return needle in hay
    return isinstance(hay, str) and text(needle) in hay


def _substr(data: Any, args: list[Any]) -> str:
    """Return a part of a text: from an index (from the end when negative), so many letters (or all but so many)."""
    whole, index, length = text(_at(args, 0)), number(_at(args, 1)), _at(args, 2)
    if isnan(index):
        begin = 0
    elif index < 0:
        begin = 0 if -index >= len(whole) else len(whole) - int(-index)
    else:
        begin = min(int(index), len(whole))
    if length is None:
        return whole[begin:]
    n = number(length)
    if isnan(n):
        return ""
    end = begin + int(n) if int(n) >= 0 else max(begin, len(whole) + int(n))
    return whole[begin:end]


def _merge(data: Any, args: list[Any]) -> list[Any]:
    return [one for arg in args for one in (arg if isinstance(arg, list) else [arg])]


def _missing(data: Any, args: list[Any]) -> list[Any]:
    keys = args[0] if args and isinstance(args[0], list) else args
    return [key for key in keys if (found := lookup(data, key, None)) is None or found == ""]


def _missing_some(data: Any, args: list[Any]) -> list[Any]:
    keys = _at(args, 1)
    if not isinstance(keys, list):
        return []
    # The keys are one argument of ``missing``, as a list.
    missing = _missing(data, [keys])
    return [] if len(keys) - len(missing) >= number(_at(args, 0)) else missing


def _logged(data: Any, args: list[Any]) -> Any:
    _log.info("toggle: %.200r", _at(args, 0))
    return _at(args, 0)


def _affix(test: Callable[[str, str], bool]) -> Operator:
    def ask(data: Any, args: list[Any]) -> bool | None:
        match args:
            case [str(whole), str(part)]:
                return test(whole, part)
        return None

    return ask


def _sem_ver(data: Any, args: list[Any]) -> bool | None:
    return compared(*args) if len(args) == 3 else None


OPERATORS: dict[str, Operator] = {
    "==": lambda data, args: equal(_at(args, 0), _at(args, 1)),
    "!=": lambda data, args: not equal(_at(args, 0), _at(args, 1)),
    "===": lambda data, args: _at(args, 0) == _at(args, 1),
    "!==": lambda data, args: _at(args, 0) != _at(args, 1),
    "<": _ordered(lambda a, b: less(a, b, False)),
    "<=": _ordered(lambda a, b: less(a, b, True)),
    ">": _ordered(lambda a, b: less(b, a, False)),
    ">=": _ordered(lambda a, b: less(b, a, True)),
    "!": lambda data, args: not truth(_at(args, 0)),
    "!!": lambda data, args: truth(_at(args, 0)),
    "+": _plus,
    "*": _times,
    "-": _minus,
    "/": lambda data, args: number(_at(args, 0)) / number(_at(args, 1)),
    "%": lambda data, args: number(_at(args, 0)) % number(_at(args, 1)),
    "min": lambda data, args: min(map(number, args)) if args else nan,
    "max": lambda data, args: max(map(number, args)) if args else nan,
    "in": _in,
    "cat": lambda data, args: "".join(map(text, args)),
    "substr": _substr,
    "merge": _merge,
    "missing": _missing,
    "missing_some": _missing_some,
    "log": _logged,
    "fractional": fractional,
    "starts_with": _affix(str.startswith),
    "ends_with": _affix(str.endswith),
    "sem_ver": _sem_ver,
}
