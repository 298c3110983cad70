"""flagd's ``fractional``: the same key falls into the same bucket, here and in every other provider."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import Any, NamedTuple

from mlops_tui.toggles.cbor import cbor
from mlops_tui.toggles.murmur import murmur3

MOST = 2**31 - 1
"""What the weights of one operator may add up to."""


def fractional(data: Any, args: list[Any]) -> Any:
    """Return the value of the bucket that the key falls into; None when there is no key or a weight is not one.

    Args:
        data: the context: without a key of their own, buckets go by flag and ``targetingKey``.
        args: a key, which may be left out, then buckets ``[value, weight]`` or ``[value]``, which weighs 1.
    """
    if not args:
        return None
    if isinstance(args[0], list):
        return _fallen(_own_key(data), _bounds(args))
    return _fallen(args[0], _bounds(args[1:]))


def by_own_key(buckets: list[Any]) -> Callable[[Any], Any]:
    """Return ``fractional`` over buckets that are constants and without a key: their bounds are worked out once."""
    bounds = _bounds(buckets)
    return lambda data: _fallen(_own_key(data), bounds)


class _Bounds(NamedTuple):
    ends: list[int]
    values: list[Any]


def _bounds(buckets: list[Any]) -> _Bounds | None:
    found = [_bucket(one) for one in buckets]
    known = [one for one in found if one is not None]
    ends = list(accumulate(weight for _, weight in known))
    if len(known) < len(found) or not ends or not 0 < ends[-1] <= MOST:
        return None
    return _Bounds(ends, [value for value, _ in known])


def _fallen(key: Any, bounds: _Bounds | None) -> Any:
    if key is None or bounds is None:
        return None
    try:
        at = murmur3(cbor(key)) * bounds.ends[-1] >> 32
    except ValueError:
        return None
    return bounds.values[bisect_right(bounds.ends, at)]


def _own_key(data: Any) -> list[str] | None:
    key = data.get("targetingKey")
    return [data.get("$flagd", {}).get("flagKey", ""), key] if key and isinstance(key, str) else None


def _bucket(arg: Any) -> tuple[Any, int] | None:
    match arg:
        case [value]:
            return value, 1
        case [value, bool()]:
            return None
        case [value, int(weight)]:
            # A negative one may be the result of a calculation: nobody falls into it.
            return value, max(0, weight)
    return None
