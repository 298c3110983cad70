"""The three lines around every screen: where one is, where one can go, and which keys do something."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.strip import Strip
from textual.widget import Widget

from mlops_tui.tui import keys
from mlops_tui.tui.drawing.text import BLANK, Line, cut, join, line, pad, spread, strip, width
from mlops_tui.tui.drawing.theme import Ink
from mlops_tui.tui.status import Status

_SHORT = {"models": "Model", "hardware": "HW", "govern": "Gov"}
_CONTACT = {"live": ("●", "ok"), "connecting": ("↻", "busy"), "lost": ("○", "fail")}


class Bar(Widget):
    """One line that knows how to draw itself for any width, and paints only when it would look different."""

    DEFAULT_CSS = "Bar { height: 1; width: 1fr; background: $background; }"

    def __init__(self) -> None:
        super().__init__()
        self._shown: Line = BLANK
        self._places: list[tuple[int, int, str]] = []

    def draw(self, cells: int) -> Line:
        """Return the line for a width."""
        raise NotImplementedError

    def update(self) -> None:
        """Paint again if what should be seen has changed."""
        drawn = self.draw(self.size.width)
        if drawn != self._shown:
            self._shown = drawn
            self.refresh()

    def lead(self, start: int, told: Line, key: str) -> int:
        """Let a click on a piece of the line press a key; the cell after it is returned."""
        end = start + width(told)
        self._places.append((start, end, key))
        return end

    def on_click(self, event: events.Click) -> None:
        """Press the key that stands under the mouse."""
        for start, end, key in self._places:
            if key and start <= event.x < end:
                self.app.simulate_key(key)

    def render_line(self, y: int) -> Strip:
        """Draw the line."""
        self._shown = self.draw(self.size.width)
        return strip(self._shown, Ink(self.app.theme), "background", self.size.width)


class TopLine(Bar):
    """Breadcrumbs at the left; connection, read-only, user and environment at the right."""

    def __init__(self, status: Status, crumbs: Sequence[str]) -> None:
        super().__init__()
        self.status, self.crumbs = status, tuple(crumbs)

    def show(self, status: Status, crumbs: Sequence[str]) -> None:
        """Take over a new state."""
        self.status, self.crumbs = status, tuple(crumbs)
        self.update()

    def draw(self, cells: int) -> Line:
        """Return crumbs and state; in a narrow terminal the state shortens first."""
        wide = cells >= 100
        parts = ("mlops", *self.crumbs) if wide else ("", *self.crumbs)
        spans = [line((crumb, "*text" if i == len(parts) - 1 else "dim")) for i, crumb in enumerate(parts)]
        return spread(
            line(
                " ", join(spans, (" ▸ ", "faint")) if wide else line(("▸ ", "faint"), join(spans[1:], (" ▸ ", "faint")))
            ),
            line(self._state(wide), " "),
            cells,
        )

    def _state(self, wide: bool) -> Line:
        status = self.status
        symbol, tone = _CONTACT[status.contact]
        said = f"agent lost {status.age}".rstrip() if status.contact == "lost" else status.contact
        word = f"{symbol} {said}"
        if status.paused:
            word, tone = "‖ paused", "warn"
        badge = line((f"[{status.environment.upper()}]", "*prod" if status.prod else "dim"))
        read_only = line(("read-only", "warn")) if status.readonly else BLANK
        if not wide:
            return join([line((word, tone)), read_only, line(status.user), badge])
        who = line(("user:", "dim"), status.user)
        return join([line((word, tone)), read_only, who, line(("env:", "dim"), badge)])


class ModeLine(Bar):
    """The nine modes on their number keys."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def draw(self, cells: int) -> Line:
        """Return the modes, the present one bold, with the way to everything else at the right; all modes are seen."""
        left, right = self._drawn(cells, wide=True)
        if width(left) + width(right) + 2 > cells:
            left, right = self._drawn(cells, wide=False)
        return spread(left, right, cells)

    def _drawn(self, cells: int, wide: bool) -> tuple[Line, Line]:
        self._places = []
        spans: list[Line] = []
        at = 1
        for number, (mode, title) in enumerate(keys.MODES.items(), 1):
            name = title if wide else _SHORT.get(mode, title)
            here = mode == self.mode
            span = line((str(number), "accent"), " " if wide else "", (name, "*accent" if here else "dim"))
            at = self.lead(at, span, str(number)) + (2 if wide else 1)
            spans.append(span)
        right = (
            [("^p", " palette"), (":", " cmd"), ("?", " help")] if wide else [("^p", ""), (":", "cmd"), ("?", "help")]
        )
        ways = [line((key, "accent"), (word, "dim")) for key, word in right]
        at = cells - width(join(ways)) - 1
        for way, key in zip(ways, ("ctrl+p", "colon", "question_mark"), strict=True):
            at = self.lead(at, way, key) + 2
        return line(" ", join(spans, "  " if wide else " ")), line(join(ways), " ")


class KeyLine(Bar):
    """The keys that do something here, from the one table."""

    def __init__(self, screen: str, status: Status) -> None:
        super().__init__()
        self.screen_name, self.status, self.deep = screen, status, False

    def show(self, status: Status, deep: bool) -> None:
        """Take over a new state; ``deep`` says that there is a screen to go back to."""
        self.status, self.deep = status, deep
        self.update()

    def draw(self, cells: int) -> Line:
        """Return as many hints as fit, the particular ones first, help and quit always."""
        found = keys.active(self.screen_name, self.status.keymap, self.status.readonly)
        last = ("app.back", "app.help", "app.quit") if self.deep else ("app.help", "app.quit")
        tail = [each for each in found if each.id in last]
        hints = [self._hint(each) for each in found if each.hint and each not in tail and each.id != "app.back"]
        end = join([self._hint(each) for each in tail])
        room = cells - 2 - width(end)
        taken: list[Line] = [line(("↑↓", "accent"), (" move", "dim"))] if cells >= 100 else []
        for hint in hints:
            if width(join([*taken, hint])) + 2 > room:
                break
            taken.append(hint)
        self._places, at = [], 1
        named = {self._hint(each): each.first for each in found if each.hint}
        for told in [*taken, *(self._hint(each) for each in tail)]:
            at = self.lead(at, told, named.get(told, "")) + 2
        return pad(line(" ", join([*taken, end])), cells)

    def _hint(self, key: keys.Key) -> Line:
        jobs = f"({self.status.jobs})" if key.id == "app.tasks" and self.status.jobs else ""
        return line((keys.shown(key.first), "accent"), (f" {key.hint}{jobs}", "dim"))


class Notice(Widget):
    """What stands there when the terminal is too small to be of use."""

    DEFAULT_CSS = "Notice { display: none; width: 1fr; height: 1fr; background: $background; }"

    def render_line(self, y: int) -> Strip:
        """Say how small it is and what helps."""
        cells, rows = self.app.size
        told = [
            BLANK,
            line(("! ", "warn"), f"this terminal has {cells} columns and {rows} lines"),
            line(("  mlops needs 80 and 20: widen it, or leave and type", "dim")),
            line("  ", ("mlops top --once", "accent")),
            BLANK,
            line("  ", ("q", "accent"), (" quit", "dim")),
        ]
        row = told[y] if y < len(told) else BLANK
        return strip(cut(row, cells), Ink(self.app.theme), "background", self.size.width)
