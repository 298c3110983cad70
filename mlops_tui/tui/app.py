"""The terminal app: nine modes over one client, one hub, one table of keys."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, ClassVar, cast

from rich.console import RenderableType
from textual.app import App
from textual.filter import LineFilter
from textual.screen import Screen

from mlops_tui.core.config import Config
from mlops_tui.core.errors import MlopsError
from mlops_tui.tui import links, memory, status
from mlops_tui.tui.drawing import theme
from mlops_tui.tui.keys import CHANGING, MODES, PRESETS, bindings
from mlops_tui.tui.news.door import Door, Event
from mlops_tui.tui.news.hub import STALE_AFTER, Contact, Hub
from mlops_tui.tui.palette import MlopsCommands
from mlops_tui.tui.screens.frame.base import Face
from mlops_tui.tui.terminal import clipboard
from mlops_tui.tui.terminal.ascii import Ascii
from mlops_tui.tui.terminal.thrift import Shown
from mlops_tui.tui.widgets.panel import Panel
from mlops_tui.tui.work import start

_UNFOCUSED_S = 5.0
_PIN = "pin.run"
_PINNED = "★ pinned: on top of the list, drawn on the charts of every run, base of comparisons"
_ASCII = (Ascii(),)
"""One for all apps: Textual remembers what a filter made of a line by the filter."""


def _screen(mode: str) -> Callable[[], Screen[Any]]:
    """Return what makes a mode's first screen; its module is imported only then."""

    def make() -> Screen[Any]:
        made: Screen[Any] = import_module(f"mlops_tui.tui.screens.{mode}.mode").MODE_SCREEN()
        return made

    return make


