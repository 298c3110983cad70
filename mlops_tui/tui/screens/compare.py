"""Runs side by side: curves on one chart, and what differs in parameters and figures."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.run import CompareRow, Comparison, Curves
from mlops_tui.core.ids import short
from mlops_tui.tui import format as fmt
from mlops_tui.tui.door import command
from mlops_tui.tui.hub import News
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.screens.base import Face
from mlops_tui.tui.screens.charts import series_of
from mlops_tui.tui.text import Line, Part, grid, line
from mlops_tui.tui.theme import MARKS
from mlops_tui.tui.widgets.curve import Curve
from mlops_tui.tui.widgets.lines import Lines, Row

_LOWER_IS_BETTER = ("loss", "error", "err", "rmse", "mae", "mse", "ece", "latency", "ms", "dp-diff", "dp_diff", "gap")


class Compare(Face):
    """Two to seven runs; the first is the base that the others are measured against."""

    SCOPE = "compare"
    MODE = "runs"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("run",))
    BINDINGS = bindings("compare")
    DEFAULT_CSS = """
    Compare > #body { layout: grid; grid-size: 20 3; grid-rows: auto 3fr 2fr; }
    Compare #selected { column-span: 20; }
    Compare #curve { column-span: 11; }
    Compare #metrics { column-span: 9; }
    Compare #params { column-span: 20; }
    Compare.-narrow > #body { grid-rows: auto 1fr 1fr 5; grid-size: 20 4; }
    Compare.-narrow #curve, Compare.-narrow #metrics { column-span: 20; }
    """

    def __init__(self, runs: list[str]) -> None:
        super().__init__()
        self.runs = runs
        self.differ = True
        self.key = ""
        self.shown: Comparison | None = None

    @property
    def crumb(self) -> str:
        """How many are compared."""
        return f"compare ({len(self.runs)})"

    def panels(self) -> ComposeResult:
        """Yield the panels."""
        yield Lines("Selected", "compare.base=set_base", ident="selected")
        yield Curve(
            "Curve", "compare.metric curve.log curve.smooth", empty="no metric that these runs share", ident="curve"
        )
        yield Lines("Metrics", "panel.open=draw", empty="no metrics", ident="metrics")
        yield Lines("Params", "compare.differ", empty="the parameters are equal", ident="params")

    def on_mount(self) -> None:
        """Give the selected runs as many lines as they are."""
        several = len(self.runs) + 2
        rows = f"{min(5, several)} 3fr 2fr 4" if self.narrow else f"{several} 3fr 2fr"
        self.query_one("#body").styles.grid_rows = rows

    async def load(self, news: News) -> None:
        """Read the comparison, then the curves of the metric that is drawn."""
        if not (news.all or news.of("run") & frozenset(self.runs)):
            return
        request = {"runs": self.runs, "all": not self.differ}
        found: Comparison | None = await self.fill(self.query(Lines), self.door.call("run.compare", request))
        if found is None:
            return
        self.shown, self.runs = found, found.runs
        self._show(found)
        await self._draw(found)

    async def _draw(self, found: Comparison) -> None:
        curve = self.query_one(Curve)
        keys = [row.key for row in found.rows if row.what == "metric"]
        self.key = self.key if self.key in keys else next(iter(sorted(keys, key=lambda key: "loss" not in key)), "")
        if not self.key:
            curve.show([])
            return
        calls = [self.door.call("run.curve", {"run": run, "keys": [self.key], "points": 300}) for run in found.runs]
        got: list[Curves] | None = await self.fill(curve, asyncio.gather(*calls))
        if got is not None:
            curve.title = f"{self.key}  ({keys.index(self.key) + 1} of {len(keys)})"
            curve.show([series_of(c, name) for one, name in zip(got, found.names, strict=True) for c in one.curves[:1]])

    def _show(self, found: Comparison) -> None:
        rows: list[list[Part]] = [
            [_mark(i), name, (short(run), "dim"), ("★ base" if i == 0 else "", "accent")]
            for i, (run, name) in enumerate(zip(found.runs, found.names, strict=True))
        ]
        links = [f"run:{run}" for run in found.runs]
        self.lines("selected").show(Row(made, link) for made, link in zip(grid(rows), links, strict=True))
        metrics = [row for row in found.rows if row.what == "metric"]
        panel = self.lines("metrics")
        panel.title = f"Metrics, Δ to {_plain(0)}"
        better, worse = verdicts(metrics)
        panel.figure = line(("✔ ", "ok"), f"{better} better  ", ("✖ ", "fail"), f"{worse} worse") if metrics else ()
        keys = ["", *(row.key for row in metrics)]
        panel.show(Row(made, key) for made, key in zip(table(metrics, len(found.runs)), keys, strict=True))
        params = [row for row in found.rows if row.what != "metric"]
        self.lines("params").title = "Params (only different)" if self.differ else "Params"
        self.lines("params").show(_params(params))

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Draw a metric, or open a run."""
        if event.panel.id == "metrics":
            self.key = event.link
            self.reload()
        else:
            self.mlops.open_link(event.link)

    def action_base(self) -> None:
        """Make the run under the cursor the base."""
        at = self.lines("selected").cursor
        self.runs = [self.runs[at], *(run for i, run in enumerate(self.runs) if i != at)]
        self.reload()

    def action_differ(self) -> None:
        """Show also what is equal, or only what differs."""
        self.differ = not self.differ
        self.reload()

    def action_metric(self) -> None:
        """Draw the next metric."""
        keys = [row.key for row in self.shown.rows if row.what == "metric"] if self.shown else []
        if keys:
            at = keys.index(self.key) if self.key in keys else -1
            self.key = keys[(at + 1) % len(keys)]
            self.reload()

    def action_register(self) -> None:
        """Register the model of the run under the cursor."""
        from mlops_tui.tui.commands import plan

        plan(self.mlops, "model.register", {"run": self.runs[self.lines("selected").cursor]})

    def cli(self) -> str:
        """The comparison as a command."""
        return command("run.compare", {"runs": [short(run) for run in self.runs], "all": not self.differ})

    def subject(self) -> tuple[str, str]:
        """The run under the cursor."""
        return "run", self.runs[self.lines("selected").cursor]


