"""Runs: experiments, their runs, and the newest figures of the one under the cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from textual.app import ComposeResult

from mlops_tui.contracts.run import Run
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.frame.base import Face
from mlops_tui.tui.screens.frame.browser import Browser
from mlops_tui.tui.screens.runs import edit as run_edit
from mlops_tui.tui.screens.runs.charts import curves_of, pinned_beside
from mlops_tui.tui.screens.runs.run_lines import drawable, outline
from mlops_tui.tui.widgets.curve import Curve
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.table import Table
from mlops_tui.tui.work import start

_EMPTY = "no runs yet — mlops train script.py, or in your own script: with mlops.start_run() as run: …"
_DELETED = "deleted:yes"
_HINTS = (
    "table.columns=columns table.views=views table.select runs.compare runs.analyse",
    "runs.compare runs.analyse runs.note runs.tags runs.delete=delete app.export=write",
)


class _Listed(NamedTuple):
    """A list: its name, what is said where it is empty, and which keys do something in it, and among deleted ones.

    ``hints`` are two where it is another thing to have several rows selected.
    """

    name: str
    empty: str
    hints: tuple[str, ...]
    among_deleted: tuple[str, ...]


_LISTED = {
    "runs": _Listed("Runs", _EMPTY, _HINTS, ("table.select runs.delete=restore runs.deleted=back",)),
    "experiments": _Listed(
        "Experiments",
        "no experiments yet — the first run makes one",
        ("panel.open=only_these",),
        ("runs.delete=restore runs.deleted=back",),
    ),
}


class Runs(Browser):
    """The list of runs, narrowed by the experiment under the cursor of the small list."""

    SCOPE = "runs"
    MODE = "runs"
    LISTS: ClassVar[dict[str, str]] = {"runs": "run", "experiments": "experiment"}
    BINDINGS = bindings("runs", "sides")
    NARROW_SIDES: ClassVar[tuple[bool, bool]] = (False, True)
    DEFAULT_CSS = """
    Runs > #body { layout: grid; grid-size: 20 2; grid-rows: 3fr 2fr; }
    Runs #runs { column-span: 20; }
    Runs #experiments { column-span: 6; }
    Runs #figures { column-span: 6; }
    Runs #curve { column-span: 8; }
    Runs.-narrow > #body { grid-rows: 3fr 2fr; }
    Runs.-narrow #experiments { column-span: 8; }
    Runs.-narrow #figures { display: none; }
    Runs.-narrow #curve { column-span: 12; }
    Runs.-narrow.-no-left #figures { display: block; }
    Runs.-no-left #experiments { display: none; }
    Runs.-no-left #figures { column-span: 8; }
    Runs.-no-left #curve { column-span: 12; }
    Runs.-no-right #figures, Runs.-no-right.-narrow #figures, Runs.-no-right #curve { display: none; }
    Runs.-no-right #experiments, Runs.-no-right.-narrow #experiments { column-span: 20; }
    Runs.-no-right.-no-left > #body { grid-size: 20 1; grid-rows: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.deleted: set[str] = set()

    def panels(self) -> ComposeResult:
        """Yield the list, the experiments and the preview."""
        for ident, kept in _LISTED.items():
            yield Table(kept.name, kept.hints[0], empty=kept.empty, ident=ident)
        yield Lines("Run", empty="state and metrics of the run under the cursor", ident="figures")
        yield Curve("Curve", empty="no metric has a second value yet", ident="curve")

    async def preview(self) -> None:
        """Show figures and main curve of the run under the cursor."""
        table, figures, curve = self.table("runs"), self.lines("figures"), self.query_one(Curve)
        if not self.sides[1]:
            return
        if table.current is None:
            figures.show([])
            curve.show([])
            return
        found: Run | None = await self.fill(figures, self.door.call("run.show", {"run": table.current[0]}))
        if found is None:
            return
        figures.title = found.name
        figures.show(lambda cells: outline(found, cells))
        key = next(iter(drawable(found.metrics)), "")
        if not key:
            curve.show([])
            return
        curves = await self.fill(curve, curves_of(self.door, found, [key]))
        if curves is not None:
            beside = await pinned_beside(self.mlops, found, [key])
            curve.title = key
            curve.show([*curves.values(), *beside.values()])

    def show_sides(self, shown: tuple[bool, bool]) -> None:
        """Show the panes; in a narrow terminal the experiments take turns with the figures of the run."""
        super().show_sides(shown)
        self._suggest()

    def recall_sides(self) -> None:
        """Show the panes as they were left, and say which key brings the experiments where they are not."""
        super().recall_sides()
        self._suggest()

    def _suggest(self) -> None:
        """Say which keys are for one run and which for many."""
        if "runs" not in self.deleted:
            one, many = _HINTS
            self.table("runs").suggest(one if self.sides[0] else f"sides.left=experiments {one}", many)

    def action_side(self, which: int) -> None:
        """Hide or show the panes; whoever brings the experiments where they were hidden wants to be among them."""
        super().action_side(which)
        if which == 0 and self.narrow:
            self.call_after_refresh(self.table("experiments" if self.sides[0] else "runs").focus)

    async def load(self, news: News) -> None:
        """Take the news in, with the pinned run on top."""
        self.table("runs").pinned = self.mlops.pinned
        await super().load(news)

    async def moved(self, table: Table) -> None:
        """Read the preview; the small list changes nothing until enter."""
        if table.id == "runs":
            await self.preview()

    async def opened(self, table: Table, row: list[Any]) -> None:
        """Open a run, or narrow the runs to an experiment."""
        if table.id == "experiments" and table.id not in self.deleted:
            await self.open_object("experiment", table.value("name", row))
            self.table("runs").focus()
        elif table.id == "runs":
            await self.open_object("run", row[0])
        else:
            self.complain("it is deleted: del restores it with its runs")

    async def open_object(self, noun: str, name: str, rest: str = "") -> None:
        """Open a run, a comparison, or the runs of an experiment."""
        if noun == "experiment":
            self.table("runs").set_filter(f'experiment:"{name}"')
        elif noun == "analysis":
            await self._analyse(f"{name} {rest}".strip())
        elif noun == "compare":
            from mlops_tui.tui.screens.runs.compare import Compare

            await self.app.push_screen(Compare([name, *rest.split()]))
        else:
            from mlops_tui.tui.screens.runs.run import RunScreen

            await self.app.push_screen(RunScreen(name))

    def action_compare(self) -> None:
        """Compare the selected runs; the pinned one is the base, else the first selected."""
        table, pinned = self.table("runs"), self.mlops.pinned
        chosen = list(table.selected) or [row[0] for row in table.chosen if pinned]
        chosen = list(dict.fromkeys([*([pinned] if pinned else []), *chosen]))
        if len(chosen) < 2:
            self.complain("select at least two runs with space, or pin one with * to compare with")
            return
        from mlops_tui.tui.screens.runs.compare import MOST, Compare

        if len(chosen) > MOST:
            self.complain(f"the first {MOST} of {len(chosen)} are compared: more shapes nobody tells apart")
        self.app.push_screen(Compare(chosen[:MOST]))

    def action_analyse(self) -> None:
        """Analyse the selected runs if there are several, else those of the list."""
        chosen = list(self.table("runs").selected)
        always = f"{_DELETED} " if "runs" in self.deleted else ""
        shown = f"{always}{self.table('runs').filter}"
        start(self, self._analyse, among(shown, chosen), chosen)

    async def _analyse(self, filter: str, chosen: Sequence[str] = ()) -> None:
        from mlops_tui.tui.screens.runs.analysis import Analysis

        await self.app.push_screen(Analysis(filter, selected=chosen))

    def action_pin(self) -> None:
        """Pin the run under the cursor, or let the pinned one go."""
        table = self.table("runs")
        if row := table.current:
            self.mlops.pin(row[0])
            table.pin(self.mlops.pinned)
            start(self, self.preview, group="preview", replace=True)

    def action_stop(self) -> None:
        """Stop the job of the run under the cursor."""
        start(self, self._edit, run_edit.stop)

    def action_note(self) -> None:
        """Edit the note of the selected runs, or of the one under the cursor."""
        start(self, self._edit, run_edit.note)

    def action_tags(self) -> None:
        """Set or remove tags of the selected runs, or of the one under the cursor."""
        start(self, self._edit, run_edit.tags)

    async def _edit(self, edit: Callable[[Face, Sequence[Run]], None]) -> None:
        calls = [self.door.call("run.show", {"run": row[0]}) for row in self.table("runs").chosen]
        if calls:
            edit(self, await asyncio.gather(*calls))

    def action_delete(self) -> None:
        """Delete what is selected or under the cursor, runs or an experiment; among deleted ones, restore it."""
        table = self.active_table()
        noun, chosen = self.LISTS[table.id or ""], [row[0] for row in table.chosen]
        if chosen:
            verb = "restore" if table.id in self.deleted else "delete"
            self.change(f"{noun}.{verb}", run_edit.these(chosen) if noun == "run" else {noun: chosen[0]})

    def action_deleted(self) -> None:
        """List the deleted runs, or experiments where the focus is on those; or again those that are there."""
        table = self.active_table()
        self.deleted ^= {table.id or ""}
        deleted, kept = table.id in self.deleted, _LISTED[table.id or ""]
        table.name_of_list = f"Deleted {kept.name.lower()}" if deleted else kept.name
        table.suggest(*(kept.among_deleted if deleted else kept.hints))
        table.empty = "nothing is deleted" if deleted else kept.empty
        table.source = self.source(table.id or "", _DELETED if deleted else "")
        table.selected.clear()
        table.open_anew()
        table.focus()

    def action_register(self) -> None:
        """Register the model of the run under the cursor."""
        start(self, self._edit, run_edit.register)


def among(filter: str, chosen: Sequence[str]) -> str:
    """Return the filter of the selected runs if there are several, else that of the list."""
    return filter if len(chosen) < 2 else "id in (" + ", ".join(f"'{run}'" for run in chosen) + ")"


MODE_SCREEN = Runs