def _collect_again() -> None:
    """Turn the garbage collector on, if the start turned it off; it need not look at what was made so far."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


class MlopsApp(App[None], inherit_bindings=False):
    """Everything a screen can do, a command can do, and the screen shows that command.

    Args:
        door: the client of the agent.
        config: the settings in force.
        link: where to begin, a deep link.
        background: ``dark`` or ``light`` if the terminal said so.
        period: seconds between two updates of a live panel.
    """

    TITLE = "mlops"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar = {MlopsCommands}
    BINDINGS = bindings("app")
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {mode: _screen(mode) for mode in MODES}
    DEFAULT_MODE = "home"
    ALLOW_SELECT = False
    NOTIFICATION_TIMEOUT = 4
    CSS = """
    Toast { width: 60; max-width: 60%; padding: 0 1; background: $raised; margin: 0 1 0 0; }
    ToastRack { margin-bottom: 1; }
    Toast.-information { border-left: solid $accent; }
    Toast.-warning { border-left: solid $warn; }
    Toast.-error { border-left: solid $fail; }
    CommandPalette { background: $background 60%; }
    CommandPalette > Vertical { background: $raised; width: 80; max-width: 100%; margin-top: 2; }
    CommandPalette #--input { border: solid $line-focus; }
    CommandPalette SearchIcon { display: none; }
    CommandPalette > Vertical { scrollbar-size-vertical: 1; }
    * { scrollbar-color: $line; scrollbar-color-hover: $dim; scrollbar-color-active: $accent;
        scrollbar-background: $surface; scrollbar-background-hover: $surface; scrollbar-background-active: $surface; }
    """

    def __init__(
        self, door: Door, config: Config, link: str = "", background: str | None = None, period: float = 1.0
    ) -> None:
        # Without this Textual decides how to do without colour before it knows the theme, and greys RGB.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        for each in theme.textual_themes():
            self.register_theme(each)
        self.theme = theme.choose(str(config.get("theme")), background)
        self._shown = Shown()
        self.door, self.link = door, links.parse(link) if link else None
        self.status = status.first(config)
        self.hub = Hub(door, self._on_contact, self._on_event, period)
        self._period = period
        self.ascii = bool(config.get("ascii"))
        self.pinned = str(memory.recall().get(_PIN) or "")
        self.set_keymap(PRESETS[self.status.keymap])

    def on_mount(self) -> None:
        """Start to listen; the first screen is already being painted."""
        self.call_after_refresh(_collect_again)
        self.call_after_refresh(start, self, self.hub.run, group="hub")
        if self.link:
            self.call_after_refresh(self.go, self.link)

    async def on_unmount(self) -> None:
        """Let the connections go."""
        await self.door.close()

    def on_resize(self) -> None:
        """Paint all of it: a terminal that was made smaller and larger again in one go has lost what it showed."""
        self._shown.forget()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return Textual's filters of what is drawn, and ours."""
        return [*super().get_line_filters(), *(_ASCII if self.ascii else ())]

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        super()._display(screen, self._shown.thrifty(renderable, (self.size.width, self.size.height)))

    # Where one is

    @property
    def face(self) -> Face:
        """The topmost full screen, under any dialogs."""
        return next(screen for screen in reversed(self.screen_stack) if isinstance(screen, Face))

    def crumbs(self, upto: Face) -> list[str]:
        """Return the breadcrumbs of a screen: those of the ones under it, and its own."""
        below = [screen for screen in self.screen_stack if isinstance(screen, Face)]
        stack = below[: below.index(upto) + 1] if upto in below else [*below, upto]
        return [screen.crumb for screen in stack]

    def restate(self, **changed: Any) -> None:
        """Change the session's state and let the bars show it."""
        new = replace(self.status, **changed)
        if new != self.status:
            self.status = new
            if self.face.is_mounted:
                self.face.restate()

    def show_problem(self, problem: MlopsError) -> None:
        """Show an error as a dialog."""
        from mlops_tui.tui.widgets.problem import ProblemDialog

        self.push_screen(ProblemDialog(problem))

    def report(self, error: Exception) -> None:
        """Show what a worker failed of; an error of our own is also written down, with its traceback."""
        if isinstance(error, MlopsError):
            self.show_problem(error)
            return
        from mlops_tui.tui.crash import record

        why = f"{type(error).__name__}: {error}"
        self.show_problem(MlopsError("the screen met an error of its own", why, f"see {record(error)}"))

    def open_link(self, text: str) -> None:
        """Go where a deep link leads, or say why that is no link."""
        try:
            link = links.parse(text)
        except MlopsError as problem:
            self.show_problem(problem)
            return
        self.call_later(self.go, link)

    async def go(self, link: links.Link) -> None:
        """Go to a mode, and there to an object."""
        while isinstance(self.screen, Screen) and self.screen.is_modal:
            await self.pop_screen()
        await self.switch_mode(link.mode)
        if not link.name and link.noun != "analysis":
            return
        while len(self.screen_stack) > 1:
            await self.pop_screen()
        await self.face.open_object(link.noun, link.name, link.rest)

    def act(self, action: str) -> None:
        """Run an action of the table of keys where its key would have run it."""

        async def run() -> None:
            for node in (self.face.focused, self.face, self):
                method = action.partition("(")[0]
                if node is not None and hasattr(node, f"action_{method}") and await self.run_action(action, node):
                    return

        self.call_later(run)

    def action_undo(self) -> None:
        """Take back the last change of a note, of tags, or a deletion, wherever it was made from."""
        self.face.change("undo.last", {}, "take back")

    # News

    def _on_contact(self, contact: Contact) -> None:
        gone = contact.state == "lost" and contact.age >= STALE_AFTER * self._period
        self.restate(contact=contact.state, age=f"{contact.age:.0f}s" if gone else "")
        if contact.state == "lost" and contact.problem and contact.age < self._period:
            self.notify(str(contact.problem), title="agent lost", severity="error")

    def _on_event(self, event: Event) -> None:
        if event.topic in ("alert", "rollout") and event.text and event.actor != self.status.user:
            bad = any(word in event.action for word in ("open", "roll", "fail", "abort"))
            self.notify(event.text, title=event.topic, severity="error" if bad else "information")

    def on_app_focus(self) -> None:
        """Go back to full pace."""
        self.hub.period = self._period

    def on_app_blur(self) -> None:
        """Slow down while nobody looks at the terminal."""
        self.hub.period = max(_UNFOCUSED_S, self._period)

    # Keys of every screen

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Actions that change something do not exist when read-only."""
        return not (self.status.readonly and action in CHANGING)

    async def action_mode(self, mode: str) -> None:
        """Go to a mode; its own number goes to its first screen."""
        if mode == self.current_mode:
            while len(self.screen_stack) > 1:
                await self.pop_screen()
        await self.switch_mode(mode)

    async def action_back(self) -> None:
        """Leave zoom, then the screen, then the filter."""
        focused = self.screen.focused
        if self.screen.maximized:
            self.screen.minimize()
        elif len(self.screen_stack) > 1:
            await self.pop_screen()
        elif getattr(focused, "filter", ""):
            cast(Any, focused).set_filter("")

    def action_next_panel(self) -> None:
        """Give the focus to the next panel."""
        self.screen.focus_next(Panel)

    def action_previous_panel(self) -> None:
        """Give the focus to the panel before."""
        self.screen.focus_previous(Panel)

    def action_command(self) -> None:
        """Ask for a command line."""
        from mlops_tui.tui.commands import ask

        ask(self)

    async def action_jump(self) -> None:
        """Put a letter on every panel and wait for one of them."""
        from mlops_tui.tui.screens.overlays.jump import Jump

        await self.push_screen(Jump(self.face))

    def action_zoom(self) -> None:
        """Give the focused panel the whole screen, or take it back."""
        panel = self.face.focused_panel()
        if self.screen.maximized:
            self.screen.minimize()
        elif panel:
            self.screen.maximize(panel, container=False)

    def action_pause(self) -> None:
        """Stop or resume live updates."""
        self.hub.paused = not self.hub.paused
        self.restate(paused=self.hub.paused)
        self.hub.ring()

    def action_refresh(self) -> None:
        """Read the screen again, and paint all of it: something else may have written on the terminal."""
        self._shown.forget()
        self.refresh()
        for panel in self.face.query(Panel):
            panel.renew()
        self.face.reload()

    def action_copy(self) -> None:
        """Copy the value under the cursor."""
        panel = self.face.focused_panel()
        self.copied(panel.copied() if panel else "")

    def action_copy_cli(self) -> None:
        """Copy the command that shows the same as the screen."""
        self.copied(self.face.cli())

    def pin(self, run: str) -> None:
        """Pin a run, or let it go if it is the pinned one: others are seen and compared beside it."""
        self.pinned = "" if run == self.pinned else run
        memory.remember(_PIN, self.pinned)
        self.notify(_PINNED if self.pinned else "no run is pinned any more")

    def copied(self, text: str) -> None:
        """Copy a text and say what and where to."""
        if text:
            ways = clipboard.copy(self, text)
            self.notify(text[:200], title="copied to " + " and ".join(ways), markup=False)

    def action_reset(self) -> None:
        """Bring every list back to the order and filter that it began with."""
        from mlops_tui.tui.widgets.table import Table

        memory.forget()
        self.pinned = ""
        self.face.recall_sides()
        self.screen.minimize()
        for table in self.face.query(Table):
            table.pinned, table.pinned_row = "", None
            table.reset()
        self.notify("sorts and filters are as they were at first")

    async def action_export(self) -> None:
        """Ask in which form to write what is shown, and write it into the working folder."""
        from mlops_tui.tui.export import forms, write
        from mlops_tui.tui.widgets.form import Menu

        offered = forms(self)

        async def written(index: int) -> None:
            try:
                self.notify(await write(self, offered[index]), title="written", markup=False)
            except MlopsError as problem:
                self.show_problem(problem)

        def picked(index: int | None) -> None:
            if index is not None:
                start(self.face, written, index)

        await self.push_screen(Menu("Write", [(one.what, f".{one.ending}") for one in offered], "write"), picked)

    async def action_actions(self) -> None:
        """Offer what can be done with the object under the cursor."""
        from mlops_tui.tui.commands import offer

        await offer(self)

    async def action_tasks(self) -> None:
        """Open the drawer of jobs."""
        from mlops_tui.tui.screens.overlays.tasks import Tasks

        await self.push_screen(Tasks())

    async def action_logs(self) -> None:
        """Open the log of the object under the cursor."""
        from mlops_tui.tui.screens.overlays.log import LOGS, Log

        subject = self.face.subject()
        if subject is None or subject[0] not in LOGS:
            self.face.complain("nothing under the cursor keeps a log")
            return
        await self.push_screen(Log(*subject))

    async def action_help(self) -> None:
        """Show the keys of this screen."""
        from mlops_tui.tui.screens.overlays.help import Help

        await self.push_screen(Help(self.face.SCOPE, self.status))
