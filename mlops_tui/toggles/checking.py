"""Reading a rule before anything trusts it: what is wrong is said with its place and the nearest right word.

flagd itself finds most of this only when a rule is evaluated, and then quietly answers with the default.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlops_tui.core.errors import BadInput
from mlops_tui.toggles.compiling import LAZY
from mlops_tui.toggles.fractional import MOST
from mlops_tui.toggles.operators import OPERATORS
from mlops_tui.toggles.semver import COMPARISONS, version

KNOWN = sorted({*OPERATORS, *LAZY})
_EXACTLY = {"starts_with": 2, "ends_with": 2, "sem_ver": 3, "===": 2, "==": 2, "!=": 2, "!==": 2, "in": 2}


def wrong(path: str, text: str, fix: str = "") -> BadInput:
    """Return the error for a place in a file."""
    return BadInput(f"{path}: {text}", "", fix)


def nearest(typed: str, known: Iterable[str]) -> str:
    """Return advice: the words that were probably meant, else all of them."""
    names = list(known)
    near = difflib.get_close_matches(typed, names, 2, 0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"one of: {', '.join(names)}" if names else ""


def resolved(logic: Any, evaluators: Mapping[str, Any], path: str, within: tuple[str, ...] = ()) -> Any:
    """Return a rule with every ``{"$ref": NAME}`` replaced by the evaluator of that name.

    Raises:
        BadInput: there is no such evaluator, or one refers to itself.
    """
    if isinstance(logic, list):
        return [resolved(one, evaluators, f"{path}[{i}]", within) for i, one in enumerate(logic)]
    if not isinstance(logic, dict):
        return logic
    if len(logic) == 1 and isinstance(name := logic.get("$ref"), str):
        if name not in evaluators:
            raise wrong(f"{path}.$ref", f"there is no evaluator {name!r}", nearest(name, evaluators))
        if name in within:
            raise wrong(f"{path}.$ref", f"the evaluator {name!r} refers to itself", "")
        return resolved(evaluators[name], evaluators, f"$evaluators.{name}", (*within, name))
    return {key: resolved(one, evaluators, f"{path}.{key}", within) for key, one in logic.items()}


def check(logic: Any, path: str) -> None:
    """Refuse a rule that could never mean what it says.

    Raises:
        BadInput: with the place: an unknown operator, a wrong number of arguments, a weight or version that is none.
    """
    if isinstance(logic, list):
        for i, one in enumerate(logic):
            check(one, f"{path}[{i}]")
    if not isinstance(logic, dict):
        return
    if len(logic) != 1:
        raise wrong(path, f"a rule names one operator, this one has {len(logic)} keys")
    ((name, given),) = logic.items()
    here = f"{path}.{name}"
    if name not in OPERATORS and name not in LAZY:
        raise wrong(here, f"there is no operator {name!r}", nearest(name, KNOWN))
    args = given if isinstance(given, list) else [given]
    if name == "var" and len(args) > 2:
        raise wrong(here, f"it takes a path and a default, not {len(args)} arguments")
    if name in _EXACTLY and len(args) != _EXACTLY[name]:
        raise wrong(here, f"it takes {_EXACTLY[name]} arguments, not {len(args)}")
    if name == "fractional":
        _check_buckets(args, here)
    if name == "sem_ver":
        _check_versions(args, here)
    for i, arg in enumerate(args):
        check(arg, f"{here}[{i}]" if isinstance(given, list) else here)


def _check_buckets(args: list[Any], path: str) -> None:
    buckets = args if args and isinstance(args[0], list) else args[1:]
    if not buckets:
        raise wrong(path, "it has no buckets", 'write them as ["variant", weight]')
    total = 0
    for i, bucket in enumerate(buckets, len(args) - len(buckets)):
        if not isinstance(bucket, list) or not 1 <= len(bucket) <= 2:
            raise wrong(f"{path}[{i}]", 'a bucket is ["variant", weight]', "")
        weight = bucket[1] if len(bucket) == 2 else 1
        if isinstance(weight, dict):
            total = 1  # worked out later
        elif isinstance(weight, bool) or not isinstance(weight, int) or weight < 0:
            raise wrong(f"{path}[{i}][1]", f"{weight!r} is no weight", "weights are whole numbers from 0")
        else:
            total += weight
    if not 0 < total <= MOST:
        raise wrong(path, f"the weights add up to {total}", f"1 to {MOST}")


def _check_versions(args: list[Any], path: str) -> None:
    if isinstance(args[1], str) and args[1] not in COMPARISONS:
        raise wrong(f"{path}[1]", f"there is no comparison {args[1]!r}", f"one of: {'  '.join(COMPARISONS)}")
    for i in (0, 2):
        if isinstance(args[i], str) and version(args[i]) is None:
            raise wrong(f"{path}[{i}]", f"{args[i]!r} is no semantic version", "such as 1.2.3")


def outcomes(logic: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield every variant that a rule says outright it may choose, with its place."""
    if isinstance(logic, str):
        yield path, logic
    if not isinstance(logic, dict) or len(logic) != 1:
        return
    ((name, given),) = logic.items()
    args = given if isinstance(given, list) else [given]
    if name in ("if", "?:"):
        last = len(args) - 1
        for i, arg in enumerate(args):
            if i % 2 or i == last:
                yield from outcomes(arg, f"{path}.{name}[{i}]")
    elif name == "fractional":
        for i, arg in enumerate(args):
            if isinstance(arg, list) and arg:
                yield from outcomes(arg[0], f"{path}.{name}[{i}][0]")


def variables(logic: Any) -> frozenset[str] | None:
    """Return what of the context a rule looks at, as paths; None when only the evaluation can tell."""
    found: set[str] = set()
    return frozenset(found) if _gather(logic, found) else None


def _gather(logic: Any, found: set[str]) -> bool:
    if isinstance(logic, list):
        return all(_gather(one, found) for one in logic)
    if not isinstance(logic, dict) or len(logic) != 1:
        return True
    ((name, given),) = logic.items()
    args = given if isinstance(given, list) else [given]
    if name == "var":
        if not args or not isinstance(args[0], str) or not args[0]:
            return False
        found.add(args[0])
        return _gather(args[1:], found)
    if name in ("missing", "missing_some"):
        keys = [key for arg in args for key in (arg if isinstance(arg, list) else [arg])]
        found.update(key for key in keys if isinstance(key, str))
        return not any(isinstance(key, dict) for key in keys)
    if name == "fractional" and args and isinstance(args[0], list):
        found.update(("targetingKey", "$flagd.flagKey"))
    return _gather(args, found)
