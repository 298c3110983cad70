"""One rollout: where it stands and why, the evidence, the curves of both sides, its looks and what happened."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.rollout import Rollout
from mlops_tui.core.ids import short
from mlops_tui.tui.drawing.text import line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.deploy import deploy_lines, served_charts
from mlops_tui.tui.screens.deploy import rollout_lines as written
from mlops_tui.tui.screens.deploy.steering import Page
from mlops_tui.tui.widgets.charts import Charts
from mlops_tui.tui.widgets.lines import Lines


class RolloutScreen(Page):
    """A rollout, whole and live.

    Args:
        deployment: into which it brings a version.
        rollout: its id; empty: the deployment's newest.
    """

    SCOPE = "rollout"
    MODE = "deploy"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("rollout", "deploy", "label", "traffic", "toggle"))
    BINDINGS = bindings("deploy", "curve")
    CURVES: ClassVar[tuple[Any, ...]] = (served_charts.NAMES, "", (served_charts.EVIDENCE,))
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

    @property
    def compared(self) -> Rollout | None:
        """Both sides of this rollout are drawn."""
        return self.rollout

    def panels(self) -> ComposeResult:
        """Yield the panels."""
        empty = "no rollout yet: N begins one, or mlops rollout start DEPLOYMENT MODEL@VERSION"
        yield Lines("Rollout", "deploy.rollout", empty=empty, ident="rollout")
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
        await self.draw()

    def _show(self) -> None:
        found, rollout = self.deployment, self.rollout
        assert found is not None
        panel = self.lines("rollout")
        panel.tone = "prod" if found.environment == "prod" else "line"
        panel.title = f"Rollout · {written.about(rollout)}" if rollout else "Rollout"
        panel.hints = written.steering(rollout)
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

    def cli(self) -> str:
        """The rollout as a command."""
        return f"mlops rollout status {short(self.ref) if self.ref else self.of}"

    def subject(self) -> tuple[str, str]:
        """The deployment, whose actions and log these are."""
        return "deploy", self.of
