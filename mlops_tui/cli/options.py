"""What every command understands, and what it means together with settings and terminal."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from mlops_tui.core.errors import MlopsError
from mlops_tui.core.glyphs import HANDLER

if TYPE_CHECKING:
    from mlops_tui.core.config import Config

FORMATS = ("table", "json", "jsonl", "csv", "md", "plain")
COLORS = ("auto", "always", "never")


@dataclass(frozen=True)
class Wishes:
    """How a person wants a command to act and to answer; the names are those of the flags."""

    output: str = ""
    fields: tuple[str, ...] = ()
    color: str = "auto"
    quiet: int = 0
    verbose: int = 0
    dry_run: bool = False
    yes: bool = False
    confirm: str = ""
    reason: str = ""
    no_input: bool = False
    no_wait: bool = False
    timeout: float | None = None
    to: str = ""
    ascii: bool = False
    argv: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def config(self) -> Config:
        """Settings in force, read once a command."""
        from mlops_tui.core.config import load

        return load()

    @property
    def format(self) -> str:
        """How results are printed: flag, else ``MLOPS_OUTPUT`` and files, else a table."""
        return self.output or str(self.config.get("output"))

    @property
    def can_ask(self) -> bool:
        """Whether a person is there who can be asked."""
        return not self.no_input and sys.stdin.isatty() and sys.stderr.isatty()

    @property
    def shows_progress(self) -> bool:
        """Whether a line that rewrites itself is welcome."""
        return sys.stderr.isatty() and not self.quiet and not os.environ.get("CI")

    def paints(self, stream: Any) -> bool:
        """Tell whether a stream gets colours (https://no-color.org, and FORCE_COLOR)."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


def common(*, change: bool = False, job: bool = False, file: bool = False) -> list[click.Option]:
    """Return the flags of every command; those that mean nothing to this one are understood but not shown.

    But ``--to``: who gives it to a command that does not heed it would look for a file that is not there.
    """
    to = _option("--to", metavar="FILE", help="write the file there, replacing it; default, stdout")
    return [
        _option("-o", "--output", type=click.Choice(FORMATS), help="how to print the result"),
        _option("--json", is_flag=True, help="short for -o json"),
        _option("--fields", metavar="A,B", help="only these columns or fields"),
        _option("--dry-run", is_flag=True, hidden=not change, help="print the plan, change nothing"),
        _option("-y", "--yes", is_flag=True, hidden=not change, help="do not ask"),
        _option("--confirm", metavar="NAME", hidden=not change, help="name of the object, asked for in production"),
        _option("--reason", metavar="TEXT", hidden=not change, help="why; goes into the audit trail"),
        _option("--no-wait", is_flag=True, hidden=not job, help="print the job and leave it alone"),
        *([to] if file else []),
        _option("--timeout", type=click.FloatRange(0, min_open=True), metavar="S", help="seconds to wait at most"),
        _option("--no-input", is_flag=True, help="never ask"),
        _option("--color", type=click.Choice(COLORS), help="colours; NO_COLOR and FORCE_COLOR count too"),
        _option("--ascii", is_flag=True, help="plain ASCII only; for good: ascii = true in the settings"),
        _option("-q", "--quiet", count=True, help="results and errors only"),
        _option("-v", "--verbose", count=True, help="say more"),
    ]


def take_wishes(values: dict[str, Any], argv: tuple[str, ...] = ()) -> Wishes:
    """Take the common flags out of a command's values and return what they mean."""
    taken = {option.name: values.pop(option.name or "", None) for option in common(file=True)}
    json = taken.pop("json")
    if json and taken["output"] not in (None, "json"):
        raise click.UsageError(f"--json and --output {taken['output']} do not go together")
    if json:
        taken["output"] = "json"
    taken["fields"] = tuple(name.strip() for name in (taken["fields"] or "").split(",") if name.strip())
    wishes = Wishes(**{str(key): value for key, value in taken.items() if value}, argv=argv)
    _restrict(wishes)
    return wishes


def _restrict(wishes: Wishes) -> None:
    """Have the streams write ASCII if that is wanted; what is for programs keeps its letters."""
    try:
        wanted = wishes.ascii or bool(wishes.config.get("ascii"))
        results = wishes.format in ("table", "plain", "md")
    except MlopsError:
        return  # whoever needs the settings says what is wrong with them
    for stream, fits in ((sys.stdout, results), (sys.stderr, True)):
        if wanted and fits and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="ascii", errors=HANDLER)


def _option(*names: str, **settings: Any) -> click.Option:
    return click.Option(names, **settings)
