"""What every screen has: the three lines around it, news from the hub, and the way to a change."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen
from textual.widget import Widget

from mlops_tui.core.errors import MlopsError
from mlops_tui.tui import keys, memory
from mlops_tui.tui.news.door import Door
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.terminal.thrift import Looker
from mlops_tui.tui.widgets.bars import KeyLine, ModeLine, Notice, TopLine
from mlops_tui.tui.widgets.curve import Curve
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.panel import Panel
from mlops_tui.tui.widgets.plugin_panel import PluginRow
from mlops_tui.tui.work import start

if TYPE_CHECKING:
    from mlops_tui.tui.app import MlopsApp

T = TypeVar("T")
_NEITHER = -1


class Face(Screen[None], inherit_bindings=False):
    """A full screen. Subclasses name their scope of keys, yield panels, and load them.

    The skeleton is painted first; :meth:`load` is called by the hub's news, and only while somebody looks.
    """

    SCOPE: ClassVar[str] = "detail"
    MODE: ClassVar[str] = "home"
    TOPICS: ClassVar[frozenset[str]] = frozenset()
    NARROW_SIDES: ClassVar[tuple[bool, bool]] = (True, True)
    """Which panes at the sides are shown at first in a narrow terminal, where some have to take turns."""
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (80, "-narrow"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (20, "-short"), (30, "-tall")]  # noqa: RUF012
    ALLOW_IN_MAXIMIZED_VIEW = "#top, KeyLine"

    DEFAULT_CSS = """
    Face { background: $background; layout: vertical; }
    Face > #top { dock: top; height: 2; }
    Face > KeyLine { dock: bottom; }
    Face > #body { height: 1fr; width: 1fr; }
    Face.-tiny > #body, Face.-flat > #body { display: none; }
    Face.-tiny > Notice, Face.-flat > Notice { display: block; }
    Face.-tiny ModeLine, Face.-tiny > KeyLine, Face.-flat > KeyLine, Face.-asking > KeyLine { display: none; }
    Face.-maximized-view { hatch: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._compositor = Looker()  # in the place of Textual's own
        self.sides = (True, True)
        self._sides_of = ""
        self._waiting: News | None = None
        self._had_focus: Panel | None = None
        self._loading = False

    # For subclasses

    @property
    def crumb(self) -> str:
        """The last breadcrumb."""
        return keys.MODES[self.MODE].lower()

    @property
    def topics(self) -> frozenset[str]:
        """Nouns whose changes concern this screen."""
        return self.TOPICS

    def panels(self) -> ComposeResult:
        """Yield the panels of the body."""
        return ()

    async def load(self, news: News) -> None:
        """Read what is shown; called first with everything, then with what changed."""

    def cli(self) -> str:
        """Return the command that shows the same."""
        return "mlops"

    def subject(self) -> tuple[str, str] | None:
        """Return noun and name of what is under the cursor, for actions and logs."""
        return None

    def subjects(self) -> tuple[str, list[str]] | None:
        """Return noun and names of all that an action is meant for: what is selected, or under the cursor."""
        subject = self.subject()
        return (subject[0], [subject[1]]) if subject else None

    async def open_object(self, noun: str, name: str, rest: str = "") -> None:
        """Show an object of this mode on top of its list."""
        from mlops_tui.tui.screens.frame.detail import SHOWS, Detail

        if noun in SHOWS:
            await self.app.push_screen(Detail(noun, name))
        else:
            self.complain(f"{noun} has no page of its own: mlops {noun} list")

    # The frame

    @property
    def mlops(self) -> MlopsApp:
        """The app, as its own type."""
        return cast("MlopsApp", self.app)

    @property
    def door(self) -> Door:
        """The client."""
        return self.mlops.door

    @property
    def seen(self) -> bool:
        """Whether this screen is the one on top."""
        return self.is_mounted and self.app.screen is self

    @property
    def narrow(self) -> bool:
        """Whether the terminal has fewer than 100 columns."""
        return self.app.size.width < 100

    def compose(self) -> ComposeResult:
        """Lay out the lines and the body."""
        with Container(id="top"):
            yield TopLine(self.mlops.status, self.mlops.crumbs(self))
            yield ModeLine(self.MODE)
        with Container(id="body"):
            yield from self.panels()
        if self.SCOPE == self.MODE:
            yield PluginRow(self.MODE, self.door)
        yield KeyLine(self.SCOPE, self.mlops.status)
        yield Notice()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Remember where the focus was, for a terminal that is too small for a while hides all panels."""
        if isinstance(event.widget, Panel):
            self._had_focus = event.widget

    def on_resize(self) -> None:
        """Lay the panes out for this width, and give the focus back to where it was once that is seen again."""
        if self._sides_of != self._sides_key:
            self.recall_sides()
        self.call_after_refresh(self._refocus)

    def _refocus(self) -> None:
        before = self._had_focus
        if self.focused is None and before is not None and before.is_attached and before.size.width:
            before.focus()

    def on_unmount(self) -> None:
        """Ask for no more."""
        self.mlops.hub.leave(self)

    def on_screen_resume(self) -> None:
        """Catch up on what was missed while hidden."""
        self.restate()
        self.mlops.hub.ring()

    def restate(self) -> None:
        """Bring the lines around the body up to date, and mark panels that can no longer be believed."""
        status = self.mlops.status
        self.query_one(TopLine).show(status, self.mlops.crumbs(self))
        self.query_one(KeyLine).show(status, len(self.app.screen_stack) > 1)
        stale = f"stale {status.age} · agent lost" if status.contact == "lost" and status.age else ""
        for panel in self.query(Panel):
            panel.stale = stale

    async def hear(self, news: News) -> None:
        """Load, one at a time; what comes meanwhile is put together into one more load."""
        for row in self.query(PluginRow):
            row.hear()
        before = self._waiting
        self._waiting = news if before is None else before.and_then(news)
        if not self._loading:
            start(self, self._load, group="load")

    async def _load(self) -> None:
        self._loading = True
        try:
            while self._waiting is not None:
                news, self._waiting = self._waiting, None
                try:
                    await self.load(news)
                except MlopsError as problem:
                    self.mlops.show_problem(problem)
        finally:
            self._loading = False

    def reload(self) -> None:
        """Read everything again, now."""
        start(self, self.hear, News(all=True))

    async def fill(self, panels: Iterable[Panel] | Panel, answer: Awaitable[T]) -> T | None:
        """Wait for an answer; when there is none, its panels say why and keep what they showed."""
        group = [panels] if isinstance(panels, Panel) else list(panels)
        try:
            got = await answer
        except MlopsError as problem:
            for panel in group:
                panel.show_problem(problem)
            return None
        for panel in group:
            panel.show_problem(None)
        return got

    # Panes at the sides

    def on_mount(self) -> None:
        """Ask the hub for news once the skeleton is painted; leave hidden what the person has hidden."""
        self.call_after_refresh(self.mlops.hub.join, self)
        self.recall_sides()

    @property
    def _sides_key(self) -> str:
        return f"sides.{self.SCOPE}{'.narrow' if self.narrow else ''}"

    def recall_sides(self) -> None:
        """Show the panes that the person left shown in a terminal of this width, or those that are at first."""
        self._sides_of = self._sides_key
        hidden = memory.recall().get(self._sides_of)
        first = self.NARROW_SIDES if self.narrow else (True, True)
        shown = first if hidden is None else (0 not in hidden, 1 not in hidden)
        if shown != self.sides:
            self.show_sides(shown)

    def action_side(self, which: int) -> None:
        """Hide the panes at a side, or show them again; so they stay."""
        self.sides = (not self.sides[0], self.sides[1]) if which == 0 else (self.sides[0], not self.sides[1])
        hidden = [i for i, shown in enumerate(self.sides) if not shown]
        memory.remember(self._sides_key, hidden or [_NEITHER])  # an empty memory would bring back what is first
        self.show_sides(self.sides)
        # What was hidden meanwhile has not been read.
        self.call_after_refresh(self.reload)

    def show_sides(self, shown: tuple[bool, bool]) -> None:
        """Show the panes at the left (or below) and at the right, or hide them: the CSS says which they are."""
        self.sides = shown
        self.set_class(not shown[0], "-no-left")
        self.set_class(not shown[1], "-no-right")

    # Charts: their keys hold wherever the focus is

    def _chart(self) -> Curve | None:
        return next((chart for chart in self.query(Curve) if chart.display and chart.series), None)

    def action_log_scale(self) -> None:
        """Turn the y axis of the first chart to its logarithm and back."""
        if chart := self._chart():
            chart.action_log_scale()

    def action_smooth(self) -> None:
        """Smooth the charts."""
        if chart := self._chart():
            chart.action_smooth()

    def action_scale(self, by: float) -> None:
        """Zoom the charts."""
        if chart := self._chart():
            chart.action_scale(by)

    # Changes

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Actions that change something do not exist when read-only."""
        return not (self.mlops.status.readonly and action in keys.CHANGING)

    def change(self, operation: str, fields: dict[str, Any], verb: str = "", prod: bool = False) -> None:
        """Plan a change, show the plan, and apply it if the person says so."""
        from mlops_tui.tui.widgets.plan import PlanDialog

        dialog = PlanDialog(self.door, operation, fields, verb=verb, prod=prod or self.mlops.status.prod)

        def done(answer: Any) -> None:
            from mlops_tui.contracts import Started
            from mlops_tui.contracts.inverse import inverses

            if answer is None:
                return
            plan = dialog.plan
            undone = plan is not None and inverses(operation, plan.object.partition(":")[2], plan.changes)
            back = " · u takes it back" if undone else ""
            text = getattr(answer, "text", "") or f"{operation} done"
            self.notify(text + back, title="job started" if isinstance(answer, Started) else "done", markup=False)
            self.changed(operation.partition(".")[0])
            self._show_once(operation, answer)

        self.app.push_screen(dialog, done)

    def _show_once(self, operation: str, answer: Any) -> None:
        """Show an answer that is a few plain values and no sentence, such as a new token: it is told only now."""
        names = getattr(answer, "__struct_fields__", ())
        fields = {name: getattr(answer, name) for name in names}
        if (
            fields
            and "text" not in fields
            and all(isinstance(one, str | int | float | None) for one in fields.values())
        ):
            from mlops_tui.contracts import OPERATIONS
            from mlops_tui.tui.widgets.answer import AnswerDialog

            self.app.push_screen(AnswerDialog(OPERATIONS[operation].help.rstrip("."), fields))

    def changed(self, noun: str) -> None:
        """Take in at once what the person just changed here: something of that noun, or what ``undo`` took back."""
        self.mlops.hub.ring()

    def complain(self, text: str) -> None:
        """Say in passing why a key did nothing."""
        self.notify(text, severity="warning", timeout=3)

    def lines(self, name: str) -> Lines:
        """Return a panel of lines by its id."""
        return self.query_one(f"#{name}", Lines)

    def focused_panel(self) -> Panel | None:
        """Return the panel that has the focus, if one has."""
        return self.focused if isinstance(self.focused, Panel) else None

    def focus_chain_of_panels(self) -> list[Widget]:
        """Return the panels that can be seen, in the order of the tab key."""
        return [widget for widget in self.focus_chain if isinstance(widget, Panel)]
