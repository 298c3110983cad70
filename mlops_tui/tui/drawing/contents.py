"""What is in a file, as lines: text, tables, confusion matrices; pictures are for the picture widget."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from mlops_tui.core.errors import BadInput
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing.text import Line, Part, grid, line

Writer = Callable[[int], Sequence[Line]]

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")
_MOST_LINES, _MOST_CHARS = 5_000, 2_000
_SHADES = " ░▒▓█"
_IN_TEXT = b"\t\n\r\f\b\x1b" + bytes(range(32, 256))
"""Bytes that a text may have; with any other it is none, even where it could be read as one."""


def is_picture(path: str) -> bool:
    """Tell from its name whether a file is a picture made of pixels."""
    return PurePosixPath(path).suffix.lower() in PICTURES


def writer_of(path: str, content: bytes) -> Writer:
    """Return what writes the content of a file for a width in cells."""
    suffix = PurePosixPath(path).suffix.lower()
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(content)  # of a large file the last letter may be cut
    except UnicodeDecodeError:
        return lambda cells: _bytes(content, cells)
    if content.translate(None, _IN_TEXT):
        return lambda cells: _bytes(content, cells)
    with suppress(ValueError, RecursionError, csv.Error):  # then it is text like any other
        if suffix == ".json":
            return _document(json.loads(text))
        if suffix in (".csv", ".tsv"):
            read = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if suffix == ".tsv" else ",")
            if rows := list(islice(read, _MOST_LINES)):
                return lambda cells: _table(rows[0], rows[1:])
    return lambda cells: [line(one[:_MOST_CHARS]) for one in text.splitlines()[:_MOST_LINES]]


def _document(value: Any) -> Writer:
    said: Any = value if isinstance(value, dict) else {}
    labels, matrix, columns, data = (said.get(name) for name in ("labels", "matrix", "columns", "data"))
    if said.get("kind") == "confusion_matrix" and _is_grid(labels, matrix) and _counts(len(labels), matrix):
        return lambda cells: confusion(list(map(str, labels)), matrix, cells)
    if _is_grid(columns, data):
        return lambda cells: _table(list(map(str, columns)), data)
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return lambda cells: [line(one[:_MOST_CHARS]) for one in text.splitlines()[:_MOST_LINES]]


def _is_grid(head: Any, rows: Any) -> bool:
    """Tell whether these are a list and a list of lists: others write other things by the same names."""
    return isinstance(head, list) and isinstance(rows, list) and all(isinstance(row, list) for row in rows)


def _counts(n: int, matrix: list[list[Any]]) -> bool:
    """Tell whether a matrix is square, of numbers that can be counted."""
    values = [value for row in matrix for value in row]
    plain = all(type(value) in (int, float) and 0 <= value < math.inf for value in values)
    return plain and len(matrix) == n and all(len(row) == n for row in matrix)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Line]:
    """Return a table; columns whose every value is a figure stand at the right."""
    shown = rows[:_MOST_LINES]
    columns = [[row[i] for row in shown if i < len(row)] for i in range(len(head))]
    aligned = ["r" if values and all(map(_is_figure, values)) else "l" for values in columns]
    body: list[list[Part]] = [[(name, "dim") for name in head]]
    for row in shown:
        body.append([_value(value) for value in row])
    return grid(body, "".join(aligned))


def _is_figure(value: Any) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return value is None or isinstance(value, int | float)


def _value(value: Any) -> Line:
    if value is None:
        return line((fmt.NONE, "faint"))
    if isinstance(value, float):
        return line(fmt.number(value, 5))
    return line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def confusion(labels: Sequence[str], matrix: Sequence[Sequence[float]], cells: int) -> list[Line]:
    """Return a confusion matrix: a row for each true class, shaded by its share, with recall, precision and accuracy.

    Raises:
        BadInput: it is not square.
    """
    n = len(labels)
    if len(matrix) != n or any(len(row) != n for row in matrix):
        raise BadInput("this is no confusion matrix", f"{n} labels, {len(matrix)} rows")
    rows = [sum(row) for row in matrix]
    columns = [sum(row[i] for row in matrix) for i in range(n)]
    total, right = sum(rows), sum(matrix[i][i] for i in range(n))
    wide = max(4, min(10, (cells - 24) // max(1, n) - 2))
    body: list[list[Part]] = [[("true ╲ predicted", "faint"), *((name, "dim") for name in labels), ("recall", "dim")]]
    for i, row in enumerate(matrix):
        shaded = [_shaded(value, rows[i], wide, i == j) for j, value in enumerate(row)]
        body.append([(labels[i], "dim"), *shaded, _share(row[i], rows[i])])
    precision = [_share(matrix[i][i], columns[i]) for i in range(n)]
    body.append([("precision", "dim"), *precision, line(_share(right, total), (" accuracy", "dim"))])
    return [*grid(body, "l" + "r" * n + "l"), (), line((f"{total:,} rows", "dim"))]


def _shaded(value: float, of: float, wide: int, right: bool) -> Line:
    share = value / of if of else 0.0
    shade = _SHADES[min(4, round(share * 4))]
    tone = ("ok" if right else "fail") if share >= 0.005 else "faint"
    figure = f"{value:,.0f}" if value == int(value) else fmt.number(value)
    return line((shade * max(0, wide - len(figure) - 1), tone), " ", (figure, "*text" if right else "text"))


def _share(part: float, of: float) -> Line:
    return line(fmt.share(part / of, 1)) if of else line((fmt.NONE, "faint"))


def _bytes(content: bytes, cells: int) -> list[Line]:
    """Return the beginning of a file that is no text, sixteen bytes a line."""
    lines = [line(("this is no text and no picture; its first bytes:", "dim")), ()]
    for at in range(0, min(len(content), 512), 16):
        piece = content[at : at + 16]
        plain = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in piece)
        lines.append(line((f"{at:06x}  ", "faint"), f"{piece.hex(' '):<47}", (f"  {plain}", "dim")))
    return lines
