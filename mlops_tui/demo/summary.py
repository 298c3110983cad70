"""What the demo reports: each step with its outcome, its time and its figures."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from mlops_tui.core.errors import MlopsError

MARKS = {"ok": "✔", "failed": "✖", "skipped": "-"}


class Step(msgspec.Struct, kw_only=True):
    """One step; ``figures`` are what it measured."""

    name: str
    title: str
    outcome: str = "ok"
    seconds: float = 0.0
    text: str = ""
    figures: dict[str, Any] = {}


class Summary(msgspec.Struct, kw_only=True):
    """The whole demo."""

    schema: str = "demo/1"
    ok: bool = True
    seconds: float = 0.0
    home: str = ""
    steps: list[Step] = []

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[Step]:
        """Run one step; what goes wrong in it is noted and raised."""
        made = Step(name=name, title=title)
        self.steps.append(made)
        _say(f"  … {title}", end="\r")
        began = time.monotonic()
        try:
            yield made
        except BaseException as error:
            made.outcome, self.ok = "failed", False
            made.text = _words(error)
            raise
        finally:
            made.seconds = round(time.monotonic() - began, 2)
            _say(f"  {MARKS[made.outcome]} {title:<34} {made.seconds:6.1f} s  {made.text}")


def _words(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) if isinstance(error, MlopsError) else f"{type(error).__name__}: {error}"


def _say(line: str, end: str = "\n") -> None:
    if end == "\r" and not sys.stderr.isatty():
        return
    clear = "\x1b[2K" if sys.stderr.isatty() else ""
    print(f"{clear}{line}", end=end, file=sys.stderr, flush=True)
