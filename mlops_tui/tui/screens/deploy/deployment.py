"""One deployment: its traffic, revisions, servers, curves, toggles, rollouts and the end of its log."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.run import LogLines
from mlops_tui.tui.drawing.text import line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.screens.deploy import deploy_lines, served_charts
from mlops_tui.tui.screens.deploy.steering import Page
from mlops_tui.tui.screens.frame.browser import Browser
from mlops_tui.tui.screens.overlays.log import coloured
from mlops_tui.tui.widgets.charts import Charts
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.table import Table

_TAIL = 30
_COLUMNS = ("state", "strategy", "weight", "started", "actor")


class DeploymentScreen(Page, Browser):
    """A deployment, whole and live; enter on one of its rollouts opens it."""

    SCOPE = "deployment"
    MODE = "deploy"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("deploy", "label", "traffic", "toggle", "log"))
    LISTS: ClassVar[dict[str, str]] = {"rollouts": "rollout"}
    BINDINGS = bindings("deploy", "curve")
    CURVES: ClassVar[tuple[Any, ...]] = (served_charts.OF_DEPLOYMENT,)
    DEFAULT_CSS = """
    DeploymentScreen > #body { layout: grid; grid-size: 20 5; grid-rows: 5 5 3fr 2fr 5; }
    DeploymentScreen #about, DeploymentScreen #revisions, DeploymentScreen #console { column-span: 20; }
    DeploymentScreen #curves { column-span: 12; }
    DeploymentScreen #servers { column-span: 8; }
    DeploymentScreen #rollouts { column-span: 12; }
    DeploymentScreen #toggles { column-span: 8; }
    DeploymentScreen.-narrow > #body { grid-size: 20 4; grid-rows: 5 5 1fr 5; }
    DeploymentScreen.-narrow #curves { column-span: 20; }
    DeploymentScreen.-narrow #servers, DeploymentScreen.-narrow #console { display: none; }
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name_of_deployment = name

    @property
    def crumb(self) -> str:
        """The deployment's name."""
        return self.name_of_deployment

    def panels(self) -> ComposeResult:
        """Yield the panels."""
        yield Lines("Deployment", "deploy.rollout deploy.rollback deploy.kill", ident="about")
        yield Lines("Revisions", empty="no version was ever served", ident="revisions")
        yield Charts(
            "deploy.charts curve.smooth", empty="no request was answered in the last half hour", ident="curves"
        )
        empty = "no rollout yet: N begins one, or mlops rollout start DEPLOYMENT MODEL@VERSION"
        yield Lines("Servers", "app.logs", empty="no server has started yet", ident="servers")
        table = Table("Rollouts", "panel.open deploy.rollout=new", empty=empty, ident="rollouts")
        table.shape.chosen = _COLUMNS
        yield table
        yield Lines("Toggles", "panel.open deploy.toggle=switch", empty=deploy_lines.NO_TOGGLE, ident="toggles")
        yield Lines("Log", "app.logs=whole_log", empty="the servers have written nothing yet", ident="console")

    def on_mount(self) -> None:
        """Begin with the rollouts: that is where one goes on from here."""
        table = self.table("rollouts")
        table.source = self.source("rollouts", f'deployment:"{self.name_of_deployment}"')
        table.focus()

    async def preview(self) -> None:
        """Read the deployment and show it."""
        found = await self.fill(self._panels_of_lines, self.look(self.name_of_deployment))
        if found is None:
            return
        self._show()
        await self.draw()
        await self._tail()

    async def moved(self, table: Table) -> None:
        """Say in the frame why the rollout under the cursor stands where it does."""
        table.figure = line((str(table.value("text") or ""), "dim"))

    @property
    def _panels_of_lines(self) -> list[Lines]:
        return list(self.query(Lines))

    def _show(self) -> None:
        found = self.deployment
        assert found is not None
        panel = self.lines("about")
        panel.tone = "prod" if found.environment == "prod" else "line"
        panel.title = f"{found.name} · {found.environment}"
        panel.figure = deploy_lines.busy(self.busy)
        panel.show(lambda cells: deploy_lines.about(found, self.toggles, cells))
        self.lines("revisions").title = f"Revisions ({len(found.revisions)})"
        self.lines("revisions").show(lambda cells: deploy_lines.revisions(found, self.busy, cells))
        self.lines("servers").show(lambda cells: deploy_lines.servers(self.busy, cells))
        self.lines("toggles").show(lambda cells: deploy_lines.toggle_rows(self.toggles, found.name, cells))

    async def _tail(self) -> None:
        panel = self.lines("console")
        if not panel.room[0]:
            return
        asked = {"deployment": self.name_of_deployment, "lines": _TAIL}
        got: LogLines | None = await self.fill(panel, self.door.call("deploy.logs", asked))
        if got is not None:
            panel.show([coloured(text) for text in got.lines])
            panel.scroll_rows(len(got.lines))

    async def opened(self, table: Table, row: list[Any]) -> None:
        """Open the rollout under the cursor."""
        from mlops_tui.tui.screens.deploy.rollout import RolloutScreen

        await self.app.push_screen(RolloutScreen(self.name_of_deployment, str(row[0])))

    def cli(self) -> str:
        """The deployment as a command."""
        return f"mlops deploy show {self.name_of_deployment}"

    def subject(self) -> tuple[str, str]:
        """The deployment."""
        return "deploy", self.name_of_deployment
