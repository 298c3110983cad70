"""One run: its curves, figures, parameters, files, origin, and the end of its log."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.run import LogLines, Run
from mlops_tui.core.ids import short
from mlops_tui.tui.drawing.text import line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.frame.page import Page
from mlops_tui.tui.screens.overlays.log import coloured
from mlops_tui.tui.screens.runs import edit as run_edit
from mlops_tui.tui.screens.runs import run_lines as written
from mlops_tui.tui.screens.runs.charts import axes, curves_of, pinned_beside
from mlops_tui.tui.widgets.charts import Charts
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.work import start

_TAIL = 40


class RunScreen(Page):
    """A run, whole and live."""

    SCOPE = "run"
    MODE = "runs"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("run", "gate", "model", "version", "log"))
    BINDINGS = bindings("run", "sides", "curve", "axes")
    DEFAULT_CSS = """
    RunScreen > #body { layout: grid; grid-size: 20 4; grid-rows: 4 5fr 3fr 2fr; }
    RunScreen #about, RunScreen #console { column-span: 20; }
    RunScreen #curves { column-span: 14; }
    RunScreen #metrics { column-span: 6; }
    RunScreen #params { column-span: 7; }
    RunScreen #files { column-span: 6; }
    RunScreen #lineage { column-span: 7; }
    RunScreen.-narrow > #body { grid-size: 20 3; grid-rows: 4 3fr 2fr; }
    RunScreen.-narrow #curves { column-span: 12; }
    RunScreen.-narrow #metrics { column-span: 8; }
    RunScreen.-narrow #params { column-span: 10; }
    RunScreen.-narrow #lineage { column-span: 10; }
    RunScreen.-narrow #files, RunScreen.-narrow #console { display: none; }
    RunScreen.-short > #body { grid-size: 20 3; grid-rows: 4 3fr 2fr; }
    RunScreen.-short #console { display: none; }
    RunScreen.-no-left #params, RunScreen.-no-left #files, RunScreen.-no-left #lineage { display: none; }
    RunScreen.-no-left #console { display: none; }
    RunScreen.-no-left > #body { grid-size: 20 2; grid-rows: 4 1fr; }
    RunScreen.-no-right #metrics { display: none; }
    RunScreen.-no-right #curves { column-span: 20; }
    """

    def __init__(self, run: str) -> None:
        super().__init__()
        self.ref = run
        self.run_shown: Run | None = None
        self.axis, self.system = "step", False

    @property
    def crumb(self) -> str:
        """The run's name."""
        return self.run_shown.name if self.run_shown else short(self.ref) if len(self.ref) == 36 else self.ref

    def panels(self) -> ComposeResult:
        """Yield the panels."""
        yield Lines("Run", ident="about")
        yield Charts("curve.log curve.axis curve.smooth", empty="no metric has a second value yet", ident="curves")
        yield Lines("Metrics", "panel.open=draw run.system", empty="no metric has been logged", ident="metrics")
        yield Lines("Params", empty="no parameters: run.log_params({…})", ident="params")
        yield Lines("Files", "panel.open=see run.files=all", empty="no files: run.log_artifact(path)", ident="files")
        yield Lines("Lineage & note", "run.note=edit_note run.tags", ident="lineage")
        yield Lines("Console", "app.logs=whole_log", empty="nothing has been printed", ident="console")

    async def load(self, news: News) -> None:
        """Read the run, then the curves that are seen and the end of the log."""
        mine = self.run_shown is not None and self.run_shown.id in news.of("run")
        if news.all or self.run_shown is None or mine or news.touches("gate", "model", "version"):
            found: Run | None = await self.fill(self.query(Lines), self.door.call("run.show", {"run": self.ref}))
            if found is None:
                return
            self.run_shown = found
            self._show(found)
            self.mlops.face.restate()
            await self._draw()
        if self.run_shown is not None and (mine or news.touches("log")):
            await self._tail(self.run_shown)

    async def _draw(self) -> None:
        run, charts = self.run_shown, self.query_one(Charts)
        if run is not None and (page := charts.page):
            got = await self.fill(charts.charts, curves_of(self.door, run, page, self.axis, part=charts.part))
            if got is not None:
                beside = await pinned_beside(self.mlops, run, page, self.axis, charts.part)
                both = {key: [each[key] for each in (got, beside) if key in each] for key in got}
                charts.show(both, self.axis)

    async def _tail(self, run: Run) -> None:
        panel = self.lines("console")
        if not panel.room[0]:
            return
        got: LogLines | None = await self.fill(panel, self.door.call("run.log", {"run": run.id, "lines": _TAIL}))
        if got is not None:
            panel.show([coloured(text) for text in got.lines])
            panel.scroll_rows(len(got.lines))

    def _show(self, run: Run) -> None:
        shown = run.system if self.system else run.metrics
        self.query_one(Charts).offer(written.drawable(shown), "system" if self.system else "")
        self.lines("about").figure = line(("★ pinned", "accent")) if run.id == self.mlops.pinned else ()
        self.lines("about").show(written.about(run))
        self.lines("metrics").title = f"{'System' if self.system else 'Metrics'} ({len(shown)})"
        self.lines("metrics").show(lambda cells: written.figures(shown, cells))
        self.lines("params").title = f"Params ({len(run.params) + (run.more_params or 0)})"
        self.lines("params").show(lambda cells: written.params(run, cells))
        self.lines("files").title = f"Files ({len(run.artifacts)})"
        self.lines("files").show(lambda cells: written.files(run.artifacts, cells))
        self.lines("lineage").show(lambda cells: written.lineage(run, cells))

    def on_charts_turned(self) -> None:
        """Draw the page and the part that are seen now."""
        start(self, self._draw, group="draw", replace=True)

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Draw a metric, or go where a line leads."""
        if event.panel.id == "metrics":
            self.query_one(Charts).bring(event.link)
        elif event.panel.id == "files":
            self._see(event.link)
        else:
            self.mlops.open_link(event.link)

    def action_metric(self) -> None:
        """Draw the next metrics."""
        self.query_one(Charts).turn(1)

    def action_axis(self) -> None:
        """Draw over the next x axis: steps, time since the start, epochs."""
        if self.run_shown is None:
            return
        there = axes(self.run_shown)
        self.axis = there[(there.index(self.axis) + 1) % len(there)] if self.axis in there else "step"
        start(self, self._draw, group="draw", replace=True)

    def action_system(self) -> None:
        """Show what the run's processes used, over time, or its own metrics again."""
        if self.run_shown is not None:
            self.system = not self.system
            self.axis = "elapsed" if self.system else "step"
            self._show(self.run_shown)
            start(self, self._draw, group="draw", replace=True)

    def action_files(self) -> None:
        """See the files, from the first on."""
        self._see("")

    def _see(self, path: str) -> None:
        from mlops_tui.tui.screens.runs.artifact import ArtifactScreen

        if self.run_shown:
            self.app.push_screen(ArtifactScreen(self.run_shown, path))

    def action_pin(self) -> None:
        """Pin this run, or let it go."""
        if self.run_shown:
            self.mlops.pin(self.run_shown.id)
            self._show(self.run_shown)
            start(self, self._draw, group="draw", replace=True)

    def action_stop(self) -> None:
        """Stop the job of this run."""
        if self.run_shown:
            run_edit.stop(self, [self.run_shown])

    def action_note(self) -> None:
        """Edit the note."""
        if self.run_shown:
            run_edit.note(self, [self.run_shown])

    def action_tags(self) -> None:
        """Set or remove tags."""
        if self.run_shown:
            run_edit.tags(self, [self.run_shown])

    def action_register(self) -> None:
        """Register the run's model."""
        if self.run_shown:
            run_edit.register(self, [self.run_shown])

    def cli(self) -> str:
        """The run as a command."""
        return f"mlops run show {self.crumb}"

    def subject(self) -> tuple[str, str]:
        """The run."""
        return "run", self.run_shown.id if self.run_shown else self.ref