def table(rows: list[CompareRow], runs: int) -> list[Line]:
    """Return metrics as lines: a figure a run, and its difference to the base's."""
    if not rows:
        return [()]
    head: list[Part] = [("", "dim"), *(line(_mark(i)) for i in range(runs))]
    body: list[list[Part]] = []
    for row in rows:
        base = row.values[0]
        body.append([row.key, *(_against(row.key, value, base, i) for i, value in enumerate(row.values))])
    return grid([head, *body])


def _against(key: str, value: Any, base: Any, index: int) -> Line:
    if not isinstance(value, int | float):
        return line((fmt.NONE if value is None else str(value), "faint"))
    figure = line(fmt.number(float(value), 4))
    if index == 0 or not isinstance(base, int | float):
        return figure
    change = float(value) - float(base)
    tone = "dim" if change == 0 else "ok" if (change < 0) == lower_is_better(key) else "fail"
    return line(figure, (f" {fmt.signed(change)}", tone))


def lower_is_better(key: str) -> bool:
    """Tell from its name whether a metric is a cost."""
    return any(word in key.lower() for word in _LOWER_IS_BETTER)


def verdicts(rows: list[CompareRow]) -> tuple[int, int]:
    """Return how many metrics the second run makes better and worse than the base."""
    better = worse = 0
    for row in rows:
        if len(row.values) < 2 or not all(isinstance(value, int | float) for value in row.values[:2]):
            continue
        change = float(row.values[1]) - float(row.values[0])
        if change:
            good = (change < 0) == lower_is_better(row.key)
            better, worse = better + good, worse + (not good)
    return better, worse


def _params(rows: list[CompareRow]) -> list[Line]:
    body: list[list[Part]] = [
        [(row.key, "dim"), *(line(_mark(i), f" {fmt.NONE if v is None else v}") for i, v in enumerate(row.values))]
        for row in rows
    ]
    return grid(body)


def _mark(index: int) -> tuple[str, str]:
    return _plain(index), f"series-{index % len(MARKS)}"


def _plain(index: int) -> str:
    return MARKS[index % len(MARKS)]
