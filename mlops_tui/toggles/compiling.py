"""JsonLogic compiled: a rule is walked once and becomes closures, which is what an evaluation then costs.

What an operator means, wrong arguments included, is what it means to the official provider.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlops_tui.core.errors import BadInput
from mlops_tui.toggles.fractional import by_own_key
from mlops_tui.toggles.lookup import lookup
from mlops_tui.toggles.operators import OPERATORS
from mlops_tui.toggles.values import truth

Rule = Callable[[Any], Any]
"""From a context to a value."""


def compiled(logic: Any) -> Rule:
    """Return a rule as a function of the context.

    Raises:
        BadInput: an operator is unknown, or ``var`` has more than a path and a default.
    """
    if isinstance(logic, list):
        parts = [compiled(one) for one in logic]
        return lambda data: [part(data) for part in parts]
    if not isinstance(logic, dict) or len(logic) != 1:
        return lambda data: logic
    ((name, given),) = logic.items()
    args = given if isinstance(given, list) else [given]
    if name in LAZY:
        return LAZY[name](args)
    if name not in OPERATORS:
        raise BadInput(f"there is no operator {name!r}")
    return _eager(name, args)


def _eager(name: str, args: list[Any]) -> Rule:
    operator = OPERATORS[name]
    if name == "fractional" and args and all(map(_is_plain_bucket, args)):
        return by_own_key(args)
    parts = [compiled(arg) for arg in args]
    if len(parts) == 2:
        first, second = parts
        return lambda data: operator(data, [first(data), second(data)])
    return lambda data: operator(data, [part(data) for part in parts])


def _is_plain_bucket(arg: Any) -> bool:
    return isinstance(arg, list) and not any(isinstance(one, dict | list) for one in arg)


def _var(args: list[Any]) -> Rule:
    if len(args) > 2:
        raise BadInput(f"var takes a path and a default, not {len(args)} arguments")
    default = compiled(args[1] if len(args) == 2 else None)
    path = args[0] if args else None
    if not isinstance(path, str) or not path:
        key = compiled(path)
        return lambda data: lookup(data, key(data), default(data))
    if "." in path:
        return lambda data: lookup(data, path, default(data))

    def plain(data: Any) -> Any:
        otherwise = default(data)
        if not isinstance(data, dict):
            return lookup(data, path, otherwise)
        found = data.get(path)
        return otherwise if found is None else found

    return plain


def _if(args: list[Any]) -> Rule:
    parts = [compiled(arg) for arg in args]
    branches = list(zip(parts[:-1:2], parts[1::2], strict=False))
    # After whole pairs of question and answer one more is the answer to everything else.
    otherwise = parts[-1] if len(parts) % 2 else compiled(None)

    def choose(data: Any) -> Any:
        for question, answer in branches:
            if truth(question(data)):
                return answer(data)
        return otherwise(data)

    return choose


def _until(stop: bool) -> Callable[[list[Any]], Rule]:
    """Return ``or`` (stops at what is true) or ``and`` (at what is not): the value at which it stopped, or the last."""

    def build(args: list[Any]) -> Rule:
        parts = [compiled(arg) for arg in args]

        def ask(data: Any) -> Any:
            value = None
            for part in parts:
                value = part(data)
                if truth(value) is stop:
                    break
            return value

        return ask

    return build


def _each(work: Callable[[list[Any], Rule], Any], without: Callable[[], Any], fewest: int = 2) -> Any:
    """Return what builds an operator over the elements of a list.

    Args:
        work: from the elements and the inner rule to the result.
        without: the result when the first argument is no list.
        fewest: with fewer arguments than this the result is that one, too.
    """

    def build(args: list[Any]) -> Rule:
        if len(args) < fewest:
            return lambda data: without()
        items, inner = compiled(args[0]), compiled(args[1] if len(args) > 1 else None)

        def walk(data: Any) -> Any:
            found = items(data)
            return work(found, inner) if isinstance(found, list) else without()

        return walk

    return build


def _reduce(args: list[Any]) -> Rule:
    if not args:
        return compiled(None)
    items, inner = compiled(args[0]), compiled(args[1] if len(args) > 1 else None)
    # The beginning is taken as it stands, not worked out.
    begin = args[2] if len(args) > 2 else None

    def walk(data: Any) -> Any:
        found = items(data)
        if not isinstance(found, list):
            return begin
        context = {"accumulator": begin}
        for item in found:
            context["current"] = item
            context["accumulator"] = inner(context)
        return context["accumulator"]

    return walk


LAZY: dict[str, Callable[[list[Any]], Rule]] = {
    "var": _var,
    "if": _if,
    "?:": _if,
    "and": _until(False),
    "or": _until(True),
    "map": _each(lambda items, rule: [rule(item) for item in items], list, 1),
    "filter": _each(lambda items, rule: [item for item in items if truth(rule(item))], list),
    "all": _each(lambda items, rule: bool(items) and all(truth(rule(item)) for item in items), bool),
    "some": _each(lambda items, rule: any(truth(rule(item)) for item in items), bool),
    "none": _each(lambda items, rule: not any(truth(rule(item)) for item in items), lambda: True),
    "reduce": _reduce,
}
"""Operators that decide by themselves what of their arguments is worked out, and with what."""
