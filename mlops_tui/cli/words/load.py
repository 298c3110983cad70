"""From a word to its command, loaded when it is used; and what is said when nobody knows the word."""

from __future__ import annotations

import importlib

import click

from mlops_tui.core.errors import BadInput

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def load_command(name: str, target: str, line: str) -> click.Command:
    """Return a command that a module of ``cli.commands`` defines: a click command, or a typed function.

    A function takes ``(ctx: typer.Context, …)``, where ``ctx.obj`` holds the :class:`Wishes`; it returns the exit code.
    """
    module, _, attribute = target.partition(":")
    found = getattr(importlib.import_module(f"mlops_tui.cli.commands.{module}"), attribute)
    if isinstance(found, click.Command):
        return found
    from mlops_tui.cli.words.typed import command_of

    return command_of(found, name, line)


def unknown(typed: str, what: str, known: list[str], prefix: str) -> BadInput:
    """Return the error for a word that nobody knows, with the one that was probably meant."""
    import difflib

    near = difflib.get_close_matches(typed, known, n=2, cutoff=0.5)
    fix = "did you mean " + " or ".join(f"{prefix} {name}" for name in near) if near else f"{prefix} --help"
    return BadInput(f"there is no {what} {typed!r}", "", fix)
