"""Any object, whole: the answer of its ``show`` operation laid out by the shape of its values."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
from textual.app import ComposeResult

from mlops_tui.contracts.listing import Column
from mlops_tui.core.figures import RIGHT
from mlops_tui.core.ids import short
from mlops_tui.core.kinds import kind_of, label_of
from mlops_tui.core.printable import clean
from mlops_tui.tui.drawing import format as fmt
from mlops_tui.tui.drawing.cells import cell
from mlops_tui.tui.drawing.text import Line, Part, grid, line
from mlops_tui.tui.news.door import command
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.frame.page import Page
from mlops_tui.tui.widgets.lines import Lines

SHOWS = {
    "job": ("job.show", "job"),
    "alert": ("alert.show", "alert"),
    "automation": ("automation.show", "automation"),
    "feature": ("feature.show", "feature"),
    "rollout": ("rollout.status", "rollout"),
    "toggle": ("toggle.show", "key"),
    "audit": ("audit.show", "seq"),
    "host": ("host.show", "host"),
    "gate": ("gate.show", "subject"),
    "lineage": ("lineage.show", "subject"),
    "model": ("model.show", "model"),
    "version": ("version.show", "model"),
    "logged": ("logged.show", "model"),
    "data": ("data.show", "data"),
    "deploy": ("deploy.show", "deployment"),
    "ab": ("ab.status", "test"),
    "drift": ("drift.show", "deployment"),
    "run": ("run.show", "run"),
    "cost": ("cost.show", ""),
}
"""How a noun is shown: the operation, and the field that names the object."""


class Detail(Page):
    """One object of a noun that has no screen of its own."""

    SCOPE = "detail"

    def __init__(self, noun: str, name: str) -> None:
        super().__init__()
        self.noun, self.name_of_object = noun, name

    @property
    def crumb(self) -> str:
        """The object's noun and name."""
        name = self.name_of_object
        return f"{self.noun} {short(name) if len(name) == 36 else name}".strip()

    @property
    def topics(self) -> frozenset[str]:
        """Changes of its noun."""
        return frozenset((self.noun,))

    def panels(self) -> ComposeResult:
        """Yield the one panel."""
        yield Lines(self.noun, "app.actions app.copy_cli app.back", ident="detail")

    def _call(self) -> tuple[str, dict[str, Any]]:
        operation, field = SHOWS[self.noun]
        name: Any = int(self.name_of_object) if self.noun == "audit" else self.name_of_object
        return operation, {field: name} if field and name != "" else {}

    async def load(self, news: News) -> None:
        """Read the object."""
        panel = self.query_one(Lines)
        answer = await self.fill(panel, self.door.call(*self._call()))
        if answer is not None:
            panel.title = self.crumb
            told = msgspec.to_builtins(answer)
            panel.show(lambda cells: laid_out(told, cells))

    def cli(self) -> str:
        """The same as a command."""
        return command(*self._call())

    def subject(self) -> tuple[str, str]:
        """The object itself."""
        return self.noun, self.name_of_object


def laid_out(value: dict[str, Any], cells: int) -> list[Line]:
    """Return an answer as lines: plain fields first, then a table or a list a nested field."""
    plain: list[list[Part]] = []
    nested: list[Line] = []
    for key, one in value.items():
        if isinstance(one, dict) and one:
            nested += [(), line((label_of(key), "*text")), *laid_out(one, cells)]
        elif isinstance(one, list) and one and isinstance(one[0], dict):
            nested += [(), line((label_of(key), "*text")), *_table(one, cells)]
        else:
            plain.append([(label_of(key), "dim"), shown(key, one)])
    return [*grid(plain, room=cells), *nested]


def shown(key: str, value: Any) -> Line:
    """Return one value, told by its name and type how."""
    if value is None or value == "" or value == [] or value == {}:
        return line((fmt.NONE, "faint"))
    kind = kind_of(key, value)
    if kind == "time":
        return line(fmt.exact(value), (f"  {fmt.when(value)}", "dim"))
    if kind == "flag":
        return line(("✔ yes", "ok") if value else ("no", "dim"))
    if isinstance(value, list) and kind != "spark":
        told = [clean(str(each)) for each in value]
        return line(shlex.join(told) if key == "command" else ", ".join(told))
    return cell(Column(name=key, label=key, kind=kind), value)


def _table(rows: list[dict[str, Any]], cells: int) -> list[Line]:
    names = [name for name in rows[0] if not any(isinstance(row.get(name), dict) and row[name] for row in rows)]
    kinds = {name: kind_of(name, rows[0].get(name)) for name in names}
    head: list[Part] = [(label_of(name), "dim") for name in names]
    figures = "".join("r" if kinds[name] in RIGHT else "l" for name in names)
    return grid([head, *([shown(name, row.get(name)) for name in names] for row in rows)], figures, room=cells)
