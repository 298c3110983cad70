"""``mlops open LINK``: the TUI at an object."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mlops_tui.cli.handover import to_module
from mlops_tui.cli.table import VERBS, word
from mlops_tui.core.errors import BadInput


def open_link(
    ctx: typer.Context,
    link: Annotated[str, typer.Argument(help="a mode (runs, models …) or an object: run:NAME, model:NAME@ALIAS")],
) -> None:
    """Open the TUI at an object.

    The same words are typed after ':' in the TUI; a run prints its link when it starts.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInput("the TUI needs a terminal", "this is none", _instead(link))
    to_module("mlops_tui.tui", [link])


def _instead(link: str) -> str:
    """Return the command that shows the same thing as text."""
    from mlops_tui.contracts import OPERATIONS

    head, _, name = link.partition(":")
    noun = word(head)
    if noun is None or noun in VERBS:
        return "mlops top"
    verb = next((verb for verb in ("show", "status") if f"{noun}.{verb}" in OPERATIONS), None)
    return f"mlops {noun} {verb} {name}" if verb and name else f"mlops {noun} list"
