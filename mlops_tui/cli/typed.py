"""Commands with code of their own: typed functions, made into commands by typer, with the flags of every command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import typer

from mlops_tui.cli.options import common, take_wishes


def command_of(function: Callable[..., Any], name: str, help: str) -> click.Command:
    """Return the command of a function ``(ctx: typer.Context, …)``; ``ctx.obj`` will hold the wishes."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, help=f"{help}\n\n{_more(function)}", context_settings=getattr(function, "settings", None))(
        function
    )
    command = typer.main.get_command(app)
    call = command.callback
    assert call is not None

    def with_wishes(**values: Any) -> Any:
        context = click.get_current_context()
        context.obj = take_wishes(values)
        return call(**values)

    command.callback = with_wishes
    command.params += common()
    return command


def _more(function: Callable[..., Any]) -> str:
    """Return what a function's description says after its first line, for ``--help``."""
    return (function.__doc__ or "").partition("\n")[2].strip()
