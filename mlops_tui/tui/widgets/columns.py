"""Two dialogs about a list: which columns it shows in what order, and the views of it that a person keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from mlops_tui.tui.drawing.text import line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.widgets.dialog import Plain
from mlops_tui.tui.widgets.lines import Lines, Row


class Offered(NamedTuple):
    """A column that could be shown: its name for the agent, its heading, and what it is."""

    name: str
    label: str
    kind: str


class Checklist(Lines):
    """Lines that are on or off; those that are on stand first, in an order that can be changed."""

    BINDINGS = bindings("checklist")

    def __init__(self, offered: Sequence[Offered], on: Sequence[str], title: str) -> None:
        super().__init__(title, "checklist.toggle checklist.earlier checklist.later checklist.find checklist.keep")
        self._known = {one.name: one for one in offered}
        self.on = [name for name in on if name in self._known]
        self._fresh = 0
        self._needle = ""
        self._names: list[str] = []

    def on_mount(self) -> None:
        """Write the lines."""
        self.write()

    def find(self, needle: str) -> None:
        """Show only those off whose name has this in it; those that are on are always there."""
        self._needle = needle.lower()
        self.write()

    def write(self) -> None:
        """Write the lines anew."""
        off = [name for name in self._known if name not in self.on and self._needle in name.lower()]
        self._names = [*self.on, *off]
        wide = max((len(one.label) for one in self._known.values()), default=0)
        self.show(Row(self._line(name, min(wide, 40)), name) for name in self._names)

    def _line(self, name: str, wide: int) -> tuple[tuple[str, str], ...]:
        one, on = self._known[name], name in self.on
        mark = ("✔ ", "ok") if on else ("· ", "faint")
        return line(mark, (f"{one.label:<{wide}}", "text" if on else "dim"), (f"  {one.kind}", "faint"))

    @property
    def name_here(self) -> str:
        """The column under the cursor."""
        return self._names[self.cursor] if self._names else ""

    def action_switch(self) -> None:
        """Show the column under the cursor, before those that were shown already, or hide it."""
        name = self.name_here
        if name in self.on:
            self._fresh -= self.on.index(name) < self._fresh
            self.on.remove(name)
        elif name:
            self.on.insert(self._fresh, name)
            self._fresh += 1
        self.write()

    def action_aside(self, by: int) -> None:
        """Move the column under the cursor by one place."""
        name = self.name_here
        if name not in self.on:
            return
        at = self.on.index(name)
        to = max(0, min(at + by, len(self.on) - 1))
        self.on.insert(to, self.on.pop(at))
        self.cursor = to
        self.write()
        self.refresh()

    def action_find(self) -> None:
        """Ask what to find."""
        self.screen.query_one(Input).focus()

    def action_open(self) -> None:
        """Hand the choice over."""
        self.post_message(self.Kept(self))

    class Kept(Message):
        """The choice is made."""

        def __init__(self, checklist: Checklist) -> None:
            super().__init__()
            self.checklist = checklist


class ColumnChooser(Plain[list[str]]):
    """Asks which columns a list shows, or what else is to be chosen of many and put in order.

    Args:
        offered: all that could be shown, besides id and name, which always are.
        on: the names of those that are shown now, in order.
        title: what is chosen.
    """

    DEFAULT_CSS = """
    ColumnChooser > #box { height: 21; max-height: 80vh; }
    ColumnChooser Input, ColumnChooser Input:focus { padding: 0 2; }
    """

    def __init__(self, offered: Sequence[Offered], on: Sequence[str], title: str = "Columns of this list") -> None:
        super().__init__()
        self._offered, self._on, self._asked = offered, on, title

    def compose(self) -> ComposeResult:
        """Lay out the line to search with, and the list."""
        with Vertical(id="box"):
            yield Checklist(self._offered, self._on, self._asked)
            yield Input(placeholder="/ finds a metric, a parameter or a tag")

    def on_mount(self) -> None:
        """Begin in the list."""
        self.query_one(Checklist).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow the list."""
        self.query_one(Checklist).find(event.value)

    def on_input_submitted(self) -> None:
        """Go on to what was found."""
        checklist = self.query_one(Checklist)
        checklist.cursor = min(len(checklist.on), max(0, checklist.count - 1))
        checklist.focus()
        checklist.refresh()

    def on_checklist_kept(self, event: Checklist.Kept) -> None:
        """Hand the choice over."""
        event.stop()
        self.dismiss(event.checklist.on)


class ViewMenu(Plain[tuple[str, str]]):
    """Offers the kept views of a list: the answer is (``show`` or ``forget``, name), or ``keep`` the present one."""

    DEFAULT_CSS = "ViewMenu Lines { height: auto; }"
    BINDINGS = bindings("views")

    def __init__(self, views: dict[str, str]) -> None:
        super().__init__()
        self._views = views

    def compose(self) -> ComposeResult:
        """Lay out a line a view."""
        with Vertical(id="box"):
            panel = Lines("Views of this list", "panel.open=show views.forget app.back=leave")
            panel.styles.height = min(20, len(self._views) + 3)
            yield panel

    def on_mount(self) -> None:
        """Write the lines; the last one keeps what is shown now."""
        panel = self.query_one(Lines)
        wide = max((len(name) for name in self._views), default=0)
        rows = [
            Row(line((f"{name:<{wide}}", "text"), (f"  {told}", "dim")), name) for name, told in self._views.items()
        ]
        panel.show([*rows, Row(line(("+ ", "accent"), "keep the list as it is now …"), "+")])
        panel.focus()

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Show the view, or keep a new one."""
        event.stop()
        self.dismiss(("keep", "") if event.link == "+" else ("show", event.link))

    def action_forget(self) -> None:
        """Forget the view under the cursor."""
        panel = self.query_one(Lines)
        if panel.current and panel.current.link != "+":
            self.dismiss(("forget", panel.current.link))
