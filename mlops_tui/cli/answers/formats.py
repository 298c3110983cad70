"""Blocks as text: aligned for pipes, one fact a line, CSV, Markdown. Colours and widths are not their business."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from mlops_tui.cli.answers import cells
from mlops_tui.cli.answers.shapes import Block, Facts, Grid, Lines
from mlops_tui.core.figures import RIGHT
from mlops_tui.core.printable import clean


def aligned(grid: Grid) -> list[str]:
    """Return a grid as lines of plain text in columns, nothing cut; figures stand at the right."""
    from unicodedata import east_asian_width

    def width(text: str) -> int:
        return sum(2 if east_asian_width(c) in "WF" else 1 for c in text) if not text.isascii() else len(text)

    texts = [[_label(column) for column in grid.columns]]
    texts += [[cells.shown(c.kind, value) for c, value in zip(grid.columns, row, strict=True)] for row in grid.rows]
    widths = [max(width(row[i]) for row in texts) for i in range(len(grid.columns))]

    def line(row: list[str]) -> str:
        parts = []
        for column, text, room in zip(grid.columns, row, widths, strict=True):
            gap = " " * (room - width(text))
            parts.append(gap + text if column.kind in RIGHT else text + gap)
        return "  ".join(parts).rstrip()

    return [line(row) for row in texts]


def _label(column: Any) -> str:
    return f"{column.label} {column.unit}".strip()


def _filled(facts: Facts) -> list[tuple[str, str, Any]]:
    return [(label, kind, value) for label, kind, value in facts.values if value not in (None, "", [], {})]


def as_table(blocks: Sequence[Block]) -> str:
    """Return blocks as aligned text for pipes and files: no colours, nothing cut."""
    parts = []
    for block in blocks:
        if isinstance(block, Lines):
            lines = [clean(line) for line in block.text]
        elif isinstance(block, Facts):
            known = _filled(block)
            room = max((len(label) for label, _, _ in known), default=0)
            lines = [f"{label:<{room}}  {cells.shown(kind, value)}" for label, kind, value in known]
        else:
            lines = aligned(block)
        title = getattr(block, "title", "")
        if lines:
            parts.append("\n".join([clean(title)] * bool(title) + lines) + "\n")
    return "\n".join(parts)


def _as_plain(blocks: Sequence[Block]) -> str:
    """One fact a line, no symbols, no columns: for screen readers and ``grep``."""
    lines: list[str] = []
    for block in blocks:
        if isinstance(block, Lines):
            lines += [clean(line) for line in block.text]
        elif isinstance(block, Facts):
            head = f"{block.title} " if block.title else ""
            lines += [f"{head}{label}: {cells.spoken(kind, value)}" for label, kind, value in _filled(block)]
        else:
            for i, row in enumerate(block.rows, 1):
                head = f"{block.title} {i} " if block.title else ""
                lines += [
                    f"{head}{_label(column) or column.name}: {cells.spoken(column.kind, value)}"
                    for column, value in zip(block.columns, row, strict=True)
                    if value not in (None, "")
                ]
                lines += [""] if not block.title else []
    return "".join(line + "\n" for line in lines)


def _as_csv(blocks: Sequence[Block]) -> str:
    """A lone grid as it is; anything else as lines of key and value, nested names joined by dots."""
    sink = io.StringIO()
    write = csv.writer(sink, lineterminator="\n").writerow
    if len(blocks) == 1 and isinstance(grid := blocks[0], Grid):
        write([column.name for column in grid.columns])
        for row in grid.rows:
            write([cells.whole(column.kind, value) for column, value in zip(grid.columns, row, strict=True)])
        return sink.getvalue()
    write(["key", "value"])
    for block in blocks:
        if isinstance(block, Lines):
            for line in block.text:
                write(["text", line])
        elif isinstance(block, Facts):
            for label, kind, value in block.values:
                write([".".join(part for part in (block.title, label) if part), cells.whole(kind, value)])
        else:
            for i, row in enumerate(block.rows):
                for column, value in zip(block.columns, row, strict=True):
                    write([f"{block.title}.{i}.{column.name}".lstrip("."), cells.whole(column.kind, value)])
    return sink.getvalue()


def _as_md(blocks: Sequence[Block]) -> str:
    parts = []
    for block in blocks:
        if isinstance(block, Lines):
            parts.append("\n".join(clean(line) for line in block.text))
            continue
        if isinstance(block, Facts):
            heads, aligns = ["", ""], ["---", "---"]
            rows = [[label, cells.shown(kind, value)] for label, kind, value in _filled(block)]
        else:
            heads = [_label(column) for column in block.columns]
            aligns = ["---:" if column.kind in RIGHT else "---" for column in block.columns]
            rows = [[cells.shown(c.kind, v) for c, v in zip(block.columns, row, strict=True)] for row in block.rows]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (heads, aligns, *rows)]
        parts.append("\n".join(([f"### {block.title}", ""] if block.title else []) + lines))
    return "\n\n".join(parts) + "\n"


FORMATS: dict[str, Callable[[Sequence[Block]], str]] = {
    "table": as_table,
    "plain": _as_plain,
    "csv": _as_csv,
    "md": _as_md,
}
