"""A screen around lists: rows are read as they are seen, and what is under the cursor is shown beside them."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from textual.timer import Timer

from mlops_tui.core.errors import MlopsError
from mlops_tui.tui.news.door import command
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.news.views import ViewSource
from mlops_tui.tui.screens.frame import arrange
from mlops_tui.tui.screens.frame.base import Face
from mlops_tui.tui.widgets.listed import Listed
from mlops_tui.tui.widgets.prompt import Prompt
from mlops_tui.tui.widgets.table import Table
from mlops_tui.tui.work import start

_RELATED = {
    "version": ("model", "gate", "deploy"),
    "model": ("version", "gate", "deploy"),
    "deploy": ("rollout", "toggle"),
    "drift": ("monitor",),
    "audit": ("event",),
    "experiment": ("run",),
    "identity": ("audit",),
}
"""Nouns whose changes show in the list of another: their ids are not those of its rows."""

_PAUSE_S = 0.08
"""How long the cursor must rest before what is under it is read: a held key asks for nothing."""


def named(noun: str, table: Table, row: list[Any] | None = None) -> str:
    """Return what a person would call the object of a row, as the door understands it."""
    row = row or table.current
    if not row:
        return ""
    name, version = table.value("name", row), table.value("version", row)
    match noun:
        case "data" | "feature" if version is not None:
            return f"{name}@{version}"
        case "version":
            return f"{table.value('model', row) or name}@{version}"
        case "model" | "deploy" | "experiment":
            return str(name)
        case "drift":
            return f"{table.value('deployment', row)} {table.value('feature', row)}"
        case _:
            return str(row[0])


class Browser(Face):
    """Lists and previews. Subclasses say which table lists which noun, and fill the panels beside."""

    LISTS: ClassVar[dict[str, str]] = {}
    """The id of each table, and the noun that it lists."""

    rest: Timer | None = None
    """Runs while the cursor moves; when it has rested long enough, what is under it is shown."""

    def table(self, name: str) -> Table:
        """Return a table by its id."""
        return self.query_one(f"#{name}", Table)

    def source(self, name: str, always: str = "") -> ViewSource:
        """Return the source of a table, with a condition that always holds."""
        return ViewSource(self.door, self.LISTS[name], always)

    @property
    def topics(self) -> frozenset[str]:
        """The nouns that are listed, and those that the previews show."""
        listed = self.LISTS.values()
        return self.TOPICS | frozenset(listed) | {other for noun in listed for other in _RELATED.get(noun, ())}

    def on_mount(self) -> None:
        """Arrange the lists as the person left them."""
        for name in self.LISTS:
            arrange.recall(self.table(name), self._place(name))

    def on_table_sorted(self, event: Table.Sorted) -> None:
        """Keep the order for the next time."""
        arrange.remember(self.table(event.table.id or ""), self._place(event.table.id or ""))

    async def on_table_columns_asked(self, event: Table.ColumnsAsked) -> None:
        """Let the person choose columns."""
        name = event.table.id or ""
        start(self, arrange.choose_columns, self, self.table(name), self.LISTS[name], self._place(name))

    async def on_table_views_asked(self, event: Table.ViewsAsked) -> None:
        """Let the person choose one of the kept views."""
        name = event.table.id or ""
        await arrange.choose_view(self, self.table(name), self._place(name))

    def _place(self, name: str) -> str:
        return f"{self.MODE}.{name}"

    async def load(self, news: News) -> None:
        """Take the news into the lists, then into the previews."""
        for name, noun in self.LISTS.items():
            table = self.table(name)
            if table.source is None:
                table.source = self.source(name)
            if news.touches(noun, *_RELATED.get(noun, ())):
                await table.news(news.happened(noun), news.all or bool(news.happened(*_RELATED.get(noun, ()))))
        if news.all or news.touches(*self.topics):
            await self.preview()

    async def preview(self) -> None:
        """Read what the panels beside the lists show."""

    def on_table_moved(self, event: Table.Moved) -> None:
        """Show what is under the cursor, once it rests: a held key starts no work beside the screen."""
        event.stop()
        if self.rest is not None:
            self.rest.stop()
        self.workers.cancel_group(self, "preview")
        if event.rests:
            self._follow(event.table)
        else:
            self.rest = self.set_timer(_PAUSE_S, partial(self._follow, event.table))

    def _follow(self, table: Listed) -> None:
        self.rest = None
        start(self, self._rested, table, group="preview", replace=True)

    async def _rested(self, table: Table) -> None:
        try:
            await self.moved(table)
        except MlopsError as problem:
            self.complain(str(problem))

    async def moved(self, table: Table) -> None:
        """Follow the cursor of a table; most screens just read their previews again."""
        await self.preview()

    def on_table_filter_asked(self, event: Table.FilterAsked) -> None:
        """Ask for a filter at the foot of the screen."""
        self._ask_filter(event.table, event.table.filter)

    def _ask_filter(self, table: Listed, text: str, wrong: tuple[str, int] | None = None) -> None:
        def done(text: str) -> None:
            table.focus()
            start(self, self._filter, table, text, group=f"open-{id(table)}", replace=True)

        names = [f"{column.name}:" for column in table.columns]
        hint = "status:done auc>0.9 ~resnet -word started>-2h; empty shows all"
        self.mount(Prompt("/", text, done, hint=hint, words=names, wrong=wrong))

    async def _filter(self, table: Listed, text: str) -> None:
        """Filter a list; where that cannot be read, ask again with a caret under the place."""
        text = text.strip()
        if problem := await table.try_filter(text):
            reason = problem.what.removeprefix("cannot read the filter: ")
            self._ask_filter(table, text, (reason, max(0, problem.why.rpartition("\n")[2].find("^"))))

    async def on_table_opened(self, event: Table.Opened) -> None:
        """Open the row's object."""
        await self.opened(event.table, event.row)

    async def opened(self, table: Table, row: list[Any]) -> None:
        """Follow a row; not a handler itself, because Textual would call those of every base class too."""
        noun = self.LISTS[table.id or ""]
        await self.open_object(noun, named(noun, table, row))

    def active_table(self) -> Table:
        """Return the focused table, else the first."""
        focused = self.focused
        return focused if isinstance(focused, Table) else self.table(next(iter(self.LISTS)))

    def subject(self) -> tuple[str, str] | None:
        """The object under the cursor of the active table."""
        table = self.active_table()
        noun = self.LISTS[table.id or ""]
        name = named(noun, table)
        return (noun, name) if name else None

    def subjects(self) -> tuple[str, list[str]] | None:
        """The selected objects of the active table, or the one under its cursor."""
        table = self.active_table()
        noun = self.LISTS[table.id or ""]
        names = [name for row in table.chosen if (name := named(noun, table, row))]
        return (noun, names) if names else None

    def changed(self, noun: str) -> None:
        """Open the lists of a noun anew, where the person is, since that person changed something in them."""
        for name, listed in self.LISTS.items():
            if listed == noun or noun == "undo":
                self.table(name).selected.clear()
                self.table(name).open_anew(keep=True)
        super().changed(noun)

    def cli(self) -> str:
        """The active list as a command."""
        table = self.active_table()
        always = table.source.always if isinstance(table.source, ViewSource) else ""
        told = f"{always} ({table.filter})" if always and table.filter else always or table.filter
        return command(f"{self.LISTS[table.id or '']}.list", {"filter": told, "sort": table.sort})
