"""One line of input at the foot of the screen: commands, filters, searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events
from textual.suggester import SuggestFromList
from textual.widgets import Input

from mlops_tui.tui.text import clean


class Prompt(Input):
    """Takes a line, hands it to ``done`` and goes; escape goes without."""

    DEFAULT_CSS = """
    Prompt, Prompt:focus { dock: bottom; height: 1; border: none; padding: 0 1; background: $raised; color: $text; }
    """

    def __init__(
        self, sign: str, value: str, done: Callable[[str], None], *, hint: str = "", words: Sequence[str] = ()
    ) -> None:
        super().__init__(
            value,
            placeholder=f"{sign} {hint}",
            suggester=SuggestFromList(words) if words else None,
            select_on_focus=False,
        )
        self._done = done

    async def on_key(self, event: events.Key) -> None:
        """Leave without doing anything on escape."""
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            await self.remove()

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand the line over and go."""
        event.stop()
        text = clean(event.value)
        await self.remove()
        self._done(text)

    def on_blur(self) -> None:
        """Go when the person turns to something else."""
        self.remove()
