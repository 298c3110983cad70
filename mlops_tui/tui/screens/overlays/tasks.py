"""The drawer of jobs: what runs, what waits, what ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Vertical

from mlops_tui.tui.news.hub import News
from mlops_tui.tui.news.views import ViewSource
from mlops_tui.tui.widgets.dialog import Dialog
from mlops_tui.tui.widgets.table import Table

if TYPE_CHECKING:
    from mlops_tui.tui.app import MlopsApp


class Tasks(Dialog[None]):
    """A list of jobs over the screen; enter opens one."""

    DEFAULT_CSS = """
    Tasks > #box { width: 100; height: 60%; padding: 0; border: none; }
    Tasks Table { background: $raised; }
    """
    topics = frozenset(("job",))

    @property
    def mlops(self) -> MlopsApp:
        """The app, as its own type."""
        return cast("MlopsApp", self.app)

    @property
    def seen(self) -> bool:
        """Whether the drawer is open."""
        return self.app.screen is self

    def compose(self) -> ComposeResult:
        """Lay out the list."""
        with Vertical(id="box"):
            yield Table(
                "Jobs",
                "panel.open app.back=close",
                empty="no jobs yet — start one: mlops train script.py",
                source=ViewSource(self.mlops.door, "job"),
            )

    def on_mount(self) -> None:
        """Listen to the feed while it is open."""
        self.query_one(Table).focus()
        self.mlops.hub.join(self)

    def on_unmount(self) -> None:
        """Stop listening."""
        self.mlops.hub.leave(self)

    async def hear(self, news: News) -> None:
        """Read what changed."""
        await self.query_one(Table).news(news.happened("job"), news.all)

    def on_table_opened(self, event: Table.Opened) -> None:
        """Open a job."""
        self.dismiss(None)
        self.mlops.open_link(f"job:{event.row[0]}")
