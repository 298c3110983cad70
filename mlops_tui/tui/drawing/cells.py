"""How one value of a list is shown, by the kind that its column declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlops_tui.core.clock import HOUR
from mlops_tui.core.figures import RIGHT
from mlops_tui.core.ids import opaque, short, shortened
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import words
from mlops_tui.tui.drawing.text import Line, cut, line, width

if TYPE_CHECKING:
    from mlops_tui.contracts.listing import Column

_EXACT = frozenset(("id", "time", "float", "bytes", "duration", "percent", "text"))
_SENTENCE = 30
"""Cells from which on a text is no word but a sentence, of which the first ten say nothing."""
_MOST = {"id": 12, "text": 44, "status": 16, "spark": 12}


def align(column: Column) -> str:
    """Return ``right`` for figures, ``left`` for words."""
    return "right" if column.kind in RIGHT else "left"


def label(column: Column) -> str:
    """Return the heading: its label and unit, of a key its name without what kind of key it is."""
    scope, _, key = column.label.partition(".")
    known = key if scope in ("metrics", "params", "tags") and key else column.label
    return f"{known.removesuffix('.curve')} {column.unit}".strip()


def cell(column: Column, value: Any, whole: bool = False) -> Line:
    """Return a value as its column's kind wants it shown; ``whole`` shows every digit of it."""
    if value is None or value == "":
        return line((fmt.NONE, "faint"))
    if whole and column.kind in _EXACT:
        return line((exact(column, value), "text"))
    match column.kind:
        case "id":
            return line((short(value) if opaque(value) else str(value), "dim"))
        case "status":
            return words.state(str(value))
        case "float":
            # What is not a number travels as a word (NaN, Infinity).
            return line(fmt.number(float(value)) if not isinstance(value, str) else (value, "warn"))
        case "int":
            return line(f"{value:,}" if isinstance(value, int) else str(value))
        case "percent":
            return line(fmt.percent(float(value), 0))
        case "share":
            return line(fmt.share(float(value)))
        case "rate":
            return line(f"{fmt.size(value)}/s")
        case "hours":
            return line((fmt.duration(HOUR * value), "dim"))
        case "bytes":
            return line(fmt.size(value))
        case "time":
            return line((fmt.when(int(value)), "dim"))
        case "duration":
            return line((fmt.duration(value), "dim"))
        case "flag":
            return line(("✔", "ok")) if value else line(("·", "faint"))
        case "spark":
            return line((fmt.spark(value), "accent"))
        case _:
            return line(shortened(str(value)))


def exact(column: Column, value: Any) -> str:
    """Return a value whole, for copying and exports: the full id, the time to the second, every digit."""
    if value is None:
        return ""
    if column.kind == "time":
        return fmt.exact(int(value))
    return str(value)


def measure(columns: Sequence[Column], rows: Sequence[Sequence[Any]], whole: bool = False) -> list[int]:
    """Return how wide each column would like to be, from its heading and some of its rows."""
    widths = [width(line(label(column))) + 1 for column in columns]
    for row in rows:
        for i, (column, value) in enumerate(zip(columns, row, strict=False)):
            most = 60 if whole else _MOST.get(column.kind, 18)
            widths[i] = max(widths[i], min(most, width(cell(column, value, whole))))
    return widths


def fit(widths: Sequence[int], columns: Sequence[Column], room: int, gap: int = 2) -> list[int]:
    """Return widths with which as many of the first columns as possible fit into ``room``.

    A name or a sentence needs 24 cells at least (half the room where that is little), another text 10, a figure what
    it is; what is left over goes to the columns that would like more, from the left. Columns beyond keep what they
    like: one reaches them by moving right.
    """
    some = min(24, max(10, room // 2))
    least = [
        min(width, some if column.name == "name" or width >= _SENTENCE else 10) if column.kind == "text" else width
        for width, column in zip(widths, columns, strict=True)
    ]
    fitted, left = list(widths), room
    for taken, need in enumerate(least):
        if need > left >= 10 and widths[taken] >= _SENTENCE:
            need = left  # what is left of the room says more of it than nothing
        if need > left:
            break
        fitted[taken] = need
        left -= need + gap
    else:
        taken = len(least)
    left += gap
    for i in range(taken):
        more = max(0, min(widths[i] - fitted[i], left))
        fitted[i] += more
        left -= more
    return fitted


def heading(column: Column, cells: int, sort: str, marked: bool) -> Line:
    """Return a column's heading with its sort mark; the marked column is the one that ``s`` sorts by."""
    arrow = "▲" if sort == column.name else "▼" if sort == f"-{column.name}" else ""
    text = line((label(column), "accent" if marked else "dim"))
    return line(cut(text, cells - len(arrow)), (arrow, "accent"))
