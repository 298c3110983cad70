"""Writing what is shown into the working folder: the screen as SVG, the rows of its list as CSV, JSON or Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops_tui.core.errors import MlopsError
from mlops_tui.tui.drawing import cells
from mlops_tui.tui.drawing.text import plain
from mlops_tui.tui.news.views import PAGE
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.table import Table

if TYPE_CHECKING:
    from mlops_tui.contracts.listing import Column
    from mlops_tui.tui.app import MlopsApp

MOST_ROWS = 10_000

Rows = list[list[Any]]


class Form(NamedTuple):
    """A form that something shown can be written in: what it is, how its file's name ends, and who makes its text."""

    what: str
    ending: str
    make: Callable[[Sequence[Column], Rows], str] | None = None


def forms(app: MlopsApp) -> list[Form]:
    """Return the forms that the present screen can be written in, the likeliest first."""
    screen, focused = Form("the screen as a picture", "svg"), app.face.focused
    if isinstance(focused, Table):
        number = len(focused.selected)
        rows = f"the {number} selected rows" if number else f"the list, {min(focused.total, MOST_ROWS):,} rows"
        made = (("CSV", "csv", _csv), ("JSON", "json", _json), ("Markdown", "md", _markdown))
        return [*(Form(f"{rows} as {name}", ending, make) for name, ending, make in made), screen]
    return [screen, *([Form("the panel as text", "txt")] if isinstance(focused, Lines) else [])]


async def write(app: MlopsApp, form: Form, folder: Path | None = None) -> str:
    """Write the present screen, or its focused list or panel, into a folder; default, the working folder.

    Returns:
        The path that was written.

    Raises:
        MlopsError: it cannot be written there.
    """
    folder = folder or Path.cwd()
    path = folder / f"mlops-{app.face.SCOPE}-{datetime.now():%Y%m%d-%H%M%S}.{form.ending}"
    focused = app.face.focused
    try:
        if form.make is not None and isinstance(focused, Table):
            path.write_text(form.make(focused.columns, await _rows(focused)), newline="")
        elif form.ending == "txt" and isinstance(focused, Lines):
            path.write_text("".join(f"{plain(row.line).rstrip()}\n" for row in focused.rows))
        else:
            app.save_screenshot(path.name, str(folder))
    except OSError as error:
        why = str(error.strerror or error)
        raise MlopsError(f"cannot write into {folder}", why, "start mlops in a folder you may write") from error
    return str(path)


async def _rows(table: Table) -> Rows:
    """Return the selected rows, or all of the list up to a limit."""
    if table.selected:
        return list(table.selected.values())
    found: Rows = []
    for offset in range(0, min(table.total, MOST_ROWS), PAGE):
        found += await table.rows(offset, PAGE)
    return found


def _csv(columns: Sequence[Column], rows: Rows) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([column.name for column in columns])
    writer.writerows(_exact(columns, row) for row in rows)
    return out.getvalue()


def _json(columns: Sequence[Column], rows: Rows) -> str:
    names = [column.name for column in columns]
    return json.dumps([dict(zip(names, row, strict=False)) for row in rows], indent=1, ensure_ascii=False) + "\n"


def _markdown(columns: Sequence[Column], rows: Rows) -> str:
    head = [cells.label(column) for column in columns]
    rule = ["--:" if cells.align(column) == "right" else "---" for column in columns]
    lines = [head, rule, *(_exact(columns, row) for row in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def _exact(columns: Sequence[Column], row: Sequence[Any]) -> list[str]:
    return [cells.exact(column, value) for column, value in zip(columns, row, strict=False)]
