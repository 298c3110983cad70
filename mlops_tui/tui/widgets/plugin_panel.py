"""The row of panels that trusted plugins bring to a mode; what one of them meets stays in its own frame."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Container, Horizontal

from mlops_tui.core.errors import MlopsError
from mlops_tui.core.paths import home
from mlops_tui.tui.drawing.text import Line, cut, line
from mlops_tui.tui.news.door import Door
from mlops_tui.tui.widgets.bars import Bar
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.work import start

if TYPE_CHECKING:
    from mlops_tui.plugins import hookspecs

LIMIT_S = 10.0
"""Seconds that a plugin may take for its lines."""


def brought_to(mode: str) -> list[hookspecs.Panel]:
    """Return the panels that trusted plugins bring to a mode; where nobody trusts any, no plugin code is loaded."""
    from mlops_tui.plugins.trust import trusted

    try:
        if not trusted(home()):
            return []
    except MlopsError:
        return []  # ``mlops doctor`` says what is wrong with the file
    from mlops_tui.plugins.loader import brought

    return [panel for panel in brought("panels").values() if getattr(panel, "mode", "") == mode]


class PluginPanel(Lines):
    """One plugin's panel: its lines are asked for whenever there is news, one time after the other."""

    def __init__(self, panel: hookspecs.Panel, door: Door) -> None:
        super().__init__(str(getattr(panel, "title", panel.name)), empty="nothing to show")
        self._panel, self._door = panel, door
        self._reading = self._again = False

    def on_resize(self) -> None:
        """Ask again for lines of the new width."""
        self.ask()

    def ask(self) -> None:
        """Ask for the lines; what comes while they are under way is one more time."""
        if self._reading or not self.room[0]:
            self._again = self._reading
        else:
            start(self, self._read, group="plugin")

    async def _read(self) -> None:
        self._reading = self._again = True
        try:
            while self._again:
                self._again = False
                await self._take()
        finally:
            self._reading = False

    async def _take(self) -> None:
        cells = self.room[0]
        try:
            lines = await asyncio.wait_for(self._panel.lines(self._door.call, cells), LIMIT_S)
            self.show([cut(line(str(one)), cells) for one in lines])
        except MlopsError as problem:
            self.show_problem(problem)
        except TimeoutError:
            self.show_problem(MlopsError(f"the panel {self._panel.name} said nothing within {LIMIT_S:.0f} s"))
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            self.show_problem(MlopsError(f"the plugin's panel {self._panel.name} broke", why, "mlops plugin list"))


class PluginHint(Bar):
    """What stands in the panels' place where they do not fit."""

    DEFAULT_CSS = "PluginHint { display: none; }"

    def __init__(self, titles: list[str]) -> None:
        super().__init__()
        self.titles = titles

    def draw(self, cells: int) -> Line:
        """Name the panels, and the room that they need."""
        return cut(line((f" ⊞ {', '.join(self.titles)}: shown from 100 columns and 30 lines on", "faint")), cells)


class PluginRow(Container):
    """The panels of one mode, side by side below the others; not there when nobody brings any."""

    DEFAULT_CSS = """
    PluginRow { display: none; height: 8; width: 1fr; }
    PluginRow > Horizontal { height: 1fr; width: 1fr; }
    .-wide.-tall > PluginRow.-some, .-narrow > PluginRow.-some, .-short > PluginRow.-some { display: block; }
    .-narrow > PluginRow, .-short > PluginRow { height: 1; }
    .-narrow > PluginRow > Horizontal, .-short > PluginRow > Horizontal { display: none; }
    .-narrow PluginHint, .-short PluginHint { display: block; }
    .-tiny > PluginRow.-some, .-flat > PluginRow.-some, .-maximized-view > PluginRow.-some { display: none; }
    """

    def __init__(self, mode: str, door: Door) -> None:
        super().__init__()
        self.mode, self._door = mode, door
        self._looked = False

    def compose(self) -> ComposeResult:
        """Lay out an empty row."""
        yield Horizontal()

    async def _look(self) -> None:
        panels = await asyncio.to_thread(brought_to, self.mode)  # imports take their time; keys must not wait
        if panels:
            made = [PluginPanel(panel, self._door) for panel in panels]
            await self.query_one(Horizontal).mount_all(made)
            await self.mount(PluginHint([panel.title for panel in made]))
            self.add_class("-some")

    def hear(self) -> None:
        """Take news: look for panels the first time, then ask those that are there."""
        if not self._looked:
            self._looked = True
            start(self, self._look, group="plugins")
        for panel in self.query(PluginPanel):
            panel.ask()
