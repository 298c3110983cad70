"""One line of input at the foot of the screen: commands, filters, searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Horizontal
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Label

from mlops_tui.core.printable import clean


class Prompt(Container):
    """Takes a line, hands it to ``done`` and goes; escape, or turning elsewhere, goes without.

    Args:
        sign: what stands before the line: ``:``, ``/`` or a word.
        value: what stands in it at first.
        done: is given the line.
        hint: what one could type.
        words: completions; the right arrow takes one.
        wrong: why the line could not be read, and where; said under it.
    """

    DEFAULT_CSS = """
    Prompt { dock: bottom; height: 1; layout: horizontal; background: $raised; padding: 0 1; }
    Prompt.-wrong { height: 2; layout: vertical; }
    Prompt Horizontal { height: 1; }
    Prompt Label { width: auto; color: $accent; text-style: bold; margin: 0 1 0 0; }
    Prompt #wrong { color: $fail; text-style: none; margin: 0; }
    Prompt Input, Prompt Input:focus { height: 1; border: none; padding: 0; background: $raised; color: $text; }
    """

    def __init__(
        self,
        sign: str,
        value: str,
        done: Callable[[str], None],
        *,
        hint: str = "",
        words: Sequence[str] = (),
        wrong: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(classes="-wrong" if wrong else "")
        self._wrong = wrong
        self._before: Widget | None = None
        self._left = False
        self._sign, self._value, self._done, self._hint, self._words = sign, value, done, hint, words

    def compose(self) -> ComposeResult:
        """Lay out sign and line, and under it a caret where it could not be read."""
        suggester = SuggestFromList(self._words) if self._words else None
        sign = Label(self._sign, markup=False)
        line = Input(self._value, placeholder=self._hint, suggester=suggester, select_on_focus=False)
        if not self._wrong:
            yield from (sign, line)
            return
        yield Horizontal(sign, line)
        why, at = self._wrong
        before = cell_len(self._sign) + 1 + cell_len(self._value[:at])
        yield Label(f"{' ' * before}^ {why}", id="wrong", markup=False)

    def on_mount(self) -> None:
        """Take the place of the keys."""
        self._before = self.screen.focused
        self.screen.add_class("-asking")
        line = self.query_one(Input)
        line.focus()
        if self._wrong:
            line.cursor_position = self._wrong[1]

    def on_unmount(self) -> None:
        """Give the place back."""
        self.screen.remove_class("-asking")

    async def _leave(self) -> None:
        """Give the focus back to what had it, and go."""
        self._left = True
        if self._before is not None and self._before.is_attached:
            self._before.focus()
        await self.remove()

    async def on_key(self, event: events.Key) -> None:
        """Leave without doing anything on escape."""
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            await self._leave()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand the line over and go."""
        event.stop()
        # In the screen's name: what this opens answers to whoever opened it, and the prompt is gone by then.
        self.screen.call_later(self._done, clean(event.value))
        await self._leave()

    async def on_input_blurred(self, _: Input.Blurred) -> None:
        """Go when the person turns to something else."""
        if not self._left:
            await self.remove()
