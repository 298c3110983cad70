"""Runs: experiments, their runs, and the newest figures of the one under the cursor."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.run import Curves, Run
from mlops_tui.tui import format as fmt
from mlops_tui.tui import words
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.screens.browser import Browser
from mlops_tui.tui.screens.charts import series_of
from mlops_tui.tui.text import Line, Part, grid, line
from mlops_tui.tui.widgets.curve import Curve
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.table import Table


class Runs(Browser):
    """The list of runs, narrowed by the experiment under the cursor of the small list."""

    SCOPE = "runs"
    MODE = "runs"
    LISTS: ClassVar[dict[str, str]] = {"runs": "run", "experiments": "experiment"}
    BINDINGS = bindings("runs")
    DEFAULT_CSS = """
    Runs > #body { layout: grid; grid-size: 20 2; grid-rows: 3fr 2fr; }
    Runs #runs { column-span: 20; }
    Runs #experiments { column-span: 6; }
    Runs #figures { column-span: 6; }
    Runs #curve { column-span: 8; }
    Runs.-narrow > #body { grid-rows: 3fr 2fr; }
    Runs.-narrow #experiments { display: none; }
    Runs.-narrow #figures { column-span: 8; }
    Runs.-narrow #curve { column-span: 12; }
    """

    def panels(self) -> ComposeResult:
        """Yield the list, the experiments and the preview."""
        yield Table(
            "Runs",
            "panel.open table.select runs.compare",
            empty="no runs yet — mlops train script.py, or in your own script: with mlops.start_run() as run: …",
            ident="runs",
        )
        yield Table("Experiments", "panel.open=only_these", empty="no experiments yet", ident="experiments")
        yield Lines("Run", empty="what is under the cursor", ident="figures")
        yield Curve("Curve", empty="no metric has been logged", ident="curve")

    async def preview(self) -> None:
        """Show figures and main curve of the run under the cursor."""
        table, figures, curve = self.table("runs"), self.lines("figures"), self.query_one(Curve)
        if table.current is None:
            figures.show([])
            curve.show([])
            return
        found: Run | None = await self.fill(figures, self.door.call("run.show", {"run": table.current[0]}))
        if found is None:
            return
        figures.title = found.name
        figures.show(outline(found))
        key = headline(found)
        if not key:
            curve.show([])
            return
        request = {"run": found.id, "keys": [key], "points": 200}
        curves: Curves | None = await self.fill(curve, self.door.call("run.curve", request))
        if curves is not None:
            curve.title = key
            curve.show([series_of(one) for one in curves.curves])

    async def moved(self, table: Table) -> None:
        """Read the preview; the small list changes nothing until enter."""
        if table.id == "runs":
            await self.preview()

    async def opened(self, table: Table, row: list[Any]) -> None:
        """Open a run, or narrow the runs to an experiment."""
        if table.id == "experiments":
            await self.open_object("experiment", table.value("name", row))
            self.table("runs").focus()
        else:
            await self.open_object("run", row[0])

    async def open_object(self, noun: str, name: str, rest: str = "") -> None:
        """Open a run, a comparison, or the runs of an experiment."""
        if noun == "experiment":
            self.table("runs").set_filter(f'experiment:"{name}"')
        elif noun == "compare":
            from mlops_tui.tui.screens.compare import Compare

            await self.app.push_screen(Compare([name, *rest.split()]))
        else:
            from mlops_tui.tui.screens.run import RunScreen

            await self.app.push_screen(RunScreen(name))

    def action_compare(self) -> None:
        """Compare the selected runs; the first selected is the base."""
        chosen = list(self.table("runs").selected)
        if len(chosen) < 2:
            self.complain("select at least two runs with space")
            return
        from mlops_tui.tui.screens.compare import Compare

        self.app.push_screen(Compare(chosen[:7]))

    def action_register(self) -> None:
        """Register the model of the run under the cursor."""
        from mlops_tui.tui.commands import plan

        if row := self.table("runs").current:
            plan(self.mlops, "model.register", {"run": row[0]})


def headline(run: Run) -> str:
    """Return the metric worth showing first: the one with most points, a loss before others."""
    curves = [metric for metric in run.metrics if metric.n > 1]
    if not curves:
        return ""
    return max(curves, key=lambda metric: ("loss" in metric.key, metric.n, metric.key)).key


def outline(run: Run) -> list[Line]:
    """Return a run's state and last figures as lines."""
    took = (run.ended or run.heartbeat or run.started) - run.started
    head: list[list[Part]] = [
        [("state", "dim"), words.state(run.status)],
        [("took", "dim"), fmt.duration(took)],
        [("by", "dim"), line(run.actor, (f"  {run.host}", "dim"))],
    ]
    if run.error:
        head.append([("error", "dim"), (run.error, "fail")])
    if run.git_sha:
        head.append([("code", "dim"), code(run)])
    found = sorted(run.metrics, key=lambda metric: metric.key)
    figures: list[list[Part]] = [[(one.key, "dim"), _figure(one.last, one.nonfinite)] for one in found]
    return [*grid(head), (), *grid(figures, "lr")]


def code(run: Run) -> Line:
    """Return the commit that a run was made from, and whether the files were as committed."""
    if not run.git_sha:
        return ()
    return line(run.git_sha[:8], (" dirty", "warn") if run.git_dirty else (" clean", "dim"))


def _figure(last: float | None, nonfinite: int) -> Line:
    bad = line((f"  {nonfinite} not finite", "fail")) if nonfinite else ()
    return line(fmt.number(last, 4), bad)


MODE_SCREEN = Runs
