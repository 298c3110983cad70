"""One rollout: where it stands and why, the evidence, the curves of both sides, its looks and what happened."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from mlops_tui.core.ids import short
from mlops_tui.tui.hub import News
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.screens import deploy_lines, served_charts
from mlops_tui.tui.screens import rollout_lines as written
from mlops_tui.tui.screens.steering import Steering
from mlops_tui.tui.text import line
from mlops_tui.tui.widgets.charts import Charts
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.work import start


class RolloutScreen(Steering):
    """A rollout, whole and live.

    Args:
        deployment: into which it brings a version.
        rollout: its id; empty: the deployment's newest.
    """

    SCOPE = "rollout"
    MODE = "deploy"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("rollout", "deploy", "label", "traffic", "toggle"))
    BINDINGS = bindings("deploy")
    DEFAULT_CSS = """
    RolloutScreen > #body { layout: grid; grid-size: 20 4; grid-rows: 6 4fr 3fr 3fr; }
    RolloutScreen #rollout { column-span: 20; }
    RolloutScreen #analysis { column-span: 13; }
    RolloutScreen #curves { column-span: 7; row-span: 2; }
    RolloutScreen #looks { column-span: 13; }
    RolloutScreen #timeline { column-span: 13; }
    RolloutScreen #toggles { column-span: 7; }
    RolloutScreen.-narrow > #body { grid-size: 20 3; grid-rows: 6 7 1fr; }
    RolloutScreen.-narrow #analysis { column-span: 20; }
    RolloutScreen.-narrow #curves, RolloutScreen.-narrow #timeline { column-span: 10; row-span: 1; }
    RolloutScreen.-narrow #looks, RolloutScreen.-narrow #toggles { display: none; }
    """

    def __init__(self, deployment: str, rollout: str = "") -> None:
        super().__init__()
        self.of, self.ref = deployment, rollout

    @property
    def crumb(self) -> str:
        """What is brought in, and how."""
        if self.rollout is None:
            return f"rollout {short(self.ref) if self.ref else ''}".strip()
        return f"{self.rollout.strategy} {self.rollout.stable} → {self.rollout.canary}"

    def panels(self) -> ComposeResult:
        """Yield the panels."""
        empty = "no rollout yet: N begins one, or mlops rollout start DEPLOYMENT MODEL@VERSION"
        yield Lines("Rollout", "deploy.promote deploy.hold deploy.rollback deploy.abort", empty=empty, ident="rollout")
        yield Lines("Analysis", empty="nothing has been compared yet", ident="analysis")
        yield Charts("deploy.charts curve.smooth", empty="no request was answered meanwhile", ident="curves")
        yield Lines("Looks", empty="no look at the evidence yet", ident="looks")
        yield Lines("Timeline", empty="nothing has happened yet", ident="timeline")
        yield Lines("Toggles", "panel.open deploy.toggle=switch", empty=deploy_lines.NO_TOGGLE, ident="toggles")

    def on_mount(self) -> None:
        """Give the focus to what decides."""
        self.lines("analysis").focus()

    async def load(self, news: News) -> None:
        """Read the rollout, then the curves that are seen."""
        found = await self.fill(self.query(Lines), self.look(self.of, self.ref))
        if found is None:
            return
        self._show()
        self.restate()
        await self._draw()

    def _show(self) -> None:
        found, rollout = self.deployment, self.rollout
        assert found is not None
        panel = self.lines("rollout")
        panel.tone = "prod" if found.environment == "prod" else "line"
        panel.title = f"Rollout · {written.about(rollout)}" if rollout else "Rollout"
        panel.figure = line((f"{found.name} · {found.environment}", "dim"))
        panel.show(lambda cells: written.head(rollout, found, cells) if rollout else [])
        analysis = self.lines("analysis")
        analysis.title = f"Analysis {rollout.canary} against {rollout.stable}" if rollout else "Analysis"
        analysis.figure = deploy_lines.busy(self.busy)
        analysis.show(lambda cells: written.checks(rollout, cells) if rollout else [])
        self.lines("looks").title = f"Looks ({len(rollout.looks)})" if rollout else "Looks"
        self.lines("looks").show(lambda cells: written.looks(rollout, cells) if rollout else [])
        self.lines("timeline").show(lambda cells: written.timeline(rollout, cells) if rollout else [])
        self.lines("toggles").show(lambda cells: deploy_lines.toggle_rows(self.toggles, found.name, cells))

    async def _draw(self) -> None:
        charts = self.query_one(Charts)
        charts.offer(served_charts.NAMES, "", (served_charts.EVIDENCE,))
        if self.deployment is not None and charts.page:
            drawn = served_charts.draw(self.door, charts, self.deployment, self.rollout)
            await self.fill(charts.charts, drawn)

    def on_charts_turned(self) -> None:
        """Draw the page that is seen now."""
        start(self, self._draw, group="draw", replace=True)

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Go where a line leads."""
        self.mlops.open_link(event.link)

    def action_charts(self) -> None:
        """Draw the next curves."""
        self.query_one(Charts).turn(1)

    def cli(self) -> str:
        """The rollout as a command."""
        return f"mlops rollout status {short(self.ref) if self.ref else self.of}"

    def subject(self) -> tuple[str, str]:
        """The deployment, whose actions and log these are."""
        return "deploy", self.of
