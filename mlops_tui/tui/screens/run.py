"""One run: its curves, parameters, figures, files, data and lineage; its log is one key away."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.run import Curves, Metric, Run
from mlops_tui.core.ids import short
from mlops_tui.tui import format as fmt
from mlops_tui.tui import words
from mlops_tui.tui.hub import News
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.screens.base import Face
from mlops_tui.tui.screens.charts import series_of
from mlops_tui.tui.screens.runs import code, headline
from mlops_tui.tui.text import Part, grid, join, line, width, wrap
from mlops_tui.tui.widgets.curve import Curve
from mlops_tui.tui.widgets.lines import Lines, Row
from mlops_tui.tui.widgets.prompt import Prompt


class RunScreen(Face):
    """A run, whole and live."""

    SCOPE = "run"
    MODE = "runs"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("run", "gate", "version"))
    BINDINGS = bindings("run")
    DEFAULT_CSS = """
    RunScreen > #body { layout: grid; grid-size: 20 3; grid-rows: 4 1fr 1fr; }
    RunScreen #about { column-span: 20; }
    RunScreen #curve { column-span: 13; }
    RunScreen #metrics { column-span: 7; }
    RunScreen #params { column-span: 7; }
    RunScreen #files { column-span: 6; }
    RunScreen #lineage { column-span: 7; }
    RunScreen.-narrow > #body { grid-rows: 4 3fr 2fr; }
    RunScreen.-narrow #curve { column-span: 12; }
    RunScreen.-narrow #metrics { column-span: 8; }
    RunScreen.-narrow #params { column-span: 10; }
    RunScreen.-narrow #lineage { column-span: 10; }
    RunScreen.-narrow #files { display: none; }
    """

    def __init__(self, run: str) -> None:
        super().__init__()
        self.ref = run
        self.run_shown: Run | None = None
        self.key = ""

    @property
    def crumb(self) -> str:
        """The run's name."""
        return self.run_shown.name if self.run_shown else short(self.ref) if len(self.ref) == 36 else self.ref

    def panels(self) -> ComposeResult:
        """Yield the panels."""
        yield Lines("Run", ident="about")
        yield Curve(
            "Curve", "run.metric curve.log curve.axis curve.smooth", empty="no metric has been logged", ident="curve"
        )
        yield Lines("Metrics", "panel.open=draw", empty="no metric has been logged", ident="metrics")
        yield Lines("Params", empty="no parameters", ident="params")
        yield Lines("Files", empty="no files", ident="files")
        yield Lines("Lineage & note", "run.note=edit_note", ident="lineage")

    async def load(self, news: News) -> None:
        """Read the run, then the curve that is drawn."""
        panels = list(self.query(Lines))
        if not (
            news.all or self.run_shown is None or self.run_shown.id in news.of("run") or news.touches("gate", "version")
        ):
            return
        found: Run | None = await self.fill(panels, self.door.call("run.show", {"run": self.ref}))
        if found is None:
            return
        self.run_shown = found
        self._show(found)
        self.mlops.face.restate()
        await self._draw(found)

    async def _draw(self, run: Run) -> None:
        curve = self.query_one(Curve)
        self.key = self.key or headline(run)
        if not self.key:
            curve.show([])
            return
        request = {"run": run.id, "keys": [self.key], "points": 400}
        got: Curves | None = await self.fill(curve, self.door.call("run.curve", request))
        if got is not None:
            names = [metric.key for metric in drawable(run)]
            place = f"  ({names.index(self.key) + 1} of {len(names)})" if self.key in names else ""
            curve.title = self.key + place
            curve.show([series_of(one, time=curve.time) for one in got.curves], time=curve.time)

    def _show(self, run: Run) -> None:
        took = (run.ended or run.heartbeat or run.started) - run.started
        self.lines("about").show(
            [
                join(
                    [
                        words.state(run.status),
                        line(("experiment ", "dim"), run.experiment),
                        line(("took ", "dim"), fmt.duration(took)),
                        line((fmt.when(run.started), "dim")),
                        line(("by ", "dim"), run.actor),
                        line(("on ", "dim"), run.host),
                        code(run),
                    ],
                    "   ",
                ),
                line((f"✖ {run.error}", "fail")) if run.error else line((run.command, "dim")),
            ]
        )
        metrics = self.lines("metrics")
        metrics.title = f"Metrics ({len(run.metrics)})"
        metrics.show(lambda cells: figures(run.metrics, cells))
        params: list[list[Part]] = [[(key, "dim"), value] for key, value in sorted(run.params.items())]
        self.lines("params").title = f"Params ({len(params)})"
        self.lines("params").show(lambda cells: grid(params, room=cells))
        files: list[list[Part]] = [
            [one.path, (fmt.size(one.size), "dim"), (one.digest[:8], "faint")] for one in run.artifacts
        ]
        self.lines("files").show(lambda cells: grid(files, "lr", room=cells))
        self.lines("lineage").show(lambda cells: self._lineage(run, cells))

    @staticmethod
    def _lineage(run: Run, cells: int) -> list[Row]:
        rows = [
            Row(line(("data   ", "dim"), one.name, (f"  {one.context}", "faint")), f"data:{one.name}")
            for one in run.datasets
        ]
        rows += [Row(line(("model  ", "dim"), name), f"version:{name}") for name in run.models]
        if run.job:
            rows.append(Row(line(("job    ", "dim"), short(run.job)), f"job:{run.job}"))
        if run.parent:
            rows.append(Row(line(("parent ", "dim"), short(run.parent)), f"run:{run.parent}"))
        tags = [
            Row(line((f"{key} ", "dim"), value))
            for key, value in sorted(run.tags.items())
            if not key.startswith(("mlflow.", "mlops.", "env."))
        ]
        note = [Row(each) for each in wrap(run.note, cells)] if run.note else [Row(line(("no note yet", "faint")))]
        return [*rows, *note, *tags]

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Draw a metric, or go where a line leads."""
        if event.panel.id == "metrics":
            self.key = event.link
            self.reload()
        else:
            self.mlops.open_link(event.link)

    def action_metric(self) -> None:
        """Draw the next metric."""
        if self.run_shown and (names := [metric.key for metric in drawable(self.run_shown)]):
            at = names.index(self.key) if self.key in names else -1
            self.key = names[(at + 1) % len(names)]
            self.reload()

    def action_axis(self) -> None:
        """Draw over time instead of steps, and back."""
        curve = self.query_one(Curve)
        curve.time = not curve.time
        self.reload()

    def action_note(self) -> None:
        """Edit the note; it is kept through a plan like any change."""
        run = self.run_shown
        if run is None:
            return

        def done(text: str) -> None:
            self.change("run.note", {"run": run.id, "text": text}, "keep the note")

        self.mount(Prompt("note", run.note, done, hint="what is worth remembering"))

    def action_register(self) -> None:
        """Register the run's model."""
        from mlops_tui.tui.commands import plan

        if self.run_shown:
            plan(self.mlops, "model.register", {"run": self.run_shown.id})

    def cli(self) -> str:
        """The run as a command."""
        return f"mlops run show {self.crumb}"

    def subject(self) -> tuple[str, str]:
        """The run."""
        return "run", self.run_shown.id if self.run_shown else self.ref


def drawable(run: Run) -> list[Metric]:
    """Return the metrics with more than one point, by name."""
    return sorted((metric for metric in run.metrics if metric.n > 1), key=lambda metric: metric.key)


def figures(metrics: list[Metric], cells: int) -> list[Row]:
    """Return the last figure of each metric, its range where there is room; curves lead to their drawing."""
    found = sorted(metrics, key=lambda metric: metric.key)
    body: list[list[Part]] = [["", ("last", "dim"), ("min", "dim"), ("max", "dim")]]
    for one in found:
        last = line(fmt.number(one.last, 4), (" NaN!", "fail") if one.nonfinite else ())
        ends = [(fmt.number(one.min), "dim"), (fmt.number(one.max), "dim")] if one.n > 1 else []
        body.append([one.key, last, *ends])
    if width(max(grid(body, "lrrr"), key=width)) > cells:
        body = [row[:2] for row in body]
    links = ["", *(one.key if one.n > 1 else "" for one in found)]
    return [Row(made, link) for made, link in zip(grid(body, "lrrr", room=cells), links, strict=True)]
