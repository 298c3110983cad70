"""The frame that every panel draws for itself: title, figure, hints and a thumb in one thin line."""

from __future__ import annotations

from textual import events
from textual.geometry import Region
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from mlops_tui.core.errors import MlopsError
from mlops_tui.tui import keys
from mlops_tui.tui.drawing.text import BLANK, Line, cut, line, parts_in, strip, width, wrap
from mlops_tui.tui.drawing.theme import Ink


class Panel(Widget, can_focus=True):
    """A framed piece of screen. Subclasses draw its inside, a line at a time, in :meth:`body`.

    The frame is drawn here and not by CSS: one line carries title (left) and figure (right), the lower one
    the hints, and the right edge is the scroll bar. That is one widget where a bordered container takes four.

    Args:
        title: what stands in the upper edge.
        hints: ids of keys that do something here, see :func:`mlops_tui.tui.keys.hints`.
        empty: what is said where there is nothing to show: what would be here, and what fills it.
        ident: the widget's id.
    """

    DEFAULT_CSS = """
    Panel { background: $surface; height: 1fr; width: 1fr; }
    """
    BINDINGS = keys.bindings("panel")
    ALLOW_MAXIMIZE = True

    title: reactive[str] = reactive("", repaint=False)
    figure: reactive[Line] = reactive(BLANK, repaint=False)
    hints: reactive[str] = reactive("", repaint=False)
    tone: reactive[str] = reactive("line")
    stale: reactive[str] = reactive("")
    badge: reactive[str] = reactive("")

    def __init__(self, title: str = "", hints: str = "", *, empty: str = "", ident: str | None = None) -> None:
        super().__init__(id=ident)
        self.set_reactive(Panel.title, title)
        self.set_reactive(Panel.hints, hints)
        self.empty = empty
        self.problem: MlopsError | None = None
        self.top = 0

    @property
    def ink(self) -> Ink:
        """The styles of the theme in force."""
        return Ink(self.app.theme)

    @property
    def room(self) -> tuple[int, int]:
        """Cells inside the frame that scroll: width and height."""
        width, height = self.size
        return max(0, width - 4), max(0, height - 2 - self.head)

    @property
    def head(self) -> int:
        """Lines of the inside that stay where they are when the rest scrolls."""
        return 0

    @property
    def count(self) -> int:
        """How many lines there are in all, seen or not."""
        return 0

    def body(self, y: int, cells: int) -> Strip:
        """Return line ``y`` of the inside (0 is the first one seen), ``cells`` wide."""
        return strip(BLANK, self.ink, cells=cells)

    def render_line(self, y: int) -> Strip:
        """Draw one line of the panel, frame included."""
        cells, height = self.room
        if cells <= 0 or height <= 0:
            return strip(BLANK, self.ink, cells=self.size.width)
        if y == 0:
            return self._edge("┌─", self._title(), self.figure, "─┐")
        if y == self.size.height - 1:
            return self._edge("└─", self._trouble(), self._footing(), "┘")
        tone = self._tone()
        left, right = (
            strip(line(("│", tone), self.pointer(y - 1)), self.ink),
            strip(line((" " + self._bar(y - 1 - self.head), tone)), self.ink),
        )
        return Strip.join([left, self._inside(y - 1, cells), right])

    def pointer(self, y: int) -> Line:
        """Return the cell left of a line of the inside: blank, or the mark of the cursor."""
        return line(" ")

    def refresh_body(self, y: int, lines: int = 1) -> None:
        """Paint some lines of the inside again, counted from the first one seen."""
        self.refresh(Region(0, y + 1, self.size.width, lines))

    def copied(self) -> str:
        """Return what ``y`` copies here."""
        return ""

    def renew(self) -> None:
        """Forget what would keep news out: the person asked for everything."""

    def show_problem(self, problem: MlopsError | None) -> None:
        """Say what went wrong in place; what was shown before stays."""
        if (problem and problem.record()) != (self.problem and self.problem.record()):
            self.problem = problem
            self.refresh()

    def scroll_rows(self, by: int) -> None:
        """Move what is seen by some lines, as far as there are any."""
        top = max(0, min(self.top + by, self.count - self.room[1]))
        if top != self.top:
            self.top = top
            self.refresh()

    @property
    def unread(self) -> bool:
        """Whether nothing has been read yet, so that nothing is known to be empty."""
        return False

    def waiting(self) -> Line:
        """Return what stands in the first line of a panel that has not been read: one of them says why."""
        status = getattr(self.app, "status", None)
        connecting = self.has_focus and status is not None and status.contact == "connecting"
        return line(("reaching the agent …", "faint")) if connecting else BLANK

    def _inside(self, y: int, cells: int) -> Strip:
        if self.unread and not self.problem:
            return strip(self.waiting() if y == 0 else BLANK, self.ink, cells=cells)
        if self.count == 0 and (self.problem or self.empty):
            said = self._card(cells) if self.problem else wrap(self.empty, cells, "dim")
            return strip(said[y] if y < len(said) else BLANK, self.ink, cells=cells)
        return self.body(y, cells)

    def _card(self, cells: int) -> list[Line]:
        problem = self.problem
        assert problem is not None
        return [
            *wrap(f"✖ {problem.what}", cells, "fail"),
            *(wrap(problem.why, cells, "dim") if problem.why else []),
            *(wrap(f"→ {problem.fix}", cells, "text") if problem.fix else []),
            line((f"{problem.code} · ", "faint"), ("r", "accent"), (" try again", "faint")),
        ]

    def _title(self) -> Line:
        badge = line((f" {self.badge} ", "*warn"), " ") if self.badge else BLANK
        return line(badge, (self.title, "*text" if self.has_focus else "text"))

    def _trouble(self) -> Line:
        if self.problem and self.count:
            return line((f"✖ {self.problem.what}", "fail"), (" · ", "faint"), ("r", "accent"), (" try again", "faint"))
        return line((self.stale, "warn")) if self.stale else BLANK

    def _footing(self) -> Line:
        below = self.count - self.top - self.room[1]
        more = [f"{below:,} more ↓"] if 0 < below < self.count else []
        return line((keys.BETWEEN.join([*more, *(told for told, _ in self._hinted())]), "faint"))

    def _hinted(self) -> list[tuple[str, str]]:
        status = getattr(self.app, "status", None)
        return keys.hinted(self.hints, status.keymap, status.readonly) if status else keys.hinted(self.hints)

    def on_click(self, event: events.Click) -> None:
        """Do what the hint under the mouse says."""
        if event.y != self.size.height - 1:
            return
        frame = self.render_line(event.y).text
        for told, key in self._hinted():
            at = frame.find(told)
            if 0 <= at <= event.x < at + len(told):
                self.focus()
                self.app.call_later(self.app.simulate_key, key)

    def _tone(self) -> str:
        return "line-focus" if self.has_focus and self.tone == "line" else self.tone

    def _edge(self, start: str, left: Line, right: Line, end: str) -> Strip:
        tone, cells = self._tone(), self.size.width - len(start) - len(end)
        # The title says what this is: the figure gives way to it, as far as that is not most of the edge.
        kept = min(width(left), cells * 3 // 5) + 3 if left else 0
        right = parts_in(right, max(0, cells - kept - 4)) if right else right
        taken = width(right) + 2 if right else 0
        left = cut(left, max(0, cells - taken - 3)) if left else left
        dashes = cells - taken - (width(left) + 2 if left else 0)
        parts: list[Line] = [((start, tone),)]
        if left:
            parts.append(line(" ", left, " "))
        parts.append((("─" * max(0, dashes), tone),))
        if right:
            parts.append(line(" ", right, " "))
        parts.append(((end, tone),))
        return strip(line(*parts), self.ink, cells=self.size.width)

    def _bar(self, y: int) -> str:
        height, count = self.room[1], self.count
        if count <= height:
            return "│"
        thumb = max(1, height * height // count)
        start = round(self.top / (count - height) * (height - thumb))
        return "┃" if start <= y < start + thumb else "│"

    def watch_has_focus(self, _has_focus: bool) -> None:
        """Paint the frame in its other colour."""
        super().watch_has_focus(_has_focus)
        self.refresh()

    def watch_title(self) -> None:
        """Paint the upper edge again."""
        self.refresh(Region(0, 0, self.size.width, 1))

    def watch_figure(self) -> None:
        """Paint the upper edge again."""
        self.watch_title()

    def watch_hints(self) -> None:
        """Paint the lower edge again."""
        self.refresh(Region(0, max(0, self.size.height - 1), self.size.width, 1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll three lines down."""
        event.stop()
        self.scroll_rows(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll three lines up."""
        event.stop()
        self.scroll_rows(-3)
