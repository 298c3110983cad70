"""Commands with code of their own: typed functions, made into commands by typer, with the flags of every command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import click
import typer
from typer.core import TyperCommand

from mlops_tui.cli.options import common, take_wishes
from mlops_tui.cli.words.load import SETTINGS
from mlops_tui.cli.words.told import Told


class TypedCommand(Told, TyperCommand):
    """A command that typer made, with our help."""


def command_of(function: Callable[..., Any], name: str, line: str) -> click.Command:
    """Return the command of a function ``(ctx: typer.Context, …)``; ``ctx.obj`` will hold the wishes.

    A docstring may end in ``Example: mlops …``: it stands at the end of the help, as those of operations do.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    more = inspect.cleandoc((function.__doc__ or "").partition("\n")[2])
    more, _, example = more.partition("Example: ")
    about = f"{line}\n\n{more.rstrip()}"
    epilog = f"\b\nExample:\n  {example.strip()}" if example else None
    app.command(name, cls=TypedCommand, help=about, epilog=epilog, context_settings=SETTINGS)(function)
    command = typer.main.get_command(app)
    assert isinstance(command, TypedCommand)
    command.argument_help = _argument_help(function)
    call = command.callback
    assert call is not None

    def with_wishes(**values: Any) -> Any:
        click.get_current_context().obj = take_wishes(values)
        return call(**values)

    command.callback = with_wishes
    command.params += common()
    return command


def _argument_help(function: Callable[..., Any]) -> dict[str, str]:
    """Return the help of each argument; newer clicks take it away from what typer made."""
    hints = get_type_hints(function, include_extras=True)
    told = {name: getattr(hint, "__metadata__", (None,))[0] for name, hint in hints.items()}
    return {name: str(said.help) for name, said in told.items() if isinstance(said, typer.models.ArgumentInfo)}
