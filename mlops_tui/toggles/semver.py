"""Semantic versions (semver.org 2.0.0): read, also when they are short or begin with a v, and compared."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_PATTERN = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", "^", "~")


class Version(NamedTuple):
    """What of a version orders it; what is behind a plus does not. A release comes after what leads up to it."""

    major: int
    minor: int
    patch: int
    release: bool
    before: tuple[tuple[bool, int, str], ...]


def version(value: Any) -> Version | None:
    """Return the version that a value names, or None; ``1``, ``v1.2`` and ``1.2-rc.1`` are versions."""
    said = str(value)
    said = said[1:] if said[:1] in ("v", "V") else said
    numeric = said.split("-")[0].split("+")[0]
    short = max(0, 2 - numeric.count("."))
    found = _PATTERN.fullmatch(numeric + ".0" * short + said[len(numeric) :])
    if found is None:
        return None
    major, minor, patch, before, _ = found.groups()
    # Numbers come before words, and as numbers.
    parts = tuple((not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in before.split(".")) if before else ()
    return Version(int(major), int(minor), int(patch), not before, parts)


def compared(a: Any, comparison: Any, b: Any) -> bool | None:
    """Compare two versions; None when either is none, or the comparison is unknown.

    ``^`` asks for the same major number, ``~`` for the same major and minor.
    """
    x, y = version(a), version(b)
    if x is None or y is None:
        return None
    match comparison:
        case "=":
            return x == y
        case "!=":
            return x != y
        case "<":
            return x < y
        case "<=":
            return x <= y
        case ">":
            return x > y
        case ">=":
            return x >= y
        case "^":
            return x.major == y.major
        case "~":
            return x[:2] == y[:2]
    return None
