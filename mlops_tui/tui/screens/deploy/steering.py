"""What the screens of Deploy share: one deployment as it stands, and the keys that steer its traffic."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from mlops_tui.contracts.deploy import Deployment
from mlops_tui.contracts.load import Load
from mlops_tui.contracts.rollout import Rollout
from mlops_tui.core.errors import MlopsError, NotFound
from mlops_tui.tui.screens.deploy import deploy_lines, served_charts
from mlops_tui.tui.screens.deploy.rollout_lines import OVER
from mlops_tui.tui.screens.frame.base import Face
from mlops_tui.tui.widgets.charts import Charts
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.work import start

ASKED = ("model", "strategy", "steps", "step_s", "events", "min_requests")
"""What a new rollout is asked for; everything else can be said in a file, by ``mlops rollout start --file``."""
_FEW = 1000
_VERSIONS = 200


class Steering(Face):
    """A screen that shows one deployment at a time and can steer it. Subclasses call :meth:`look` and show it."""

    def __init__(self) -> None:
        super().__init__()
        self.deployment: Deployment | None = None
        self.rollout: Rollout | None = None
        self.busy: Load | None = None
        self.toggles: list[dict[str, Any]] = []

    @property
    def moving(self) -> bool:
        """Whether a rollout is under way."""
        return self.rollout is not None and self.rollout.state not in OVER

    @property
    def killed(self) -> list[str]:
        """What of the deployment is switched off."""
        return deploy_lines.switched_off(self.toggles, self.deployment.name) if self.deployment else []

    async def look(self, name: str, rollout: str = "") -> Deployment:
        """Read a deployment, its newest rollout or the one that is named, its load and its toggles.

        Raises:
            MlopsError: the agent does not know it, or is gone.
        """
        told = await asyncio.gather(
            self.door.call("deploy.show", {"deployment": name}),
            self._newest_rollout(rollout or name),
            self.door.call("deploy.load", {"deployment": name}),
            self.door.call("toggle.list", {"limit": _FEW}),
        )
        found: Deployment = told[0]
        self.deployment, self.rollout, self.busy = found, told[1], told[2]
        self.toggles = deploy_lines.dicts(told[3])
        return found

    async def _newest_rollout(self, ref: str) -> Rollout | None:
        try:
            found: Rollout = await self.door.call("rollout.status", {"rollout": ref})
        except NotFound:
            return None
        return found

    # Keys

    def steer(self, operation: str, verb: str, **fields: Any) -> None:
        """Plan a change of the deployment's traffic; production asks for its name."""
        if self.deployment is None:
            self.complain("there is no deployment under the cursor")
            return
        self.change(operation, fields, verb, prod=self.deployment.environment == "prod")

    def _word(self, word: str, verb: str = "") -> None:
        if self.rollout is None:
            self.complain("there is no rollout to steer; N begins one")
        else:
            self.steer(f"rollout.{word}", verb or word, rollout=self.rollout.deployment)

    def action_promote(self) -> None:
        """Give the new version all traffic, or say the word that the rollout waits for."""
        self._word("approve" if self.rollout is not None and self.rollout.state == "Holding" else "promote")

    def action_hold(self) -> None:
        """Hold the rollout, or let it go on."""
        held = self.rollout is not None and self.rollout.state == "Paused"
        self._word("resume" if held else "pause", "resume" if held else "hold")

    def action_rollback(self) -> None:
        """Go back to what was served before, whether a rollout is under way or not."""
        if self.deployment is not None:
            self.steer("rollout.rollback", "roll back", deployment=self.deployment.name)

    def action_abort(self) -> None:
        """End the rollout."""
        self._word("abort")

    def action_kill(self) -> None:
        """Stop all answers at once, or let what is switched off answer again."""
        if self.deployment is None:
            self.complain("there is no deployment under the cursor")
            return
        off, name = self.killed, self.deployment.name
        if off:
            only = {} if deploy_lines.ALL in off else {"revision": off[0]}
            self.steer("deploy.revive", "let it answer", deployment=name, **only)
        else:
            self.steer("deploy.kill", "stop all answers", deployment=name)

    async def action_rollout(self) -> None:
        """Ask what to bring in and how, and show the plan."""
        from mlops_tui.tui.widgets.form import Form

        if self.deployment is None:
            self.complain("there is no deployment to bring a version into")
            return
        known = {"deployment": self.deployment.name}

        def filled(request: dict[str, Any] | None) -> None:
            if request is not None:
                self.steer("rollout.start", "begin", **request)

        given = {"model": await self._newest()}
        await self.app.push_screen(Form("rollout.start", known, ASKED, given), filled)

    async def _newest(self) -> str:
        """Return the newest version of the served model that is not served, as a first proposal."""
        found = self.deployment
        serving = next((one for one in found.revisions if one.role == "stable"), None) if found else None
        if serving is None:
            return ""
        try:
            table = await self.door.call("version.list", {"filter": f'model:"{serving.model}"', "limit": _VERSIONS})
        except MlopsError:
            return ""  # a proposal is a convenience; the form is asked for all the same
        versions = [one["version"] for one in deploy_lines.dicts(table) if isinstance(one.get("version"), int)]
        newest = max((one for one in versions if one != serving.version), default=None)
        return f"{serving.model}@{newest}" if newest else ""

    def action_flip(self) -> None:
        """Switch the toggle under the cursor to its other variant."""
        from mlops_tui.tui.commands import plan

        panel = self.focused_panel()
        row = getattr(panel, "current", None) if panel is not None and panel.id == "toggles" else None
        if row is None or not row.link:
            here = any(seen.id == "toggles" for seen in self.focus_chain_of_panels())
            way = "tab, then ↓" if here else "enter opens the deployment, where they are"
            self.complain(f"put the cursor on a toggle first: {way}")
            return
        key = row.link.partition(":")[2]
        known = next((one for one in self.toggles if one["key"] == key), None)
        other = {"on": "off", "off": "on"}.get(str(known["default"])) if known else None
        if other is None:
            plan(self.mlops, "toggle.set", {"key": key})
        else:
            self.steer("toggle.set", other, key=key, variant=other)


class Page(Steering):
    """A page of one deployment, with curves that turn and lines that lead on.

    ``CURVES`` is what :meth:`Charts.offer` is given; ``compared`` the rollout whose sides are drawn, if any.
    """

    CURVES: ClassVar[tuple[Any, ...]]

    @property
    def compared(self) -> Rollout | None:
        """The rollout that the curves are about; None: the deployment as a whole."""
        return None

    async def draw(self) -> None:
        """Draw the curves that are seen now."""
        charts = self.query_one(Charts)
        charts.offer(*self.CURVES)
        if self.deployment is not None and charts.page:
            drawn = served_charts.draw(self.door, charts, self.deployment, self.compared)
            await self.fill(charts.charts, drawn)

    def on_charts_turned(self) -> None:
        """Draw the page that is seen now."""
        start(self, self.draw, group="draw", replace=True)

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Go where a line leads."""
        self.mlops.open_link(event.link)

    def action_charts(self) -> None:
        """Draw the next curves."""
        self.query_one(Charts).turn(1)
