"""What all dialogs share: prose that wraps, choices of which the first is the safe one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.screen import ModalScreen, ScreenResultType
from textual.strip import Strip
from textual.widget import Widget

from mlops_tui.tui.drawing.text import BLANK, Line, join, line, strip
from mlops_tui.tui.drawing.theme import Ink
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.terminal import clipboard

_LINES = 5
"""Lines by which a long dialog scrolls."""


class Dialog(ModalScreen[ScreenResultType]):
    """A question over the screen. Escape gives the safe answer: None."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog:ansi { background: transparent; }
    Dialog > #box {
        width: 84; max-width: 100%; height: auto; max-height: 100%; overflow-y: auto;
        background: $raised; border: solid $line-focus; border-title-color: $text; border-title-style: bold;
        padding: 1 2; scrollbar-size-vertical: 1;
    }
    Dialog.-short > #box { padding: 0 2; }
    Dialog.-short Input, Dialog.-short Input:focus { margin: 0; }
    Dialog.-danger > #box { border: solid $prod; }
    Dialog Input, Dialog Input:focus { border: none; height: 1; padding: 0 1; background: $surface; margin: 0 0 1 0; }
    Dialog Input:focus { background: $background; }
    """

    BINDINGS = bindings("dialog")
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012

    def action_cancel(self) -> None:
        """Give the safe answer."""
        self.dismiss(None)

    def action_copy_cli(self) -> None:
        """Copy what this dialog stands for."""
        if text := self.copied():
            clipboard.copy(self.app, text)
            self.notify(text, title="copied")

    def copied(self) -> str:
        """Return what ``Y`` copies."""
        return ""


class Plain(Dialog[ScreenResultType]):
    """A dialog that is one panel, whose frame is the only one."""

    DEFAULT_CSS = """
    Plain > #box { padding: 0; border: none; }
    Plain Panel { background: $raised; }
    Plain Input, Plain Input:focus { margin: 0; }
    """


class Prose(Widget):
    """Lines that are made for the width they get."""

    DEFAULT_CSS = "Prose { height: auto; width: 1fr; background: $raised; margin: 0 0 1 0; }"

    def __init__(self, write: Callable[[int], Sequence[Line]] = lambda cells: (), ident: str | None = None) -> None:
        super().__init__(id=ident)
        self._write = write

    def show(self, write: Callable[[int], Sequence[Line]]) -> None:
        """Show other lines."""
        self._write = write
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Say how many lines there are at that width."""
        return len(self._write(width))

    def render_line(self, y: int) -> Strip:
        """Draw a line."""
        lines = self._write(self.size.width)
        return strip(lines[y] if y < len(lines) else BLANK, Ink(self.app.theme), "raised", self.size.width)


class Choice(NamedTuple):
    """One answer: its word, and the token it is written in."""

    word: str
    token: str = "text"


class Choices(Widget, can_focus=True):
    """Answers side by side; the first one is marked at the beginning and must be the safe one."""

    DEFAULT_CSS = "Choices { dock: bottom; height: 1; width: 1fr; background: $raised; }"
    BINDINGS = bindings("choices")

    class Picked(Message):
        """Somebody pressed enter on an answer."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, *choices: Choice, ident: str | None = None) -> None:
        super().__init__(id=ident)
        self.choices = choices
        self.index = 0

    def render_line(self, y: int) -> Strip:
        """Draw the answers; the marked one between brackets."""
        spans = [
            line(
                ("[ " if i == self.index else "  ", "accent"),
                (choice.word, f"*{choice.token}" if i == self.index else choice.token),
                (" ]" if i == self.index else "  ", "accent"),
            )
            for i, choice in enumerate(self.choices)
        ]
        return strip(join(spans), Ink(self.app.theme), "raised", self.size.width)

    def set_choices(self, *choices: Choice) -> None:
        """Offer other answers."""
        self.choices, self.index = choices, 0
        self.refresh()

    def action_aside(self, by: int) -> None:
        """Mark the answer beside."""
        self.index = max(0, min(self.index + by, len(self.choices) - 1))
        self.refresh()

    def action_scroll(self, by: int) -> None:
        """Show what a long dialog says further up or down."""
        if isinstance(self.parent, Widget):
            self.parent.scroll_relative(y=by * _LINES, animate=False)

    def action_pick(self) -> None:
        """Give the marked answer."""
        self.post_message(self.Picked(self.index))

    def on_click(self, event: events.Click) -> None:
        """Give the answer under the mouse."""
        at = 0
        for index, choice in enumerate(self.choices):
            at += len(choice.word) + 6
            if event.x < at:
                self.index = index
                self.post_message(self.Picked(index))
                return
