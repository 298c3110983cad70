"""``mlops demo``: hands over to the demo, with everything that was typed."""

from __future__ import annotations

import click

from mlops_tui.cli.calls.handover import to_module

demo = click.Command(
    "demo",
    callback=lambda arguments: to_module("mlops_tui.demo", arguments),
    params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
    context_settings={"ignore_unknown_options": True},
    add_help_option=False,
)
