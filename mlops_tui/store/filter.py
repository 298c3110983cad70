"""The one filter language: what people type after ``/`` and what ``--filter`` takes, compiled to SQL.

``status:done auc>0.9 ~resnet census`` — conditions are joined by *and*; ``key:value`` equals, ``key:a,b`` is one of,
``key~text`` contains, ``!= <= >= < > =`` compare, ``-word`` excludes, ``~text`` and bare words look in every text
column. Times compare with ages: ``started>-2h``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mlops_tui.contracts.listing import Column
from mlops_tui.core.clock import DAY, HOUR, MINUTE, SECOND, now_us
from mlops_tui.core.errors import BadInput

_TOKEN = re.compile(
    r"""\s*(?P<not>-)?(?:(?P<key>[A-Za-z_][\w./-]*?)(?P<op>!=|>=|<=|[:=<>~]))?(?P<value>~?(?:"[^"]*"|'[^']*'|\S+))"""
)
_AGE = re.compile(r"^-(\d+(?:\.\d+)?)([smhdw])$")
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_NUMERIC = {"int", "float", "percent", "bytes", "duration", "time"}


class Condition(NamedTuple):
    """A WHERE clause and its parameters."""

    sql: str
    params: list[Any]


Other = Callable[[str], tuple[str, str] | None]
"""Gives the SQL expression and the kind of a key that is no column (a metric of runs, say), or None."""


def compile_filter(
    text: str, columns: list[Column], expressions: Mapping[str, str], other: Other = lambda _: None
) -> Condition:
    """Turn a filter into SQL.

    Args:
        text: what the person typed.
        columns: the list's columns, which give each key its kind.
        expressions: the SQL expression of each column.
        other: asked for keys that are no columns.

    Raises:
        BadInput: an unknown key or a value that does not fit, with a caret under the place.
    """
    kinds = {column.name: column.kind for column in columns}
    parts: list[str] = []
    params: list[Any] = []
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _wrong(text, at, "this is no condition")
        if (key := found["key"]) and key not in kinds and (more := other(key)):
            expressions, kinds = {**expressions, key: more[0]}, {**kinds, key: more[1]}
        sql, values = _condition(text, found, kinds, columns, expressions)
        parts.append(f"NOT coalesce({sql}, false)" if found["not"] else sql)
        params.extend(values)
        at = found.end()
    return Condition(" AND ".join(f"({part})" for part in parts) or "true", params)


def _condition(
    text: str,
    found: re.Match[str],
    kinds: Mapping[str, str],
    columns: list[Column],
    expressions: Mapping[str, str],
) -> tuple[str, list[Any]]:
    key, op, value = found["key"], found["op"], found["value"].strip("\"'")
    if key is None:
        words = [column.name for column in columns if column.kind not in _NUMERIC]
        return " OR ".join(f"{expressions[name]}::VARCHAR ILIKE ?" for name in words) or "false", [
            f"%{value.removeprefix('~')}%"
        ] * len(words)
    if key not in kinds:
        raise _wrong(text, found.start("key"), f"there is no column {key!r}; there are {', '.join(kinds)}")
    column = expressions[key]
    if op == "~":
        return f"{column}::VARCHAR ILIKE ?", [f"%{value}%"]
    values = [
        _value(text, found.start("value"), part, kinds[key]) for part in (value.split(",") if op == ":" else [value])
    ]
    if op == ":":
        return f"{column} IN ({', '.join('?' * len(values))})", values
    return f"{column} {op} ?", values


def _value(text: str, at: int, value: str, kind: str) -> Any:
    if kind == "flag":
        return value.lower() in ("1", "true", "yes", "on")
    if kind not in _NUMERIC:
        return value
    if kind == "time" and (age := _AGE.match(value)):
        return now_us() - int(float(age[1]) * _UNITS[age[2]])
    try:
        return float(value)
    except ValueError:
        raise _wrong(text, at, f"{value!r} is not a number") from None


def _wrong(text: str, at: int, why: str) -> BadInput:
    return BadInput(
        f"cannot read the filter: {why}", f"{text}\n{' ' * at}^", "for example: status:done auc>0.9 ~resnet"
    )
