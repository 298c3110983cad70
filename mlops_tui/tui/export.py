"""Writing what is shown: the screen as SVG, the list on it as CSV."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_tui.core.errors import MlopsError
from mlops_tui.tui import cells
from mlops_tui.tui.views import PAGE
from mlops_tui.tui.widgets.table import Table

if TYPE_CHECKING:
    from mlops_tui.tui.app import MlopsApp

MOST_ROWS = 10_000


async def export(app: MlopsApp, folder: Path | None = None) -> list[str]:
    """Write the present screen, and the rows of its focused list, into a folder; default, the working folder.

    Returns:
        The paths that were written.

    Raises:
        MlopsError: a file could not be written.
    """
    folder = folder or Path.cwd()
    stem = f"mlops-{app.face.SCOPE}-{datetime.now():%Y%m%d-%H%M%S}"
    written = []
    try:
        written.append(app.save_screenshot(f"{stem}.svg", str(folder)))
        table = app.face.focused
        if isinstance(table, Table):
            path = folder / f"{stem}.csv"
            await _rows(table, path)
            written.append(str(path))
    except OSError as error:
        app.show_problem(
            MlopsError(
                f"cannot write into {folder}", str(error.strerror or error), "start mlops in a folder you may write"
            )
        )
    return written


async def _rows(table: Table, path: Path) -> None:
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow([column.name for column in table.columns])
        for offset in range(0, min(table.total, MOST_ROWS), PAGE):
            for row in await table.rows(offset, PAGE):
                out.writerow([cells.exact(column, value) for column, value in zip(table.columns, row, strict=False)])
