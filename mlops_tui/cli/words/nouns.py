"""A noun and its verbs: made from the operations of the contracts when the noun is used."""

from __future__ import annotations

from typing import Any

import click

from mlops_tui.cli.words.load import SETTINGS, load_command, unknown
from mlops_tui.cli.words.table import VERBS

FILTER = frozenset(":=<>~")
"""What only a condition has in it: ``mlops runs status:done`` lists."""

ALONE = ("list", "status", "show", "check", "query")
"""What a noun means when no verb is said: the first of these that it has."""


class Noun(click.Group):
    """``mlops NOUN``: alone it lists; an only verb may be left out (``mlops sql "select …"``)."""

    def __init__(self, noun: str, help: str) -> None:
        super().__init__(noun, help=help, context_settings=SETTINGS, subcommand_metavar="VERB [ARGS]…")
        self.noun = noun
        self.own = VERBS.get(noun, {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the help."""
        return self._verbs()

    def _verbs(self) -> list[str]:
        """Return what a noun alone means first, then operations in the order of their declaration, then our own."""
        verbs = [*self._operations(), *(verb for verb in self.own if verb not in self._operations())]
        return sorted(verbs, key=lambda verb: ALONE.index(verb) if verb in ALONE else len(ALONE))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a verb."""
        cmd_name = self._meant(cmd_name)
        if cmd_name in self.own:
            return load_command(cmd_name, *self.own[cmd_name])
        if cmd_name in self._operations():
            from mlops_tui.cli.words.generate import command_for

            return command_for(self._operations()[cmd_name])
        return None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the verb that was left out: before a flag, a filter, or anything when there is only one."""
        verbs = self.list_commands(ctx)
        first = self._meant(args[0]) if args else ""
        completing = ctx.resilient_parsing and not args
        says_verb = first in verbs or (first in ("-h", "--help") and len(verbs) > 1)
        goes_on = not first or first.startswith("-") or set(first) & FILTER or len(verbs) == 1
        if goes_on and not says_verb and not completing:
            args = [self._alone(ctx), *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete verbs, and what may follow the verb that was left out."""
        from click.shell_completion import CompletionItem

        told = self._told()
        found = [CompletionItem(verb, help=told[verb]) for verb in told if verb.startswith(incomplete)]
        command = self.get_command(ctx, self._alone(ctx))
        if command is not None and (incomplete.startswith("-") or len(told) == 1):
            inner = command.make_context(command.name, [], parent=ctx, resilient_parsing=True)
            first = next((param for param in command.params if isinstance(param, click.Argument)), None)
            found += command.shell_complete(inner, incomplete)
            found += first.shell_complete(inner, incomplete) if first and not incomplete.startswith("-") else []
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the verb, or say which one was probably meant."""
        verbs = self.list_commands(ctx)
        if self._meant(args[0]) not in verbs:
            raise unknown(args[0], f"verb of {self.noun}", verbs, f"mlops {self.noun}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs without building their commands."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(self._told().items()))

    def _alone(self, ctx: click.Context) -> str:
        """Return the verb that is meant when none is said."""
        verbs = self.list_commands(ctx)
        return next((verb for verb in ALONE if verb in verbs), verbs[0])

    def _meant(self, typed: str) -> str:
        """Return the verb that was meant: as it was typed, or ``log`` for ``logs`` and the other way round."""
        verbs = (*self._operations(), *self.own)
        return next((verb for verb in (typed, typed.removesuffix("s"), f"{typed}s") if verb in verbs), typed)

    def _told(self) -> dict[str, str]:
        lines = {verb: operation.help for verb, operation in self._operations().items()}
        lines |= {verb: told for verb, (_, told) in self.own.items()}
        return {verb: lines[verb] for verb in self._verbs()}

    def _operations(self) -> dict[str, Any]:
        import mlops_tui.contracts  # noqa: F401  (fills the table)
        from mlops_tui.contracts.operation import OPERATIONS

        return {one.verb: one for one in OPERATIONS.values() if one.noun == self.noun and not one.internal}
