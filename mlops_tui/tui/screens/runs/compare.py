"""Runs side by side: their curves on the same charts, and what differs in figures, parameters and origin."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.run import CompareRow, Comparison, Run
from mlops_tui.core.ids import short
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import words
from mlops_tui.tui.drawing.text import Line, Part, grid, line, width
from mlops_tui.tui.drawing.theme import MARKS
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.door import command
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.frame.page import Page
from mlops_tui.tui.screens.runs import edit as run_edit
from mlops_tui.tui.screens.runs.charts import axes, curves_of
from mlops_tui.tui.screens.runs.run_lines import code, drawable, took
from mlops_tui.tui.widgets.charts import Charts
from mlops_tui.tui.widgets.lines import Lines, Row
from mlops_tui.tui.work import start

MOST = len(MARKS)
"""Runs that are compared at most: as many as there are shapes."""
_WIDE = 100
"""Cells from which on id and commit of each run are told too."""
_NAME = 12
"""Cells to which a metric's name may be cut so that all its figures are seen."""
_LOWER_IS_BETTER = ("loss", "error", "err", "rmse", "mae", "mse", "ece", "latency", "ms", "dp-diff", "dp_diff", "gap")


class Compare(Page):
    """Two to eight runs; the first is the base that the others are measured against."""

    SCOPE = "compare"
    MODE = "runs"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("run",))
    BINDINGS = bindings("compare", "sides", "curve", "axes")
    DEFAULT_CSS = """
    Compare > #body { layout: grid; grid-size: 20 3; grid-rows: auto 3fr 2fr; }
    Compare #selected { column-span: 20; }
    Compare #curves { column-span: 10; }
    Compare #metrics { column-span: 10; }
    Compare #params { column-span: 11; }
    Compare #origin { column-span: 9; }
    Compare.-narrow > #body { grid-rows: auto 1fr 1fr 5; grid-size: 20 4; }
    Compare.-narrow #curves, Compare.-narrow #metrics, Compare.-narrow #params { column-span: 20; }
    Compare.-narrow #origin { display: none; }
    Compare.-no-left #params, Compare.-no-left #origin { display: none; }
    Compare.-no-right #metrics { display: none; }
    Compare.-no-right #curves { column-span: 20; }
    """

    def __init__(self, runs: list[str]) -> None:
        super().__init__()
        self.runs = runs
        self.differ = True
        self.axis = "step"
        self.found: list[Run] = []

    @property
    def crumb(self) -> str:
        """How many are compared."""
        return f"compare ({len(self.runs)})"

    def panels(self) -> ComposeResult:
        """Yield the panels."""
        yield Lines("Selected", "panel.open compare.base=set_base", ident="selected")
        yield Charts("curve.log curve.axis curve.smooth", empty="no metric that these runs drew", ident="curves")
        yield Lines("Metrics", "panel.open=draw", empty="these runs logged no metrics", ident="metrics")
        yield Lines("Params", "compare.differ", empty="the parameters are equal", ident="params")
        yield Lines("Origin", empty="code, data and machine are the same", ident="origin")

    def show_sides(self, shown: tuple[bool, bool]) -> None:
        """Hide panes, and give the selected runs as many lines as they are and the rest to what is seen."""
        super().show_sides(shown)
        self._share_out()

    def on_mount(self) -> None:
        """Share the lines out."""
        self._share_out()

    def _share_out(self) -> None:
        several, (left, right) = len(self.runs) + 2, self.sides
        if self.narrow:
            rows = [f"{min(5, several)}", "3fr", *(["2fr"] if right else []), *(["4"] if left else [])]
        else:
            rows = [f"{several}", "3fr", *(["2fr"] if left else [])]
        body = self.query_one("#body")
        body.styles.grid_size_rows, body.styles.grid_rows = len(rows), " ".join(rows)

    async def load(self, news: News) -> None:
        """Read the comparison and the runs, then the curves that are seen."""
        if not (news.all or news.of("run") & frozenset(self.runs)):
            return
        request = {"runs": self.runs, "all": not self.differ}
        shown: Comparison | None = await self.fill(self.query(Lines), self.door.call("run.compare", request))
        if shown is None:
            return
        calls = [self.door.call("run.show", {"run": run}) for run in shown.runs]
        found: list[Run] | None = await self.fill(self.lines("selected"), asyncio.gather(*calls))
        if found is None:
            return
        self.runs, self.found = shown.runs, found
        self._show(shown)
        await self._draw()

    async def _draw(self) -> None:
        charts = self.query_one(Charts)
        if not (page := charts.page):
            return
        part = charts.part
        calls = [curves_of(self.door, run, page, self.axis, place, part) for place, run in enumerate(self.found)]
        got = await self.fill(charts.charts, asyncio.gather(*calls))
        if got is not None:
            charts.show({key: [curves[key] for curves in got if key in curves] for key in page}, self.axis)

    def _show(self, shown: Comparison) -> None:
        # What most of them drew comes first.
        drawn = Counter(key for run in self.found for key in drawable(run.metrics))
        self.query_one(Charts).offer([key for key, _ in drawn.most_common()])
        self.lines("selected").show(lambda cells: selected(self.found, cells))
        metrics = [row for row in shown.rows if row.what == "metric"]
        panel = self.lines("metrics")
        panel.title = f"Metrics, Δ to {_plain(0)}"
        better, worse = verdicts(metrics)
        whose = line(_mark(1), " ") if len(shown.runs) > 2 else ()
        counts = line(whose, ("✔ ", "ok"), f"{better} better  ", ("✖ ", "fail"), f"{worse} worse")
        panel.figure = counts if metrics else ()
        panel.show(lambda cells: table(metrics, len(shown.runs), cells))
        only = " (only different)" if self.differ else ""
        self.lines("params").title = "Params" + only
        self.lines("params").show(lambda cells: beside([row for row in shown.rows if row.what == "param"], cells))
        self.lines("origin").title = "Origin" + only
        others = [row for row in shown.rows if row.what not in ("param", "metric")]
        self.lines("origin").show(lambda cells: beside(others, cells))

    def on_charts_turned(self) -> None:
        """Draw the page and the part that are seen now."""
        start(self, self._draw, group="draw", replace=True)

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Draw a metric, or open a run."""
        if event.panel.id == "metrics":
            self.query_one(Charts).bring(event.link)
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
        """Draw the next metrics."""
        self.query_one(Charts).turn(1)

    def action_axis(self) -> None:
        """Draw over the next x axis that any of the runs has."""
        there = axes(*self.found)
        self.axis = there[(there.index(self.axis) + 1) % len(there)]
        start(self, self._draw, group="draw", replace=True)

    def action_note(self) -> None:
        """Edit the note of the run under the cursor."""
        if self.found:
            run_edit.note(self, [self.found[self.lines("selected").cursor]])

    def action_register(self) -> None:
        """Register the model of the run under the cursor."""
        if self.found:
            run_edit.register(self, [self.found[self.lines("selected").cursor]])

    def cli(self) -> str:
        """The comparison as a command."""
        return command("run.compare", {"runs": [short(run) for run in self.runs], "all": not self.differ})

    def subject(self) -> tuple[str, str]:
        """The run under the cursor."""
        return "run", self.runs[self.lines("selected").cursor]


def selected(runs: list[Run], cells: int) -> list[Row]:
    """Return a line a run: its mark, name, state, origin, and what came of it."""
    rows: list[list[Part]] = []
    for i, run in enumerate(runs):
        name = line(run.name, ("  base", "accent") if i == 0 else "")
        row: list[Part] = [_mark(i), name, words.state(run.status), (fmt.duration(took(run)), "dim")]
        if cells >= _WIDE:
            row += [(short(run.id), "dim"), code(run)]
        made = line(("★ ", "accent"), ", ".join(run.models)) if run.models else ""
        rows.append([*row, (fmt.when(run.started), "dim"), made, (run.note, "dim")])
    lines = grid(rows, room=cells, give=len(rows[0]) - 1 if rows else None)
    return [Row(made, f"run:{run.id}") for made, run in zip(lines, runs, strict=True)]


def table(rows: list[CompareRow], runs: int, cells: int) -> list[Row]:
    """Return metrics as lines: a figure a run and its difference to the base's, with the digits that fit."""
    if not rows:
        return []
    keys = ["", *(row.key for row in rows)]
    names = max(map(len, keys))
    for digits, deltas, gap in ((4, True, 1), (3, True, 1), (3, False, 2), (2, False, 2), (2, False, 1)):
        made = _table(rows, runs, digits, deltas, gap)
        # A name is still known by its beginning; a figure that is cut says nothing.
        if max(map(width, made)) - names + min(names, _NAME) <= cells:
            break
    return [Row(each, key) for each, key in zip(_table(rows, runs, digits, deltas, gap, cells), keys, strict=True)]


