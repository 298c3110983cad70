"""One model version: its gates, figures, signature, where it came from and where it serves."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from mlops_tui.contracts.model import LineageGraph, ModelVersion
from mlops_tui.core.clock import DAY, now_us
from mlops_tui.core.ids import short
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing.text import Part, grid, join, line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.frame.page import Page
from mlops_tui.tui.screens.models.mode import lineage, promote, verdicts
from mlops_tui.tui.widgets.lines import Lines, Row


class Version(Page):
    """A version, whole."""

    SCOPE = "version"
    MODE = "models"
    TOPICS: ClassVar[frozenset[str]] = frozenset(("version", "model", "gate", "deploy"))
    BINDINGS = bindings("version")
    DEFAULT_CSS = """
    Version > #body { layout: grid; grid-size: 20 3; grid-rows: 5 1fr 1fr; }
    Version #about { column-span: 20; }
    Version #gates { column-span: 12; }
    Version #figures { column-span: 8; }
    Version #lineage { column-span: 12; }
    Version #signature { column-span: 8; }
    """

    def __init__(self, model: str) -> None:
        super().__init__()
        self.ref = model
        self.found: ModelVersion | None = None

    @property
    def crumb(self) -> str:
        """Name and version."""
        return self.ref

    def panels(self) -> ComposeResult:
        """Yield the panels."""
        yield Lines("Version", ident="about")
        yield Lines("Gates", empty="no gate has judged it — mlops gate run RUN", ident="gates")
        yield Lines("Figures", empty="its run logged no metrics", ident="figures")
        yield Lines("Lineage", "panel.open", empty="nothing is known of its origin", ident="lineage")
        yield Lines("Signature", empty="the model does not say what it takes and gives", ident="signature")

    async def load(self, news: News) -> None:
        """Read the version, then its lineage."""
        found = await self._find()
        if found is None:
            return
        self.found, self.ref = found, f"{found.model}@{found.version}"
        self._show(found)
        self.mlops.face.restate()
        panel = self.lines("lineage")
        graph: LineageGraph | None = await self.fill(panel, self.door.call("lineage.show", {"subject": self.ref}))
        if graph is not None:
            serving = [
                Row(line(("serves as ", "faint"), ("deploy ", "dim"), name), f"deploy:{name}")
                for name in found.deployments
            ]
            panel.show([*lineage(graph), *serving])

    async def _find(self) -> ModelVersion | None:
        if "@" not in self.ref and len(self.ref) != 36:
            model = await self.fill(self.query(Lines), self.door.call("model.show", {"model": self.ref}))
            if model is None:
                return None
            newest = max((one.version for one in model.versions), default=0)
            self.ref = f"{self.ref}@{model.aliases.get('champion', newest)}"
        found: ModelVersion | None = await self.fill(
            self.query(Lines), self.door.call("version.show", {"model": self.ref})
        )
        return found

    def _show(self, found: ModelVersion) -> None:
        about = self.lines("about")
        about.title = self.ref
        about.figure = join([line(("★ " if a == "champion" else "", "accent"), (a, "*text")) for a in found.aliases])
        recent = fmt.when(found.created) if now_us() - found.created < DAY else fmt.exact(found.created)
        about.show(
            [
                Row(
                    join(
                        [
                            line(("run ", "dim"), found.run_name or short(found.run or "")),
                            line(("by ", "dim"), found.actor),
                            line((recent, "dim")),
                            line((f"{found.format} {fmt.size(found.size)}", "dim")),
                        ],
                        "   ",
                    ),
                    f"run:{found.run}" if found.run else "",
                ),
                Row(line(("content ", "dim"), (found.digest, "faint"))),
                Row(line(found.description or "", ("" if found.description else "no description", "faint"))),
            ]
        )
        self.lines("gates").show(lambda cells: verdicts(found.gates, cells))
        figures: list[list[Part]] = [
            [(key, "dim"), fmt.number(value, 4)] for key, value in sorted(found.metrics.items())
        ]
        self.lines("figures").show(grid(figures, "lr"))
        self.lines("signature").show(self._signature(found))

    @staticmethod
    def _signature(found: ModelVersion) -> list[Row]:
        rows: list[list[Part]] = []
        for side in ("inputs", "outputs"):
            for one in found.signature.get(side, []):
                named = one if isinstance(one, dict) else {"name": str(one)}
                shape = " × ".join(map(str, named.get("shape") or []))
                kind = f"{named.get('dtype') or named.get('type') or ''} {shape}"
                rows.append([(side[:-1], "dim"), str(named.get("name", "")), (kind.strip(), "dim")])
        rows += [[("feature", "dim"), name] for name in found.features]
        rows += [[("flavour", "dim"), str(name)] for name in found.signature.get("flavors", [])]
        rows += [[("stage", "dim"), found.stage]] if found.stage != "None" else []
        rows += [[("tag", "dim"), key, (value, "dim")] for key, value in found.tags.items()]
        return [Row(each) for each in grid(rows)]

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Go where a line leads."""
        self.mlops.open_link(event.link)

    def action_promote(self) -> None:
        """Make this version champion."""
        promote(self, self.ref)

    def action_rollback(self) -> None:
        """Move the champion alias back."""
        name = self.ref.partition("@")[0]
        self.change("model.rollback", {"model": name, "alias": "champion"}, "roll back")

    def cli(self) -> str:
        """The version as a command."""
        return f"mlops version show {self.ref}"

    def subject(self) -> tuple[str, str]:
        """The version."""
        return "version", self.ref
