"""Help: the keys that hold in the screen one comes from, made from the one table."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from mlops_tui.tui import keys
from mlops_tui.tui.drawing.text import Line, Part, grid, line, width
from mlops_tui.tui.status import Status
from mlops_tui.tui.widgets.dialog import Plain
from mlops_tui.tui.widgets.lines import Lines

_TITLES = {
    "app": "everywhere",
    "panel": "in every panel",
    "table": "in lists",
    "curve": "in curves",
    "axes": "in curves of runs",
    "sides": "panes",
    "page": "on this page",
}


def lines(screen: str, status: Status, cells: int = 96) -> list[Line]:
    """Return the help of a screen as lines: a heading a scope, a line a key, its id where there is room for all."""
    found = keys.active(screen, status.keymap, status.readonly)
    rows: list[list[Part]] = [
        [(" ".join(keys.shown(k) for k in key.keys.split(",")), "accent"), key.help, (key.id, "faint")] for key in found
    ]
    if max(map(width, grid(rows, "rl"))) > cells:
        rows = [row[:-1] for row in rows]
    told: list[Line] = []
    scope = ""
    for key, row in zip(found, grid(rows, "rl", room=cells), strict=True):
        if key.scope != scope:
            scope = key.scope
            told += [*([()] if told else []), line((_TITLES.get(scope, f"in {scope}"), "*text"))]
        told.append(row)
    return [*told, (), line(("filters ", "dim"), "status:done auc>0.9 ~resnet -word started>-2h")]


class Help(Plain[None]):
    """Shows the keys until it is closed."""

    DEFAULT_CSS = "Help > #box { width: 100; height: 90%; }"

    def __init__(self, screen: str, status: Status) -> None:
        super().__init__()
        self.screen_name, self.status = screen, status

    def compose(self) -> ComposeResult:
        """Lay out one panel."""
        with Vertical(id="box"):
            keymap = "" if self.status.keymap == "default" else f" · keymap {self.status.keymap}"
            yield Lines(f"Keys in {self.screen_name}{keymap}", "app.back=close")

    def on_mount(self) -> None:
        """Fill it."""
        self.query_one(Lines).show(lambda cells: lines(self.screen_name, self.status, cells))
        self.query_one(Lines).focus()
