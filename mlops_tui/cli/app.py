"""The root of the command line: words from the table, errors in one shape, exit codes from one enum."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import click

from mlops_tui.cli.words.load import SETTINGS, load_command, unknown
from mlops_tui.cli.words.table import COMMANDS, NOUNS, SECTIONS, line_of, word
from mlops_tui.core.errors import BadInput, ExitCode, MlopsError
from mlops_tui.core.glyphs import HANDLER


class Root(click.Group):
    """``mlops``: knows every word from the table and loads what it means when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the words in the order in which help shows them."""
        return [name for names in SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a word, singular or plural."""
        known = word(cmd_name)
        if known is None:
            return None
        if known in COMMANDS:
            return load_command(known, *COMMANDS[known])
        from mlops_tui.cli.words.nouns import Noun

        return Noun(known, NOUNS[known])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command, or say which word was probably meant."""
        if not args[0].startswith("-") and word(args[0]) is None:
            raise unknown(args[0], "command", self.list_commands(ctx), "mlops")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete words from the table alone; click would load every command for its help."""
        from click.shell_completion import CompletionItem

        words = [
            CompletionItem(name, help=line_of(name)) for name in self.list_commands(ctx) if name.startswith(incomplete)
        ]
        return words or click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the words by section, without loading one of them."""
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, line_of(name)) for name in names])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the grammar and the exit codes."""
        with formatter.section("Grammar"):
            formatter.write_text("mlops NOUN VERB [NAME] [--flags]; a noun alone lists; the plural is accepted.")
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), code.meaning) for code in ExitCode])


def root() -> Root:
    """Return the root command."""
    from mlops_tui.cli.complete import completion_options

    return Root(
        name="mlops",
        help="The whole life of a model from the terminal. Alone, it opens the TUI.",
        params=[
            click.Option(
                ["-V", "--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_version,
                help="print the version",
            ),
            *completion_options(),
        ],
        context_settings=SETTINGS,
        subcommand_metavar="COMMAND [ARGS]…",
    )


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; nothing but the wanted result goes to stdout."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)  # a terminal that cannot show ✔ shows what is most like it
    results = sys.stdout
    try:
        if not arguments and "_MLOPS_COMPLETE" not in os.environ:
            raise BadInput(
                "the TUI needs a terminal", "stdin or stdout is none", "mlops top prints the same; mlops --help"
            )
        code = root().main(arguments, prog_name="mlops", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else int(ExitCode.OK)
    except BrokenPipeError:
        return _unread()
    except SystemExit:
        if sys.stdout is not results:  # click met the broken pipe and has put something harmless in its place
            return _unread()
        raise
    except (KeyboardInterrupt, click.Abort):
        print("\ninterrupted", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)
    except (MlopsError, click.ClickException) as error:
        return _fail(_as_ours(error), arguments)
    except Exception as error:
        if "-v" in arguments or "--verbose" in arguments:
            raise
        return _fail(
            MlopsError(
                "this program met an error of its own",
                f"{type(error).__name__}: {error}",
                "run it again with -v to see where, and report it",
            ),
            arguments,
        )


def _unread() -> int:
    """Whoever read our results has seen enough (``mlops run list | head``): that is no failure."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(ExitCode.OK)


def _fail(error: MlopsError, arguments: list[str]) -> int:
    from mlops_tui.cli.answers.errors import report

    report(error, arguments)
    return int(error.exit_code)


def _as_ours(error: MlopsError | click.ClickException) -> MlopsError:
    if isinstance(error, MlopsError):
        return error
    context = getattr(error, "ctx", None)
    usage = "" if not context or isinstance(error, click.NoSuchOption) else _usage(context)
    fix = f"{usage}{context.command_path} --help" if context else "mlops --help"
    text = error.format_message().rstrip(".")
    # A flag or an argument that it begins with keeps its letters.
    plain = text if text[:2].isupper() else text[:1].lower() + text[1:]
    return BadInput(plain, "", fix)


def _usage(context: click.Context) -> str:
    """Return how a command is typed, as far as it takes arguments; its options are left to its help."""
    arguments = context.command.collect_usage_pieces(context)[1:]
    if isinstance(context.command, click.Group) or not arguments:
        return ""
    return f"usage: {' '.join([context.command_path, *arguments])}; "


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from mlops_tui import __version__

        click.echo(f"mlops {__version__}")
        ctx.exit()
