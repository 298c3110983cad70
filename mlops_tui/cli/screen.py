"""Tables on a terminal: the only place that loads rich."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlops_tui.cli import cells
from mlops_tui.cli.shapes import Block, Facts, Grid, Lines

if TYPE_CHECKING:
    from mlops_tui.cli.options import Wishes


def paint(blocks: Sequence[Block], wishes: Wishes) -> None:
    """Print blocks in the width of the terminal; long cells are cut with an ellipsis, facts are wrapped."""
    paints = wishes.paints(sys.stdout)
    console = Console(
        no_color=not paints, force_terminal=True if paints else None, highlight=False, emoji=False, markup=False
    )
    first = True
    for block in blocks:
        drawn = _drawn(block)
        if drawn is None:
            continue
        if not first:
            console.print()
        first = False
        if title := getattr(block, "title", ""):
            console.print(Text(cells.clean(title), "bold"))
        console.print(drawn)


def _drawn(block: Block) -> Table | Text | None:
    if isinstance(block, Lines):
        return Text("\n".join(cells.clean(line) for line in block.text))
    if isinstance(block, Facts):
        known = [one for one in block.values if one[2] not in (None, "", [], {})]
        return _facts(known) if known else None
    return _grid(block)


def _facts(values: Sequence[tuple[str, str, object]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bright_black", no_wrap=True)
    table.add_column(overflow="fold")
    for label, kind, value in values:
        table.add_row(cells.clean(label), _cell(kind, value))
    return table


def _grid(grid: Grid) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black")
    for column in grid.columns:
        table.add_column(
            Text(f"{column.label} {column.unit}".strip()),
            justify="right" if column.kind in cells.RIGHT else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=8 if column.kind == "id" else None,
        )
    for row in grid.rows:
        table.add_row(*(_cell(column.kind, value) for column, value in zip(grid.columns, row, strict=True)))
    return table


def _cell(kind: str, value: object) -> Text:
    text = cells.shown(kind, value)
    if text == cells.NONE or kind in ("id", "time", "duration"):
        return Text(text, "bright_black")
    return Text(text, cells.COLORS[cells.tone(value)] if kind == "status" else "")
