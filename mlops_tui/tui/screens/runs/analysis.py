"""Runs as what was tried: groups over seeds, what a metric hangs on, and parallel coordinates that narrow both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.analysis import ImportanceAnswer, Trials
from mlops_tui.contracts.listing import Table
from mlops_tui.contracts.run import Run
from mlops_tui.core.errors import BadInput, MlopsError
from mlops_tui.tui.drawing.text import line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.door import command
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.frame.base import Face
from mlops_tui.tui.screens.runs import analysis_lines as written
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.parallel import Parallel
from mlops_tui.tui.widgets.table import Table as TableOfRuns
from mlops_tui.tui.work import start

_GROUPS, _MEMBERS = 500, 100
"""Groups that are shown, and runs of a group."""
_LITTLE, _POOR = 0.05, 0.2
"""The share below which a parameter is not grouped by at first; what must be explained for shares to mean much."""
_NONE = "no run here has a metric yet: it appears with run.log, or widen the filter with /"
_ALIKE = "no parameter differs between these runs: widen the filter with /"


class Analysis(Face):
    """What was tried and what came of it, of the runs of a filter.

    Args:
        filter: which runs.
        metric: what is looked at; empty: the one that stands for most of them.
        selected: ids of runs that are selected, to compare them.
    """

    SCOPE = "analysis"
    MODE = "runs"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("run",))
    BINDINGS = bindings("analysis")
    DEFAULT_CSS = """
    Analysis > #body { layout: grid; grid-size: 20 2; grid-rows: 2fr 3fr; }
    Analysis #groups { column-span: 12; }
    Analysis #importance { column-span: 8; }
    Analysis #parallel { column-span: 20; }
    Analysis.-narrow > #body { grid-size: 20 3; grid-rows: 2fr 6 3fr; }
    Analysis.-narrow #groups, Analysis.-narrow #importance { column-span: 20; }
    """

    def __init__(self, filter: str = "", metric: str = "", selected: Sequence[str] = ()) -> None:
        super().__init__()
        self.filter, self.metric = filter, metric
        self.selected = dict.fromkeys(selected)
        self.trials: Trials | None = None
        self.keys: list[str] = []
        self.found: list[written.Group] = []
        self.members: dict[str, Table] = {}
        self.ranked: ImportanceAnswer | None = None

    @property
    def crumb(self) -> str:
        """What is analysed."""
        return "analysis"

    @property
    def narrowed(self) -> str:
        """The filter of the screen and the ranges that hold."""
        return " ".join([*([f"({self.filter})"] if self.filter else []), *self.query_one(Parallel).narrowing])

    def panels(self) -> ComposeResult:
        """Yield the panels."""
        yield Lines("Groups", "panel.open=unfold analysis.mark analysis.group", empty=_ALIKE, ident="groups")
        yield Lines("Importance", "panel.open=group_by_it", empty=_ALIKE, ident="importance")
        yield Parallel(
            "Parallel coordinates",
            "analysis.mark=begin,_then_end_a_range analysis.widen analysis.list",
            empty=_NONE,
            ident="parallel",
        )

    async def load(self, news: News) -> None:
        """Read all once; later news are only told of, for what is looked at must not move."""
        if not news.all:
            if news.of("run"):
                self.lines("groups").figure = line(("news · r", "accent"))
            return
        ask = {"metric": self.metric, "filter": self.filter}
        panels = (self.lines("groups"), self.lines("importance"), self.query_one(Parallel))
        trials: Trials | None = await self.fill(panels, self.door.call("run.trials", ask))
        if trials is None:
            return
        self.trials, self.metric = trials, trials.metric
        self._show_axes()
        self.keys = [key for key in self.keys if key in trials.params]
        if self.keys:
            await self._narrow()
            return
        # What to group by at first depends on what matters.
        await self._read_importance()
        self.keys = written.first_keys(trials, self._mattering())
        self._show_importance()
        await self._read_groups()

    def _mattering(self) -> list[str]:
        """Return the parameters that explain something, the most first."""
        return [one.param for one in self.ranked.params if one.importance > _LITTLE] if self.ranked else []

    async def _narrow(self) -> None:
        """Read the groups and what matters, of the runs within the ranges."""
        await asyncio.gather(self._read_groups(), self._read_importance())

    async def _read_groups(self) -> None:
        panel = self.lines("groups")
        if not self.keys or not self.metric:
            self.found = []
            panel.empty = _ALIKE if self.metric else _NONE
            panel.show([])
            return
        got: Table | None = await self.fill(panel, self.door.call("run.list", self._asking()))
        if got is None:
            return
        self.found = written.groups_of(got, len(self.keys))
        here = {one.filter for one in self.found}
        calls = {group: self._members(group) for group in self.members if group in here}
        self.members = dict(zip(calls, await asyncio.gather(*calls.values()), strict=True))
        panel.title = f"{written.plain_name(self.metric)} by {', '.join(self.keys)} ({got.total:,} groups)"
        panel.figure = ()
        self._show_groups()

    def _asking(self) -> dict[str, Any]:
        """Return what asks for the groups: a run that has not got the metric is in none."""
        keys = [written.param(key) for key in self.keys]
        measured = f"{self.narrowed} {self.metric} is not null".strip()
        return {"filter": measured, "group_by": keys, "metrics": [self.metric], "limit": _GROUPS}

    async def _members(self, group: str) -> Table:
        least = self.trials is not None and self.trials.lower_is_better
        ask = {
            "filter": f"{self.narrowed} {self.metric} is not null {group}".strip(),
            "sort": self.metric if least else f"-{self.metric}",
            "columns": [self.metric],
            "limit": _MEMBERS,
        }
        got: Table = await self.door.call("run.list", ask)
        return got

    def _show_groups(self) -> None:
        metric = written.plain_name(self.metric)
        self.lines("groups").show(
            lambda cells: written.groups(self.found, self.keys, metric, self.members, self.selected, cells)
        )

    async def _read_importance(self) -> None:
        panel = self.lines("importance")
        if not self.metric:
            panel.empty = _NONE
            panel.show([])
            return
        panel.figure = line(("↻ growing trees", "busy"))
        try:
            found: ImportanceAnswer = await self.door.call(
                "run.importance", {"metric": self.metric, "filter": self.narrowed}
            )
        except BadInput as problem:
            # Too few runs, or none that differ: that is a state, no failure.
            panel.empty, panel.figure = ": ".join(filter(None, (problem.what, problem.why))), line()
            panel.show([])
            return
        except MlopsError as problem:
            panel.figure = line()
            panel.show_problem(problem)
            return
        self.ranked = found
        told = f"explains {100 * max(0.0, found.explained):.0f} % of it"
        panel.figure = line(("! " + told, "warn") if found.explained < _POOR else (told, "dim"))
        self._show_importance()
        if not self.query_one(Parallel).pose.limits:
            self._show_axes()

    def _show_importance(self) -> None:
        if (found := self.ranked) is not None:
            self.lines("importance").show(lambda cells: written.importance(found, self.keys, cells))

    def _show_axes(self) -> None:
        trials, panel = self.trials, self.query_one(Parallel)
        if trials is None:
            return
        shown = len(trials.runs)
        panel.title = "Parallel coordinates" + (f" of a sample of {trials.total:,}" if trials.total > shown else "")
        panel.empty = _ALIKE if shown else _NONE
        order = [one.param for one in self.ranked.params] if self.ranked else []
        panel.show(written.axes(trials, order) if trials.params else [], shown if trials.params else 0)

    # What keys do

    def on_parallel_narrowed(self) -> None:
        """Read what hangs on the ranges."""
        start(self, self._narrow, group="narrow", replace=True)

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Unfold a group, open a run, or group by a parameter."""
        kind, _, rest = event.link.partition(":")
        if event.panel.id == "importance":
            self._group_by([event.link])
        elif kind == "fold":
            start(self, self._fold, rest)
        else:
            self.mlops.open_link(event.link)

    async def _fold(self, group: str) -> None:
        if group in self.members:
            del self.members[group]
        else:
            got = await self.fill(self.lines("groups"), self._members(group))
            if got is None:
                return
            self.members[group] = got
        self._show_groups()

    def action_mark(self) -> None:
        """Mark an end of a range, or select the run or the group's runs under the cursor."""
        if isinstance(self.focused, Parallel):
            self.focused.action_mark()
            return
        row = self.lines("groups").current
        kind, _, rest = row.link.partition(":") if row and self.focused is self.lines("groups") else ("", "", "")
        if kind == "run":
            self._select([rest])
            self.lines("groups").action_move(1)
        elif kind == "fold":
            start(self, self._select_group, rest)
        else:
            self.complain("select in the groups; on an axis, mark both ends of a range")

    async def _select_group(self, group: str) -> None:
        got = self.members.get(group) or await self.fill(self.lines("groups"), self._members(group))
        if got is None:
            return
        self.members[group] = got
        self._select([row[0] for row in got.rows])

    def _select(self, runs: Sequence[str]) -> None:
        """Select runs, or let them go if all of them are selected."""
        if self.selected.keys() >= set(runs):
            self.selected = {run: None for run in self.selected if run not in runs}
        else:
            self.selected |= dict.fromkeys(runs)
        self._show_groups()
        self._suggest()

    def _suggest(self) -> None:
        number = len(self.selected)
        self.lines("groups").figure = line((f"{number} selected", "accent")) if number else line()

    def action_widen(self) -> None:
        """Take back the range of the axis, or all."""
        self.query_one(Parallel).action_widen()

    def action_group(self) -> None:
        """Ask by which parameters to group."""
        from mlops_tui.tui.widgets.columns import ColumnChooser, Offered

        if self.trials is None or not self.trials.params:
            self.complain("no parameter differs between these runs")
            return
        shares = {one.param: one.importance for one in self.ranked.params} if self.ranked else {}
        values = {name: len(set(found)) for name, found in self.trials.params.items()}
        told = {
            name: f"{number} values" + (f" · {100 * shares[name]:.0f} %" if name in shares else "")
            for name, number in values.items()
        }
        names = sorted(values, key=lambda name: -shares.get(name, 0.0))
        offered = [Offered(name, name, told[name]) for name in names]

        def chosen(keys: list[str] | None) -> None:
            if keys:
                self._group_by(keys)

        self.app.push_screen(ColumnChooser(offered, self.keys, "Group by"), chosen)

    def _group_by(self, keys: list[str]) -> None:
        self.keys, self.members = keys, {}
        self._show_importance()
        start(self, self._read_groups, group="groups", replace=True)

    def action_metric(self) -> None:
        """Ask for the metric."""
        start(self, self._ask_metric)

    async def _ask_metric(self) -> None:
        from mlops_tui.tui.widgets.form import Menu

        if self.trials is None or not self.trials.runs:
            self.complain("no run here has a metric")
            return
        run: Run = await self.door.call("run.show", {"run": self.trials.runs[0]})
        names = sorted(metric.key for metric in run.metrics)
        told = ["shown now" if name == written.plain_name(self.metric) else "" for name in names]

        def picked(index: int | None) -> None:
            if index is not None:
                self.metric, self.ranked, self.members = "metrics.`" + names[index].replace("`", "``") + "`", None, {}
                self.query_one(Parallel).forget()
                self.reload()

        await self.app.push_screen(Menu("Metric", list(zip(names, told, strict=True)), "look_at_it"), picked)

    def action_filter(self) -> None:
        """Ask for a filter."""
        from mlops_tui.tui.widgets.prompt import Prompt

        hint = "status:done auc>0.9 ~resnet -word started>-2h; empty takes all"
        self.mount(Prompt("/", self.filter, self._filtered, hint=hint))

    def _filtered(self, text: str) -> None:
        self.filter, self.members = text.strip(), {}
        self.reload()

    def action_list(self) -> None:
        """Find the runs within the ranges in the list."""
        self.mlops.call_later(self._list, self.narrowed)

    async def _list(self, filter: str) -> None:
        await self.app.pop_screen()
        self.mlops.face.query_one("#runs", TableOfRuns).set_filter(filter)

    def action_compare(self) -> None:
        """Compare the selected runs."""
        from mlops_tui.tui.screens.runs.compare import MOST, Compare

        chosen = list(self.selected)
        if len(chosen) < 2:
            self.complain("select at least two runs with space: enter unfolds a group")
            return
        if len(chosen) > MOST:
            self.complain(f"the first {MOST} of {len(chosen)} are compared: more shapes nobody tells apart")
        self.app.push_screen(Compare(chosen[:MOST]))

    def cli(self) -> str:
        """What the focused panel shows, as a command."""
        ask = {"metric": written.plain_name(self.metric), "filter": self.narrowed}
        if isinstance(self.focused, Parallel):
            return command("run.parallel", ask)
        if self.focused is self.lines("importance"):
            return command("run.importance", ask)
        return command("run.list", {key: value for key, value in self._asking().items() if key != "limit"})

    def subjects(self) -> tuple[str, list[str]] | None:
        """The selected runs, or the one under the cursor."""
        row = self.lines("groups").current
        here = [row.link.removeprefix("run:")] if row and row.link.startswith("run:") else []
        names = list(self.selected) or here
        return ("run", names) if names else None

    def subject(self) -> tuple[str, str] | None:
        """The run under the cursor, or the first that is selected."""
        found = self.subjects()
        return ("run", found[1][0]) if found else None