def _table(rows: list[CompareRow], runs: int, digits: int, deltas: bool, gap: int, room: int = 0) -> list[Line]:
    head: list[Part] = [""]
    for i in range(runs):
        head += [_mark(i), ""] if deltas and i else [_mark(i)]
    body: list[list[Part]] = [head]
    for row in rows:
        cells: list[Part] = [row.key]
        for i, value in enumerate(row.values):
            figure = _number(value, digits)
            if not i:
                cells.append(figure)
            elif deltas:
                cells += [figure, _change(row, value, digits - 1)]
            else:
                cells.append(line(figure, _arrow(row, value)))
        body.append(cells)
    return grid(body, "lr" + ("rl" if deltas else "r") * (runs - 1), gap=gap, room=room, give=0)


def _number(value: Any, digits: int) -> Line:
    if not isinstance(value, int | float):
        return line((fmt.NONE if value is None else str(value), "faint"))
    return line(fmt.number(float(value), digits))


def _change(row: CompareRow, value: Any, digits: int) -> Line:
    base = row.values[0]
    if not isinstance(value, int | float) or not isinstance(base, int | float):
        return ()
    change = float(value) - float(base)
    return line((f"{fmt.signed(change, max(1, digits))} ", _tone(row.key, change)))


def _arrow(row: CompareRow, value: Any) -> Line:
    base = row.values[0]
    if not isinstance(value, int | float) or not isinstance(base, int | float):
        return ()
    change = float(value) - float(base)
    return line(("▲" if change > 0 else "▼" if change < 0 else "=", _tone(row.key, change)))


def _tone(key: str, change: float) -> str:
    return "dim" if change == 0 else "ok" if (change < 0) == lower_is_better(key) else "fail"


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


def beside(rows: list[CompareRow], cells: int) -> list[Line]:
    """Return a line a parameter or fact: its value in each run, behind the run's mark."""
    body: list[list[Part]] = [
        [(row.key, "dim"), *(line(_mark(i), " ", _worth(value)) for i, value in enumerate(row.values))] for row in rows
    ]
    made = grid(body)
    return made if max(map(width, made), default=0) <= cells else grid(body, room=cells, gap=1, give=0)


def _worth(value: Any) -> Line:
    return line((fmt.NONE, "faint")) if value in (None, "") else line(str(value))


def _mark(index: int) -> tuple[str, str]:
    return _plain(index), f"series-{index % len(MARKS)}"


def _plain(index: int) -> str:
    return MARKS[index % len(MARKS)]
