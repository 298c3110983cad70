"""What comes in becomes typed requests, with the mistakes told as MLflow tells them; what goes out becomes JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import parse_qs

import msgspec

from mlops_tui.agent.mlflow.errors import WireError, invalid
from mlops_tui.core.jsonx import ieee_word


class Ask(msgspec.Struct, kw_only=True):
    """Base of requests: fields of another name are passed over, null means absent, numbers may come as text."""

    required: ClassVar[tuple[str, ...]] = ()


A = TypeVar("A", bound=Ask)


def decoder_of(kind: type[A]) -> Callable[[bytes], A]:
    """Return the function that reads bodies of a kind; it raises WireError for what cannot be read."""
    fast = msgspec.json.Decoder(kind, strict=False).decode

    def decode(body: bytes) -> A:
        try:
            return fast(body or b"{}")
        except msgspec.MsgspecError as error:
            return _again(kind, body, error)

    return decode


def _again(kind: type[A], body: bytes, error: msgspec.MsgspecError) -> A:
    """Read what the fast decoder refused: a bare NaN or Infinity, a body that was encoded twice, null for nothing."""
    try:
        values = json.loads(body)
        values = json.loads(values) if isinstance(values, str) else values
    except ValueError:
        raise WireError("BAD_REQUEST", f"the body is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise WireError("BAD_REQUEST", f"the body is a {type(values).__name__}, not an object")
    return converted(kind, values)


def converted(kind: type[A], values: dict[str, Any]) -> A:
    """Return values of a query or a body as a request.

    Raises:
        WireError: a value is of another type; the message names parameter, value and type.
    """
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        at = str(error).rpartition("`$.")[2].rstrip("`") if "`$." in str(error) else ""
        raise wrong_type(at, _at(values, at), str(error)) from error


def wrong_type(path: str, value: Any, why: str = "") -> WireError:
    """Return the error for a value of the wrong type; it says the parameter by the beginning of its path."""
    top = path.partition(".")[0].partition("[")[0] if path else "body"
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)[:1000]
    hint = f"Hint: Value was of type '{type(value).__name__}'. {why}".strip()
    return invalid(f"Invalid value {shown} for parameter '{top}' supplied: {hint}")


def _at(values: Any, path: str) -> Any:
    return values.get(path.partition(".")[0].partition("[")[0]) if isinstance(values, dict) else values


def check_required(ask: Ask) -> None:
    """Refuse a request whose required parameters are missing or empty.

    Raises:
        WireError: it names the first.
    """
    for name in ask.required:
        value = getattr(ask, name)
        if value is None or value in ("", []):
            raise absent(name)


def absent(path: str) -> WireError:
    """Return the error for a parameter that must be given."""
    return invalid(f"Missing value for required parameter '{path}'.")


def from_query(kind: type[A], query: bytes, names: dict[str, str]) -> A:
    """Read a request from a query string and the names in its path.

    Raises:
        WireError: a value is of another type.
    """
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True) if query else {}
    lists = _lists(kind)
    values: dict[str, Any] = {key: found if key in lists else found[-1] for key, found in given.items()}
    return converted(kind, {**values, **names})


@lru_cache(maxsize=256)
def _lists(kind: type[Ask]) -> frozenset[str]:
    """Return the fields that hold lists."""
    hints = get_type_hints(kind)
    return frozenset(
        field.name
        for field in msgspec.structs.fields(kind)
        if any(get_origin(one) is list or one is list for one in (hints[field.name], *get_args(hints[field.name])))
    )


def number(value: float) -> float | str:
    """Return a float as it is written: what JSON has no number for is a word in quotes."""
    return value if math.isfinite(value) else ieee_word(value)


encode = msgspec.json.Encoder().encode
"""Writes an answer; fields that are not set are left out of it by whoever makes it."""
