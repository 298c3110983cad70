"""Deploy: environments, their deployments, and of the one under the cursor how it stands."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.rollout import Rollout
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.deploy import deploy_lines, served_charts
from mlops_tui.tui.screens.deploy import rollout_lines as written
from mlops_tui.tui.screens.deploy.deployment import DeploymentScreen
from mlops_tui.tui.screens.deploy.rollout import RolloutScreen
from mlops_tui.tui.screens.deploy.steering import Steering
from mlops_tui.tui.screens.frame.browser import Browser
from mlops_tui.tui.widgets.charts import Charts
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.table import Table
from mlops_tui.tui.work import start

_FEW = 1000
"""Deployments that are counted by their environments."""


class Deploy(Steering, Browser):
    """The environments and deployments, and how one of them stands; enter opens it."""

    SCOPE = "deploy"
    MODE = "deploy"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("rollout", "deploy", "label", "traffic", "toggle"))
    LISTS: ClassVar[dict[str, str]] = {"deployments": "deploy"}
    BINDINGS = bindings("deploy", "curve")
    DEFAULT_CSS = """
    Deploy > #body { layout: grid; grid-size: 20 4; grid-rows: 9 6 1fr 1fr; }
    Deploy #environments { column-span: 5; }
    Deploy #deployments { column-span: 15; }
    Deploy #rollout { column-span: 20; }
    Deploy #revisions { column-span: 12; }
    Deploy #curves { column-span: 8; row-span: 2; }
    Deploy #analysis { column-span: 12; }
    Deploy.-narrow > #body { grid-size: 20 4; grid-rows: 6 6 5 1fr; }
    Deploy.-narrow.-few > #body { grid-rows: 5 6 5 1fr; }
    Deploy.-narrow #deployments, Deploy.-narrow #revisions, Deploy.-narrow #analysis { column-span: 20; }
    Deploy.-narrow #environments, Deploy.-narrow #curves { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.environment = ""

    def panels(self) -> ComposeResult:
        """Yield the lists and the panels about one deployment."""
        yield Lines("Environments", "panel.open=choose", empty="where models are served", ident="environments")
        yield Table(
            "Deployments",
            "panel.open app.actions",
            empty="nothing is served yet — mlops deploy create NAME MODEL@champion",
            ident="deployments",
        )
        yield Lines("Traffic", empty="which version answers how much, and where its rollout stands", ident="rollout")
        yield Lines(
            "Revisions",
            empty="its versions: share, requests, errors, latency",
            ident="revisions",
        )
        yield Charts("deploy.charts", empty="no request was answered in the last half hour", ident="curves")
        yield Lines("Analysis", empty="no rollout has been judged yet", ident="analysis")

    def on_mount(self) -> None:
        """Give the focus to the list."""
        self.table("deployments").focus()

    async def load(self, news: News) -> None:
        """Count the environments anew, then take the news into list and panels."""
        if news.all or news.touches("deploy"):
            await self._count()
        await super().load(news)
        self.set_class(self.table("deployments").total < 3, "-few")

    async def _count(self) -> None:
        panel = self.lines("environments")
        got = await self.fill(panel, self.door.call("deploy.list", {"limit": _FEW}))
        if got is not None:
            rows = deploy_lines.dicts(got)
            panel.show(lambda cells: deploy_lines.environments(rows, self.environment, cells))

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """List the deployments of one environment, or of all."""
        self.environment = "" if event.link == "all" else event.link
        table = self.table("deployments")
        within = f'environment:"{self.environment}"' if self.environment else ""
        table.source = self.source("deployments", within)
        table.name_of_list = f"Deployments · {self.environment}" if within else "Deployments"
        table.open_anew()
        table.focus()
        start(self, self._count, group="count", replace=True)

    async def preview(self) -> None:
        """Read the deployment under the cursor and how it stands."""
        name = self.table("deployments").value("name")
        panels = [self.lines(one) for one in ("rollout", "analysis", "revisions")]
        if not name:
            self.deployment = self.rollout = None
            for panel in panels:
                panel.show([])
            self.query_one(Charts).offer(())
            return
        if await self.fill(panels, self.look(name)) is not None:
            self._show()
            await self._draw()

    def _show(self) -> None:
        found, rollout = self.deployment, self.rollout
        assert found is not None
        panel = self.lines("rollout")
        panel.tone = "prod" if found.environment == "prod" else "line"
        panel.title = f"{found.name} · {found.environment}"
        panel.hints = written.steering(rollout)
        panel.figure = deploy_lines.busy(self.busy)
        panel.show(
            lambda cells: [*deploy_lines.trouble(found, self.toggles, cells), *written.summary(rollout, found, cells)]
        )
        self.lines("revisions").title = f"Revisions ({len(found.revisions)})"
        self.lines("revisions").show(lambda cells: deploy_lines.revisions(found, self.busy, cells))
        title = f"Analysis {rollout.canary} against {rollout.stable}" if rollout else "Analysis"
        self.lines("analysis").title = title
        self.lines("analysis").show(lambda cells: written.checks(rollout, cells) if rollout else [])

    async def _draw(self) -> None:
        charts = self.query_one(Charts)
        if self.deployment is None or not charts.display or not self.query_one("#curves").size.width:
            return
        charts.offer(served_charts.OF_DEPLOYMENT)
        await self.fill(charts.charts, served_charts.draw(self.door, charts, self.deployment, None))

    def on_charts_turned(self) -> None:
        """Draw the page that is seen now."""
        start(self, self._draw, group="draw", replace=True)

    def action_charts(self) -> None:
        """Draw the next curves."""
        self.query_one(Charts).turn(1)

    async def open_object(self, noun: str, name: str, rest: str = "") -> None:
        """Open a deployment, a rollout on top of its deployment, or what else belongs here."""
        if noun == "deploy":
            await self.app.push_screen(DeploymentScreen(name))
        elif noun == "rollout":
            found: Rollout = await self.door.call("rollout.status", {"rollout": name})
            await self.app.push_screen(DeploymentScreen(found.deployment))
            await self.app.push_screen(RolloutScreen(found.deployment, "" if name == found.deployment else found.id))
        else:
            await super().open_object(noun, name, rest)


MODE_SCREEN = Deploy
