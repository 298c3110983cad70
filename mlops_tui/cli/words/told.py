"""How a command's help reads: its arguments, its own options, and at the end what every command understands."""

from __future__ import annotations

import click

from mlops_tui.cli.options import common


class Told(click.Command):
    """A command whose help has three sections. ``argument_help`` says what each argument is, by name."""

    argument_help: dict[str, str]

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Leave the arguments to :meth:`format_options` (newer clicks would list them here)."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections; the base classes' records, since typer's would load rich."""
        everywhere = {option.name for option in common(file=True)} - {"dry_run", "yes", "confirm", "reason", "no_wait"}
        arguments: list[tuple[str, str]] = []
        own: list[tuple[str, str]] = []
        rest: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            if isinstance(param, click.Argument):
                metavar = param.metavar or param.human_readable_name
                arguments.append((metavar.strip("[]…"), self.argument_help.get(param.name or "", "")))
                continue
            if isinstance(param, click.Option) and param.default == "":
                param.show_default = False  # nothing is said of nothing
            if isinstance(param, click.Option) and (record := click.Option.get_help_record(param, ctx)):
                (rest if param.name in everywhere or param.name == "help" else own).append(record)
        for title, records in (("Arguments", arguments), ("Options", own), ("Everywhere", rest)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
