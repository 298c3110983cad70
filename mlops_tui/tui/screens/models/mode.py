"""Models: names, their versions, the gates and lineage of the version under the cursor."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.model import GateResult, LineageGraph, Model, ModelVersion
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing import words
from mlops_tui.tui.drawing.text import Line, Part, beside, grid, join, line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.screens.frame.base import Face
from mlops_tui.tui.screens.frame.browser import Browser, named
from mlops_tui.tui.widgets.lines import Lines, Row
from mlops_tui.tui.widgets.table import Table

_NOUNS = {"dataset_version": "data", "model_version": "version", "deployment": "deploy"}
"""What people call the kinds of the lineage graph."""


class Models(Browser):
    """Models at the left, their versions at the right, evidence below."""

    SCOPE = "models"
    MODE = "models"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("gate", "deploy"))
    LISTS: ClassVar[dict[str, str]] = {"models": "model", "versions": "version"}
    BINDINGS = bindings("models")
    DEFAULT_CSS = """
    Models > #body { layout: grid; grid-size: 20 2; grid-rows: 1fr 1fr; }
    Models #models { column-span: 8; }
    Models #versions { column-span: 12; }
    Models #gates { column-span: 8; }
    Models #history { column-span: 12; }
    Models.-narrow > #body { grid-size: 20 3; grid-rows: 2fr 3fr 3fr; }
    Models.-narrow #models, Models.-narrow #versions, Models.-narrow #gates { column-span: 20; }
    Models.-narrow #history { display: none; }
    """

    def panels(self) -> ComposeResult:
        """Yield both lists and the evidence."""
        yield Table("Models", empty="no models yet — mlops model register NAME RUN", ident="models")
        yield Table(
            "Versions",
            "panel.open models.promote models.rollback",
            empty="no versions yet — R on a run registers its model",
            sort="-version",
            ident="versions",
        )
        yield Lines("Gates", empty="no gate has judged it — mlops gate run RUN", ident="gates")
        yield Lines(
            "Aliases and their history", empty="no alias points anywhere — P makes a version champion", ident="history"
        )

    async def moved(self, table: Table) -> None:
        """Narrow the versions to the model under the cursor, then read the evidence."""
        if table.id == "models" and table.current:
            versions = self.table("versions")
            condition = f'model:"{table.value("name")}"'
            if getattr(versions.source, "always", None) != condition:
                versions.source = self.source("versions", condition)
                await versions.reopen()
                return
        await self.preview()

    async def preview(self) -> None:
        """Show gates of the version and aliases of the model under the cursors."""
        gates, history = self.lines("gates"), self.lines("history")
        version = self.version()
        if version:
            found: ModelVersion | None = await self.fill(gates, self.door.call("version.show", {"model": version}))
            if found is not None:
                gates.title = f"Gates of {found.model}@{found.version}"
                gates.show(lambda cells: verdicts(found.gates, cells))
        else:
            gates.show([])
        name = self.table("models").value("name")
        if name:
            model: Model | None = await self.fill(history, self.door.call("model.show", {"model": name}))
            if model is not None:
                history.show(aliases(model))
        else:
            history.show([])

    def version(self) -> str:
        """Return the version under the cursor, as ``name@number``."""
        table = self.table("versions")
        return named("version", table) if table.current else ""

    async def open_object(self, noun: str, name: str, rest: str = "") -> None:
        """Open a version; a model opens as its champion, or its newest version."""
        if noun in ("gate", "lineage", "logged"):
            await super().open_object(noun, name)
            return
        from mlops_tui.tui.screens.models.version import Version

        await self.app.push_screen(Version(name))

    def action_promote(self) -> None:
        """Make the version under the cursor champion."""
        if version := self.version():
            promote(self, version)

    def action_rollback(self) -> None:
        """Move the champion alias of the model under the cursor back."""
        if name := self.table("models").value("name"):
            self.change("model.rollback", {"model": name, "alias": "champion"}, "roll back")


def promote(face: Face, version: str) -> None:
    """Open the plan that makes a version champion."""
    face.change("model.alias", {"model": version, "alias": "champion"}, "promote")


def verdicts(gates: list[GateResult], cells: int) -> list[Line]:
    """Return each gate: verdict, figure, where there is room its bound, and why, on as many lines as that needs."""
    rows: list[list[Part]] = []
    texts = [(one.text, "dim" if one.passed else "text") for one in gates]
    for one in gates:
        verdict = words.state("passed" if one.passed else "failed")
        bound = f"bound {fmt.number(one.threshold)}" if one.threshold is not None else ""
        figure = fmt.number(one.value) if one.value is not None else ""
        if cells < 60:
            rows.append([words.symbol("passed" if one.passed else "failed"), one.gate, figure])
        else:
            rows.append([verdict, one.gate, figure, (bound, "dim")])
    return beside(grid(rows, "llrl"), texts, cells)


def aliases(model: Model) -> list[Row]:
    """Return where each alias points now, and how it came there."""
    now = join(
        [
            line(("★ " if name == "champion" else "", "accent"), name, (" → ", "dim"), f"{number}")
            for name, number in model.aliases.items()
        ],
        "   ",
    )
    rows: list[list[Part]] = [
        [
            (fmt.when(one.ts), "dim"),
            (one.actor, "dim"),
            line(one.alias, (" → ", "dim"), str(one.version) if one.version is not None else "removed"),
            (one.reason, "dim"),
        ]
        for one in model.history
    ]
    return [*([Row(now), Row(())] if model.aliases else []), *(Row(each) for each in grid(rows))]


def lineage(graph: LineageGraph) -> list[Row]:
    """Return a lineage graph as an indented walk; each object leads to its screen."""
    rows = []
    for node in graph.nodes:
        noun = _NOUNS.get(node.kind, node.kind)
        name = node.name.removeprefix(f"{noun}:")
        relation = f"{node.relation.replace('_', ' ')} " if node.depth else ""
        told = line(("  " * node.depth + relation, "faint"), (f"{noun} ", "dim"), name)
        rows.append(Row(told, f"{noun}:{name}" if node.depth else ""))
    return rows


MODE_SCREEN = Models
