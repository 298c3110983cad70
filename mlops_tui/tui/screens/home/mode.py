"""Home: what needs you, what runs, how the machine and the models are. One read, nine panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult

from mlops_tui.core.clock import now_us
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import words
from mlops_tui.tui.drawing.text import grid, line, spread
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.frame.base import Face
from mlops_tui.tui.screens.home import tiles
from mlops_tui.tui.widgets.lines import Lines, Row

if TYPE_CHECKING:
    from mlops_tui.contracts.agent import HomeSnapshot

_BEGIN = (
    ("mlops demo", "the whole lifecycle on real data, in about two minutes"),
    ("mlops train script.py", "run a training script and follow it here"),
    ("import mlops_tui as mlops", "with mlops.start_run() as run: run.log({…}) in your own script"),
    ("mlops data add NAME FILE", "take in a data set as its first version"),
    ("mlops doctor", "check this machine"),
)
"""What a store without anything in it offers."""

_EMPTY = {
    "needs": "nothing needs you",
    "running": "nothing runs — start something: mlops train script.py",
    "drift": "no monitor yet — mlops monitor add DEPLOYMENT",
    "traffic": "no rollout and no test in progress — mlops rollout start DEPLOYMENT MODEL@VERSION",
    "latest": "no runs yet — mlops train script.py, or mlops demo",
    "events": "nothing has happened yet",
}


class Home(Face):
    """The dashboard."""

    SCOPE = "home"
    MODE = "home"
    TOPICS: ClassVar[frozenset[str]] = frozenset(
        (
            "event",
            "alert",
            "job",
            "run",
            "host",
            "drift",
            "monitor",
            "rollout",
            "deploy",
            "ab",
            "model",
            "version",
            "audit",
        )
    )
    BINDINGS = bindings("home")
    DEFAULT_CSS = """
    Home > #body { layout: grid; grid-size: 20 5; grid-rows: 6fr 9fr 8fr 5fr 5fr; }
    Home #needs, Home #running { column-span: 12; }
    Home #fleet, Home #hardware { column-span: 8; }
    Home #drift, Home #traffic, Home #latest, Home #cost { column-span: 10; }
    Home #events { column-span: 20; }
    Home.-narrow > #body, Home.-short > #body { grid-size: 20 4; grid-rows: 5fr 6fr 6fr 4fr; }
    Home.-narrow #traffic, Home.-narrow #latest, Home.-narrow #cost, Home.-narrow #events { display: none; }
    Home.-short #traffic, Home.-short #latest, Home.-short #cost, Home.-short #events { display: none; }
    Home.-narrow #needs, Home.-narrow #running, Home.-narrow #fleet { column-span: 20; }
    Home.-short #needs, Home.-short #running, Home.-short #fleet { column-span: 20; }
    Home.-narrow #hardware, Home.-short #hardware { column-span: 9; }
    Home.-narrow #drift, Home.-short #drift { column-span: 11; }
    Home.-short #fleet { column-span: 20; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.snapshot: HomeSnapshot | None = None

    def panels(self) -> ComposeResult:
        """Yield the tiles; in a small terminal the fleet comes last and stands for cost and approvals too."""
        yield Lines("Needs you", "panel.open home.ack", empty=_EMPTY["needs"], ident="needs")
        fleet = Lines("Fleet", ident="fleet")
        if not self.small:
            yield fleet
        yield Lines("Running now", "panel.open app.actions", empty=_EMPTY["running"], ident="running")
        yield Lines("Hardware", "mode.hardware=details", ident="hardware")
        yield Lines("Drift", "mode.drift=details", empty=_EMPTY["drift"], ident="drift")
        yield Lines("A/B and canary", "mode.deploy=deploy mode.ab=A/B", empty=_EMPTY["traffic"], ident="traffic")
        yield Lines("Latest runs", "mode.runs=all_runs", empty=_EMPTY["latest"], ident="latest")
        yield Lines("Cost & compliance", "mode.hardware=cost mode.govern=govern", ident="cost")
        yield Lines("Events", empty=_EMPTY["events"], ident="events")
        if self.small:
            yield fleet

    @property
    def small(self) -> bool:
        """Whether there is only room for the short form."""
        return self.narrow or self.app.size.height < 30

    def on_resize(self) -> None:
        """Bring the fleet to its place, and write the lines for the new width."""
        body, fleet = self.query_one("#body"), self.query_one("#fleet")
        if self.small:
            body.move_child(fleet, after=body.children[-1])
        else:
            body.move_child(fleet, after=self.query_one("#needs"))
        if self.snapshot:
            self.call_after_refresh(self._show, self.snapshot)

    async def load(self, news: News) -> None:
        """Read the snapshot and show what is different in it."""
        shown = await self.fill(self.lines("needs"), self.door.call("home.show"))
        if shown is not None:
            self.snapshot = shown
            self.mlops.restate(
                user=shown.user,
                environment=shown.environment,
                readonly=shown.readonly or self.mlops.status.readonly,
                jobs=len(shown.jobs),
            )
            self._show(shown)

    def cli(self) -> str:
        """The dashboard as a command."""
        return "mlops top --once"

    def subject(self) -> tuple[str, str] | None:
        """What the row under the cursor leads to."""
        panel = self.focused_panel()
        link = panel.current.link if isinstance(panel, Lines) and panel.current else ""
        noun, _, name = link.partition(":")
        return (noun, name) if name else None

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Go where the row leads."""
        self.mlops.open_link(event.link)

    def action_ack(self) -> None:
        """Acknowledge the alert under the cursor."""
        subject = self.subject()
        if subject is None or subject[0] != "alert":
            self.complain("put the cursor on an alert first")
            return
        self.change("alert.ack", {"alert": subject[1]}, "acknowledge")

    # Writing

    def _show(self, shot: HomeSnapshot) -> None:
        now = now_us()
        needs, running = self.lines("needs"), self.lines("running")
        needs.title = f"Needs you ({len(shot.attention)})" if shot.attention else "Needs you"
        wide = max((len(one.kind) for one in shot.attention), default=0)
        needs.show(
            lambda cells: (
                Row(
                    spread(
                        line(words.symbol(one.severity), " ", (one.kind.ljust(wide), "*text"), "  ", one.text),
                        line((fmt.when(one.ts, now), "dim")),
                        cells,
                    ),
                    one.link,
                )
                for one in shot.attention
            )
        )
        running.title = f"Running now ({len(shot.jobs)})" if shot.jobs else "Running now"
        if not (shot.jobs or shot.runs or shot.models or shot.deployments):
            running.title = "Begin here"
            running.show(grid([[(command, "accent"), (what, "dim")] for command, what in _BEGIN]))
        else:
            running.show(lambda cells: tiles.jobs(shot.jobs, cells, now))
        self.lines("hardware").show(lambda cells: tiles.hardware(shot.host, cells))
        drift = self.lines("drift")
        drift.title = "Drift · A/B" if self.small else "Drift, worst feature"
        also = shot.traffic if self.small else []
        drift.show(lambda cells: [*tiles.drifts(shot.drift, cells), *tiles.traffics(also, cells)])
        self.lines("traffic").show(lambda cells: tiles.traffics(shot.traffic, cells))
        self.lines("latest").show(lambda cells: tiles.runs(shot.runs, cells, now))
        self.lines("fleet").show(tiles.fleet(shot, self.small))
        self.lines("cost").show(tiles.cost(shot))
        self.lines("events").show(
            Row(line((fmt.hour(one.ts), "dim"), "  ", (f"{one.actor[:10]:<10}", "dim"), one.text), one.link)
            for one in shot.events
        )


MODE_SCREEN = Home
