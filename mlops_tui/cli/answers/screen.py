"""Tables on a terminal: the only place that loads rich."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from mlops_tui.cli.answers import cells
from mlops_tui.cli.answers.shapes import Block, Facts, Grid, Lines
from mlops_tui.core.figures import NONE, RIGHT
from mlops_tui.core.printable import clean
from mlops_tui.core.states import tone

if TYPE_CHECKING:
    from mlops_tui.cli.options import Wishes

GAP = 2
READABLE = 24
"""Columns of the screen to which a long cell may be cut before its column is left out instead."""

_SAYS_SOMETHING = 10
"""Columns of the screen from which on the beginning of a sentence is worth its place."""


def paint(blocks: Sequence[Block], wishes: Wishes) -> None:
    """Print blocks in the width of the terminal; long cells are cut with an ellipsis, facts are wrapped."""
    paints = wishes.paints(sys.stdout)
    console = Console(
        no_color=not paints, force_terminal=True if paints else None, highlight=False, emoji=False, markup=False
    )
    first = True
    for block in blocks:
        drawn = _drawn(block, console.width)
        if drawn is None:
            continue
        if not first:
            console.print()
        first = False
        if title := getattr(block, "title", ""):
            console.print(Text(clean(title), "bold"))
        console.print(drawn)


def _drawn(block: Block, width: int) -> Table | Text | None:
    if isinstance(block, Lines):
        return Text("\n".join(clean(line) for line in block.text))
    if isinstance(block, Facts):
        known = [one for one in block.values if one[2] not in (None, "", [], {})]
        return _facts(known) if known else None
    return _grid(block, width)


def _facts(values: Sequence[tuple[str, str, object]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bright_black", no_wrap=True)
    table.add_column(overflow="fold")
    for label, kind, value in values:
        table.add_row(clean(label), _cell(kind, value))
    return table


def _grid(grid: Grid, width: int) -> Table:
    """Draw a table; where room is short, columns in which nothing stands give way before those that say something."""
    full = _laid(grid, width)
    if full.caption is None:
        return full
    said = [i for i, _ in enumerate(grid.columns) if any(cells.says(row[i]) for row in grid.rows)]
    return _laid(
        Grid(grid.title, [grid.columns[i] for i in said], [[row[i] for i in said] for row in grid.rows]), width
    )


def _laid(grid: Grid, width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black")
    drawn = [[_cell(column.kind, row[i]) for row in grid.rows] for i, column in enumerate(grid.columns)]
    heads = [Text(f"{column.label} {column.unit}".strip()) for column in grid.columns]
    wanted = [max(text.cell_len for text in (head, *below)) for head, below in zip(heads, drawn, strict=True)]
    rooms = _rooms(wanted, width)
    for column, head, room in zip(grid.columns, heads, rooms, strict=False):
        justify: JustifyMethod = "right" if column.kind in RIGHT else "left"
        table.add_column(head, justify=justify, no_wrap=True, overflow="ellipsis", width=room)
    for row in zip(*drawn[: len(rooms)], strict=True):
        table.add_row(*row)
    if left := [column.label or column.name for column in grid.columns[len(rooms) :]]:
        table.caption = Text(f"no room for {', '.join(left)}; --fields chooses", "bright_black")
        table.caption_justify = "left"
    return table


def _rooms(wanted: Sequence[int], width: int) -> list[int]:
    """Return the widths of the columns that are shown: long cells are cut first, then columns are left out.

    They are left out from the right, a list says first what matters most; a sentence takes what room is left.
    """
    least = [min(READABLE, one) for one in wanted]
    kept = max(1, sum(used - GAP <= width for used in accumulate(one + GAP for one in least)))
    rooms, spare = least[:kept], width - sum(least[:kept]) - GAP * (kept - 1)
    if kept < len(wanted) and wanted[kept] > READABLE and spare >= GAP + _SAYS_SOMETHING:
        return [*rooms, spare - GAP]  # a sentence says more in what is left than nothing
    for i, one in enumerate(wanted[:kept]):
        more = max(0, min(one - rooms[i], spare))
        rooms[i] += more
        spare -= more
    return rooms


def _cell(kind: str, value: object) -> Text:
    text = cells.shown(kind, value)
    if text == NONE or kind in ("id", "time", "duration"):
        return Text(text, "bright_black")
    return Text(text, cells.COLORS[tone(str(value))] if kind == "status" else "")
