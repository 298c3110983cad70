"""Deploy: deployments, and of the one under the cursor its rollout, evidence, revisions and timeline."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.deploy import Deployment
from mlops_tui.contracts.rollout import Rollout
from mlops_tui.core.errors import NotFound
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.screens import rollout as written
from mlops_tui.tui.screens.browser import Browser
from mlops_tui.tui.text import line
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.table import Table


class Deploy(Browser):
    """The deployments, and everything about one of them.

    Args:
        only: show this deployment alone, as a screen of its own.
    """

    SCOPE = "deploy"
    MODE = "deploy"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("rollout", "deploy", "label"))
    LISTS: ClassVar[dict[str, str]] = {"deployments": "deploy"}
    BINDINGS = bindings("deploy")
    DEFAULT_CSS = """
    Deploy > #body { layout: grid; grid-size: 20 5; grid-rows: 6 6 1fr 1fr 1fr; }
    Deploy > #body > * { column-span: 20; }
    Deploy.-only > #body { grid-size: 20 4; grid-rows: 6 1fr 1fr 1fr; }
    Deploy.-only #deployments { display: none; }
    Deploy.-narrow > #body { grid-size: 20 4; grid-rows: 5 5 1fr 1fr; }
    Deploy.-narrow #revisions { display: none; }
    Deploy.-narrow.-only > #body { grid-size: 20 3; grid-rows: 6 1fr 1fr; }
    """

    def __init__(self, only: str = "") -> None:
        super().__init__()
        self.only = only
        self.set_class(bool(only), "-only")
        self.deployment: Deployment | None = None
        self.rollout: Rollout | None = None

    @property
    def crumb(self) -> str:
        """The mode, or the one deployment."""
        return self.only or super().crumb

    def panels(self) -> ComposeResult:
        """Yield the list and the panels about one deployment."""
        yield Table(
            "Deployments",
            "panel.open app.actions",
            empty="nothing is served yet — mlops deploy create NAME MODEL@champion",
            ident="deployments",
        )
        yield Lines("Rollout", empty="no rollout yet — mlops rollout start DEPLOYMENT MODEL@VERSION", ident="rollout")
        yield Lines("Analysis", empty="no look at the evidence yet", ident="analysis")
        yield Lines("Revisions", empty="what is under the cursor", ident="revisions")
        yield Lines("Timeline", empty="nothing has happened yet", ident="timeline")

    def on_mount(self) -> None:
        """Give the focus to what can be seen."""
        if self.only:
            self.table("deployments").filter = f'name:"{self.only}"'
            self.lines("rollout").focus()

    async def preview(self) -> None:
        """Read the deployment under the cursor and its newest rollout."""
        name = self.only or self.table("deployments").value("name")
        panels = [self.lines(one) for one in ("rollout", "analysis", "revisions", "timeline")]
        if not name:
            for panel in panels:
                panel.show([])
            return
        found: Deployment | None = await self.fill(panels, self.door.call("deploy.show", {"deployment": name}))
        if found is None:
            return
        self.deployment = found
        try:
            self.rollout = await self.door.call("rollout.status", {"rollout": name})
        except NotFound:
            self.rollout = None
        self._show(found, self.rollout)

    def _show(self, found: Deployment, rollout: Rollout | None) -> None:
        panel = self.lines("rollout")
        panel.tone = "prod" if found.environment == "prod" else "line"
        panel.title = f"{found.name} · {found.environment}"
        panel.figure = line((found.url, "dim"))
        panel.show(lambda cells: written.state(found, rollout, cells))
        title = f"Analysis {rollout.canary} against {rollout.stable}" if rollout else "Analysis"
        self.lines("analysis").title = title
        self.lines("analysis").show(lambda cells: written.analysis(rollout, cells) if rollout else [])
        self.lines("revisions").show(lambda cells: written.revisions(found, cells))
        self.lines("timeline").show(lambda cells: written.timeline(rollout, cells) if rollout else [])

    async def open_object(self, noun: str, name: str, rest: str = "") -> None:
        """Open one deployment; a rollout opens as its deployment."""
        if noun == "rollout":
            found: Rollout = await self.door.call("rollout.status", {"rollout": name})
            name = found.deployment
        await self.app.push_screen(Deploy(only=name))

    def subject(self) -> tuple[str, str] | None:
        """The deployment."""
        return ("deploy", self.only) if self.only else super().subject()

    def cli(self) -> str:
        """The rollout, or the list, as a command."""
        if self.only:
            return f"mlops rollout status {self.only}" if self.rollout else f"mlops deploy show {self.only}"
        return super().cli()

    # Changes

    def _steer(self, operation: str, verb: str) -> None:
        if self.deployment is None:
            self.complain("there is no deployment under the cursor")
            return
        field = "deployment" if operation == "rollout.rollback" else "rollout"
        self.change(operation, {field: self.deployment.name}, verb, prod=self.deployment.environment == "prod")

    def action_promote(self) -> None:
        """Give the canary all traffic."""
        self._steer("rollout.promote", "promote")

    def action_hold(self) -> None:
        """Hold the rollout, or let it go on."""
        held = self.rollout is not None and self.rollout.state == "Paused"
        self._steer("rollout.resume" if held else "rollout.pause", "resume" if held else "hold")

    def action_rollback(self) -> None:
        """Go back to what was served before; a rollout under way is aborted, which is the same."""
        moving = self.rollout is not None and self.rollout.state not in written.OVER
        self._steer("rollout.abort" if moving else "rollout.rollback", "roll back")

    def action_abort(self) -> None:
        """End the rollout."""
        self._steer("rollout.abort", "abort")


MODE_SCREEN = Deploy
