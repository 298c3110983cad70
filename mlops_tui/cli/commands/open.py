"""``mlops open LINK``: the TUI at an object."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mlops_tui.cli.calls.handover import to_module
from mlops_tui.cli.options import Wishes
from mlops_tui.cli.words.table import word
from mlops_tui.core.errors import BadInput


def open_link(
    ctx: typer.Context,
    link: Annotated[str, typer.Argument(help="a mode (runs, models …) or an object: run:NAME, model:NAME@ALIAS")] = "",
    readonly: Annotated[bool, typer.Option("--readonly", help="without any key that changes something")] = False,
    low_bandwidth: Annotated[bool, typer.Option("--low-bandwidth", help="16 colours, fewer updates")] = False,
    theme: Annotated[str, typer.Option(help="auto, mlops-dark, mlops-light, ansi-dark or ansi-light")] = "",
    keymap: Annotated[str, typer.Option(help="default, vim or emacs")] = "",
) -> None:
    """Open the TUI at an object.

    The same words are typed after ':' in the TUI; a run prints its link when it starts. The flags may also be given
    to mlops alone.

    Example: mlops open run:train-v1
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInput("the TUI needs a terminal", "this is none", _instead(link))
    wishes: Wishes = ctx.obj
    flags = ["--readonly"] * readonly + ["--low-bandwidth"] * low_bandwidth + ["--ascii"] * wishes.ascii
    flags += [word for name, value in (("--theme", theme), ("--keymap", keymap)) if value for word in (name, value)]
    to_module("mlops_tui.tui", [*flags, *([link] if link else [])])


def _instead(link: str) -> str:
    """Return the command that shows the same thing as text."""
    from mlops_tui.contracts import OPERATIONS

    head, _, name = link.partition(":")
    noun = word(head)
    if noun is None or f"{noun}.list" not in OPERATIONS:
        return "mlops top"
    verb = next((verb for verb in ("show", "status") if f"{noun}.{verb}" in OPERATIONS), None)
    return f"mlops {noun} {verb} {name}" if verb and name else f"mlops {noun} list"
