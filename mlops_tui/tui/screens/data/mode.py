"""Data: versions of data sets, what is in the one under the cursor, and the features made from them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.data import DataVersion
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing.text import Line, Part, grid, join, line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.screens.frame.browser import Browser, named
from mlops_tui.tui.widgets.lines import Lines, Row
from mlops_tui.tui.widgets.table import Table


class DataMode(Browser):
    """Data set versions, their columns, and features."""

    SCOPE = "data"
    MODE = "data"
    LISTS: ClassVar[dict[str, str]] = {"data": "data", "features": "feature"}
    BINDINGS = bindings("data")
    DEFAULT_CSS = """
    DataMode > #body { layout: grid; grid-size: 20 2; grid-rows: 1fr 1fr; }
    DataMode #data { column-span: 20; }
    DataMode #columns { column-span: 11; }
    DataMode #features { column-span: 9; }
    DataMode.-narrow > #body { grid-rows: 3fr 4fr; }
    DataMode.-narrow #columns { column-span: 20; }
    DataMode.-narrow #features { display: none; }
    """

    def panels(self) -> ComposeResult:
        """Yield the lists and the preview."""
        yield Table(
            "Data sets",
            "panel.open data.diff=compare_with_the_version_before",
            empty="no data yet — mlops data add NAME FILE",
            ident="data",
        )
        yield Lines("Columns", empty="columns of the data set under the cursor: types, gaps, ranges", ident="columns")
        yield Table("Features", empty="no features yet — mlops feature apply FILE", sort="name", ident="features")

    async def preview(self) -> None:
        """Show the columns of the version under the cursor."""
        table, panel = self.table("data"), self.lines("columns")
        if table.current is None:
            panel.show([])
            return
        found: DataVersion | None = await self.fill(panel, self.door.call("data.show", {"data": named("data", table)}))
        if found is not None:
            panel.title = f"{found.name}@{found.version}"
            panel.figure = state(found)
            panel.show(lambda cells: columns(found, cells))

    async def open_object(self, noun: str, name: str, rest: str = "") -> None:
        """Open a data set version or a feature."""
        if noun == "feature":
            await super().open_object(noun, name)
            return
        from mlops_tui.tui.screens.data.dataset import Dataset

        await self.app.push_screen(Dataset(name))

    async def action_diff(self) -> None:
        """Open the version and its difference to the one before."""
        if self.table("data").current:
            from mlops_tui.tui.screens.data.dataset import Dataset

            await self.app.push_screen(Dataset(named("data", self.table("data")), diff=True))


def state(found: DataVersion) -> Line:
    """Return rows, size and the outcome of the checks."""
    told = line((f"{found.rows:,} rows · {fmt.size(found.size)}", "dim"))
    if found.checks is None:
        return join([told, line(("? not checked", "unknown"))])
    return join([told, line(("✔ checks", "ok")) if found.checks.get("passed") else line(("✖ checks", "fail"))])


def columns(found: DataVersion, cells: int) -> list[Row]:
    """Return a line a column: type, missing values, range, and the shape of its values."""
    head: list[Part] = [
        ("column", "dim"),
        ("type", "dim"),
        ("null", "dim"),
        ("distinct", "dim"),
        ("range", "dim"),
        ("", "dim"),
    ]
    shape = 20 if cells >= 90 else 10
    body = [head, *(_column(one, shape) for one in found.profile.get("columns", []))]
    return [Row(made) for made in grid(body, "llrrll", room=cells)]


def _column(one: dict[str, Any], shape: int) -> list[Part]:
    nulls = one.get("nulls", 0) / (one.get("n") or 1)
    odd = one.get("nonfinite", 0)
    share: Line = line((fmt.share(nulls, 1) if nulls else "·", "warn" if nulls > 0.05 else "dim"))
    counts = one.get("counts") or [count for _, count in one.get("top", [])]
    return [
        one["name"],
        (str(one.get("type", "")).lower(), "dim"),
        line(share, (f" {odd} NaN", "fail")) if odd else share,
        (fmt.number(one.get("distinct", 0)), "dim"),
        (f"{_end(one.get('min'))} … {_end(one.get('max'))}", "text"),
        (fmt.spark(pressed(counts, shape), shape), "accent"),
    ]


def pressed(counts: Sequence[float], cells: int) -> list[float]:
    """Return a histogram in at most ``cells`` bins: neighbours become their mean, none is left out."""
    bins = min(cells, len(counts))
    ends = [i * len(counts) // bins for i in range(bins + 1)] if bins else []
    return [sum(counts[low:high]) / (high - low) for low, high in itertools.pairwise(ends)]


def _end(value: Any) -> str:
    return fmt.round_number(value) if isinstance(value, int | float) else fmt.NONE if value is None else str(value)[:12]


MODE_SCREEN = DataMode
