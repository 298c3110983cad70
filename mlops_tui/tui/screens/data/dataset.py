"""One data set version: columns, checks, where it came from, who uses it, and what changed since the one before."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.data import DataDiff, DataVersion
from mlops_tui.core.ids import opaque, short
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing.text import Line, Part, beside, grid, join, line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.data.mode import columns, state
from mlops_tui.tui.screens.frame.page import Page
from mlops_tui.tui.widgets.lines import Lines, Row


class Dataset(Page):
    """A version, whole."""

    SCOPE = "dataset"
    MODE = "data"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("data",))
    BINDINGS = bindings("dataset")
    DEFAULT_CSS = """
    Dataset > #body { layout: grid; grid-size: 20 3; grid-rows: 5 2fr 1fr; }
    Dataset #about, Dataset #columns { column-span: 20; }
    Dataset #checks { column-span: 11; }
    Dataset #users { column-span: 9; }
    Dataset.-narrow #checks, Dataset.-narrow #users { column-span: 10; }
    """

    def __init__(self, data: str, diff: bool = False) -> None:
        super().__init__()
        self.ref, self.diff = data, diff

    @property
    def crumb(self) -> str:
        """Name and version."""
        return self.ref

    def panels(self) -> ComposeResult:
        """Yield the panels."""
        yield Lines("Data set", ident="about")
        yield Lines("Columns", "dataset.diff=compare_with_the_version_before", ident="columns")
        yield Lines("Checks", empty="no checks were run — mlops data check NAME FILE", ident="checks")
        yield Lines("Used by", "panel.open", empty="nothing uses it yet", ident="users")

    async def load(self, news: News) -> None:
        """Read the version, and its difference if asked for."""
        found: DataVersion | None = await self.fill(self.query(Lines), self.door.call("data.show", {"data": self.ref}))
        if found is None:
            return
        self.ref = f"{found.name}@{found.version}"
        self._show(found)
        if self.diff:
            await self._compare(found)

    async def _compare(self, found: DataVersion) -> None:
        panel = self.lines("columns")
        if found.version < 2:
            self.complain("there is no version before this one")
            self.diff = False
            return
        base = f"{found.name}@{found.version - 1}"
        got: DataDiff | None = await self.fill(panel, self.door.call("data.diff", {"base": base, "other": self.ref}))
        if got is not None:
            panel.title = f"{base} → {self.ref}  rows {got.rows:+,}"
            panel.show(lambda cells: changes(got, cells))

    def _show(self, found: DataVersion) -> None:
        self.lines("about").title = self.ref
        self.lines("about").figure = state(found)
        self.lines("about").show(
            [
                join(
                    [
                        line(("from ", "dim"), found.origin),
                        line(("format ", "dim"), found.format),
                        line(("by ", "dim"), found.actor),
                        line((fmt.when(found.created), "dim")),
                    ],
                    "   ",
                ),
                join(
                    [
                        line(("class ", "dim"), found.classification),
                        line(("residency ", "dim"), found.residency or fmt.NONE),
                        line(("parent ", "dim"), found.parent or fmt.NONE),
                        line(("tags ", "dim"), " ".join(f"{k}={v}" for k, v in found.tags.items()) or fmt.NONE),
                    ],
                    "   ",
                ),
                line(("content ", "dim"), (found.digest, "faint")),
            ]
        )
        panel = self.lines("columns")
        if not self.diff:
            panel.title = f"Columns ({len(found.schema)})"
            panel.show(lambda cells: columns(found, cells))
        self.lines("checks").show(lambda cells: checks(found, cells))
        self.lines("users").show(consumer(one) for one in found.consumers)

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Go where a line leads."""
        self.mlops.open_link(event.link)

    def action_diff(self) -> None:
        """Show what changed since the version before, or the columns again."""
        self.diff = not self.diff
        self.reload()

    def cli(self) -> str:
        """The version, or its difference, as a command."""
        name, _, version = self.ref.partition("@")
        if self.diff and version.isdigit():
            return f"mlops data diff {name}@{int(version) - 1} {self.ref}"
        return f"mlops data show {self.ref}"

    def subject(self) -> tuple[str, str]:
        """The version."""
        return "data", self.ref


def checks(found: DataVersion, cells: int) -> list[Line]:
    """Return a line a check, the failed ones first."""
    results = sorted((found.checks or {}).get("results", []), key=lambda one: bool(one.get("passed")))
    rows: list[list[Part]] = [
        [
            line(("✔", "ok") if one.get("passed") else ("✖", "fail")),
            f"{one.get('column') or 'file'}",
            (str(one.get("check", "")), "dim"),
        ]
        for one in results
    ]
    texts = [(str(one.get("text", "")), "dim" if one.get("passed") else "text") for one in results]
    return beside(grid(rows), texts, cells)


def changes(diff: DataDiff, cells: int) -> list[Line]:
    """Return a line a difference, the largest first as the agent sorted them."""
    if not diff.columns:
        return [line(("✔ ", "ok"), "schema and statistics are the same")]
    rows: list[list[Part]] = [
        [str(one.get("column") or "file"), (str(one.get("kind", "")), "warn")] for one in diff.columns
    ]
    return beside(grid(rows), [(str(one.get("text", "")), "text") for one in diff.columns], cells)


def consumer(text: str) -> Row:
    """Return what uses the data as a row that leads there; the lineage graph says ``run:…`` or ``model_version:…``."""
    kind, _, name = text.partition(":")
    noun = {"dataset_version": "data", "model_version": "version"}.get(kind, kind)
    return Row(line((f"{noun} ", "dim"), short(name) if opaque(name) else name), f"{noun}:{name}")
