"""A log as it grows: of a job, a run or a deployment."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult

from mlops_tui.core.ids import short
from mlops_tui.core.printable import clean
from mlops_tui.tui.drawing.text import Line, line
from mlops_tui.tui.keys import bindings
from mlops_tui.tui.news.door import command
from mlops_tui.tui.news.hub import News
from mlops_tui.tui.screens.frame.base import Face
from mlops_tui.tui.widgets.lines import Lines
from mlops_tui.tui.widgets.prompt import Prompt

LOGS = {"job": ("job.log", "job"), "run": ("run.log", "run"), "deploy": ("deploy.logs", "deployment")}
"""The nouns that keep a log: the operation that reads it, and its field."""

_KEPT = 5_000
_TONES = (("error", "fail"), ("traceback", "fail"), ("exception", "fail"), ("warn", "warn"))


class Log(Face):
    """The newest lines of a log; it follows the end until somebody scrolls up."""

    SCOPE = "log"
    BINDINGS = bindings("log")

    def __init__(self, noun: str, name: str) -> None:
        super().__init__()
        self.noun, self.name_of_object = noun, name
        self.following, self._last, self._lines = True, 0, list[str]()
        self._needle = ""

    @property
    def crumb(self) -> str:
        """Whose log it is."""
        name = self.name_of_object
        return f"log of {self.noun} {short(name) if len(name) == 36 else name}"

    @property
    def topics(self) -> frozenset[str]:
        """New lines are announced as touches of log, of the noun, or of the run that a job makes."""
        return frozenset((self.noun, "log", "run"))

    def panels(self) -> ComposeResult:
        """Yield the one panel."""
        yield Lines("Log", "log.find log.next log.follow", empty="no line has been written yet", ident="log")

    async def load(self, news: News) -> None:
        """Read what came after the last line."""
        operation, field = LOGS[self.noun]
        request: dict[str, Any] = {field: self.name_of_object}
        request |= {"lines": 1000} if self.noun == "deploy" else {"lines": 5000, "after": self._last}
        panel = self.query_one(Lines)
        got = await self.fill(panel, self.door.call(operation, request))
        if got is None:
            return
        self._lines = got.lines if self.noun == "deploy" or not self._last else self._lines + got.lines
        self._lines, self._last = self._lines[-_KEPT:], got.last
        panel.title = f"Log ({len(self._lines):,})" + (" · following" if self.following else "")
        panel.show([coloured(text, self._needle) for text in self._lines])
        if self.following:
            panel.scroll_rows(len(self._lines))

    def cli(self) -> str:
        """The log as a command."""
        operation, field = LOGS[self.noun]
        return command(operation, {field: self.name_of_object})

    def subject(self) -> tuple[str, str]:
        """Whose log it is."""
        return self.noun, self.name_of_object

    def action_follow(self) -> None:
        """Follow the end again, or stop."""
        self.following = not self.following
        self.reload()

    def action_find(self) -> None:
        """Ask what to find."""
        self.mount(Prompt("/", self._needle, self._find, hint="find in the log"))

    def _find(self, text: str) -> None:
        self._needle, self.following = text.lower(), False
        panel = self.query_one(Lines)
        panel.show([coloured(one, self._needle) for one in self._lines])
        panel.focus()
        self.action_next_match()

    def action_next_match(self) -> None:
        """Go to the next line with what was searched for, from the top again after the last one."""
        panel = self.query_one(Lines)
        hits = [i for i, text in enumerate(self._lines) if self._needle and self._needle in text.lower()]
        if not hits:
            self.complain(f"{self._needle!r} is not in the log" if self._needle else "/ finds something first")
            return
        at = next((i for i in hits if i > panel.top), hits[0])
        panel.scroll_rows(at - panel.top)
        panel.figure = line((f"{self._needle!r} in {len(hits):,}", "dim"))


def coloured(text: str, needle: str = "") -> Line:
    """Return a line of a log in the colour of what it seems to say; where ``needle`` is found it stands out."""
    low = text.lower()
    tone = next((tone for word, tone in _TONES if word in low), "text")
    return line((clean(text), "*accent" if needle and needle in low else tone))
