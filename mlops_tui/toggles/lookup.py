"""Finding a value in the context by a dotted path, as JsonLogic's ``var`` does."""

from __future__ import annotations

from typing import Any

from mlops_tui.toggles.values import text


def lookup(data: Any, key: Any, default: Any) -> Any:
    """Return what a key or path leads to; null and what is not there are the default.

    Args:
        data: the context, or inside ``map`` and its kin one element.
        key: a name, a path of names and indices with dots, or an index; null and the empty text mean the whole.
        default: what to return instead.
    """
    if key is None or (isinstance(key, str) and not key):
        return data
    if isinstance(key, int | float):
        if not isinstance(data, list | str):
            return default
        index = _index(key)
        return data[index] if 0 <= index < len(data) else default
    for name in text(key).split("."):
        if isinstance(data, dict):
            data = data.get(name)
        elif not isinstance(data, list | str):
            return default
        elif name == "length":
            return len(data)
        elif name.isdecimal() and name == str(int(name)) and int(name) < len(data):
            data = data[int(name)]
        else:
            return default
    return default if data is None else data


def _index(key: int | float) -> int:
    """Return an index; -1 when it is no whole number."""
    return -1 if key != key or int(key) != key else int(key)
