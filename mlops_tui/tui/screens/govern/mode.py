"""Govern: the audit trail and whether it is whole, who may do what, plugins, and everything that happened."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.govern import ChainVerdict
from mlops_tui.tui.drawing.text import Line, join, line, wrap
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.frame.browser import Browser
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.table import Table
from mlops_tui.tui.work import start


class Govern(Browser):
    """The audit trail above, people, plugins and events below."""

    SCOPE = "govern"
    MODE = "govern"
    LISTS: ClassVar[dict[str, str]] = {
        "audit": "audit",
        "identities": "identity",
        "plugins": "plugin",
        "events": "event",
    }
    BINDINGS = bindings("govern")
    DEFAULT_CSS = """
    Govern > #body { layout: grid; grid-size: 20 4; grid-rows: 5fr 4 3fr 2fr; }
    Govern #audit, Govern #chain { column-span: 20; }
    Govern #events { column-span: 13; row-span: 2; }
    Govern #identities, Govern #plugins { column-span: 7; }
    Govern.-narrow #events { column-span: 12; }
    Govern.-narrow #identities, Govern.-narrow #plugins { column-span: 8; }
    Govern.-narrow > #body { grid-rows: 5fr 4 2fr 2fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.verdict: ChainVerdict | None = None

    def panels(self) -> ComposeResult:
        """Yield the trail, its verdict, events, people and plugins."""
        yield Table(
            "Audit trail", "panel.open govern.verify", empty="nothing has been changed yet", sort="-seq", ident="audit"
        )
        yield Lines("Chain", "govern.verify=verify_now", ident="chain")
        yield Table("Events", empty="nothing has happened yet", ident="events")
        yield Table(
            "Who may what", "app.actions", empty="only you — mlops identity create NAME ROLE", ident="identities"
        )
        yield Table("Plugins", "app.actions=trust", empty="no plugins", ident="plugins")

    async def load(self, news: News) -> None:
        """Read the lists; the chain is verified at the beginning and when asked for."""
        await super().load(news)
        if self.verdict is None:
            await self.verify()

    async def verify(self) -> None:
        """Verify the chain and show the verdict."""
        panel = self.lines("chain")
        panel.figure = line(("↻ verifying", "busy"))
        found: ChainVerdict | None = await self.fill(panel, self.door.call("audit.verify"))
        panel.figure = ()
        if found is not None:
            self.verdict = found
            panel.show(lambda cells: told(found, cells))

    def action_verify(self) -> None:
        """Verify the chain now."""
        start(self, self.verify, group="verify", replace=True)

    async def opened(self, table: Table, row: list[Any]) -> None:
        """Open an audit record; an event opens what it is about."""
        if table.id == "audit":
            await self.open_object("audit", str(row[0]))
        elif table.id == "events" and (link := table.value("link", row)):
            self.mlops.open_link(str(link))


def told(verdict: ChainVerdict, cells: int) -> list[Line]:
    """Return whether the chain is whole, and its ends."""
    state = line(("✔ whole", "ok")) if verdict.ok else line((f"✖ broken at {verdict.first_broken}", "fail"))
    figures = line(f"{verdict.records:,} records", (" · ", "faint"), f"{verdict.checkpoints:,} checkpoints")
    return [
        join([state, figures, line(("head ", "dim"), (verdict.head[:16], "faint"))], "   "),
        *wrap(verdict.text, cells, "dim"),
    ]


MODE_SCREEN = Govern
