"""Changing one value of a TOML file in place. Everything else, comments too, stays as a person wrote it."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

from mlops_tui.core.errors import BadInput

_HEADER = re.compile(r"^\s*\[([^\[\]]+)\]\s*(#.*)?$")
_PAIR = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")


def with_value(text: str, key: str, value: str | int | float | bool) -> str:
    """Return the text of a TOML file with one dotted key set.

    Raises:
        BadInput: the file is no TOML, or is written in a way that cannot be changed without risk.
    """
    before = _parsed(text)
    lines = text.splitlines()
    literal = json.dumps(value, ensure_ascii=False)
    number = line_of(text, key)
    if number:
        lines[number - 1] = _replaced(lines[number - 1], literal)
    else:
        lines.insert(*_new_line(lines, key, literal))
    after = "\n".join(lines) + "\n"
    wanted = _flat(before) | {key: value}
    try:
        safe = _flat(tomllib.loads(after)) == wanted
    except tomllib.TOMLDecodeError:
        safe = False
    if not safe:
        raise BadInput(
            "the file cannot be changed without risk", f"{key} is written in an unusual way", "edit it by hand"
        )
    return after


def line_of(text: str, key: str) -> int:
    """Return the line, from 1, that sets a dotted key; 0 when none does. ``[tool.mlops]`` counts as the top."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            name = _bare(header[1])
            table = "" if name == "tool.mlops" else name.removeprefix("tool.mlops.") + "."
        elif (pair := _PAIR.match(line)) and table + _bare(pair[1]) == key:
            return number
    return 0


def _new_line(lines: list[str], key: str, literal: str) -> tuple[int, str]:
    """Return where a new key goes, and its line: in its table when that has a header, else before all headers."""
    table, _, name = key.rpartition(".")
    first = len(lines)
    for at, line in enumerate(lines):
        if header := _HEADER.match(line):
            first = min(first, at)
            if table and _bare(header[1]) == table:
                return at + 1, f"{name} = {literal}"
    return first, f"{key} = {literal}"


def _replaced(line: str, literal: str) -> str:
    """Put a new value behind ``=``; a comment after the old one is kept."""
    head, _, rest = line.partition("=")
    comment = re.search(r"""^\s*(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^"'#]*?)(\s*#.*)$""", rest)
    return f"{head}= {literal}{comment[1] if comment else ''}"


def _bare(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput("the configuration is no TOML", str(error), "mend or move the file") from error


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
