"""``mlops doctor``: look at everything, change nothing, and say how to mend what is wrong."""

from __future__ import annotations

import sys

import typer

from mlops_tui.cli.answers.render import render
from mlops_tui.cli.commands.checks import Check, everything
from mlops_tui.cli.options import Wishes
from mlops_tui.core.errors import ExitCode, MlopsError
from mlops_tui.core.printable import clean
from mlops_tui.core.states import SYMBOLS

_PAINT = {"ok": "\x1b[32m", "warn": "\x1b[33m", "fail": "\x1b[31m"}


def doctor(ctx: typer.Context) -> int:
    """Check this installation and say how to mend it.

    Nothing is made or started. The exit code is 1 when a check fails; a warning is no failure.

    Example: mlops doctor
    """
    wishes: Wishes = ctx.obj
    checks = everything()
    failed = any(check.state == "fail" for check in checks)
    if _format(wishes) == "table":
        _print(checks, wishes)
    else:
        rows = [{"check": c.name, "state": c.state, "text": c.text, "fix": c.fix} for c in checks]
        tabular = wishes.format in ("csv", "md")
        render({"checks": rows} if tabular else {"ok": not failed, "checks": rows}, "doctor", wishes)
    return int(ExitCode.FAILURE if failed else ExitCode.OK)


def _format(wishes: Wishes) -> str:
    """Return the format that is wanted; settings that cannot be read are a finding, not the end."""
    try:
        return wishes.format
    except MlopsError:
        return "table"


def _print(checks: list[Check], wishes: Wishes) -> None:
    paints = wishes.paints(sys.stdout)
    room = max(len(check.name) for check in checks)
    for check in checks:
        if wishes.quiet and check.state == "ok":
            continue
        symbol = SYMBOLS[check.state]
        mark = f"{_PAINT[check.state]}{symbol}\x1b[0m" if paints else symbol
        print(f"{mark} {check.name:<{room}}  {clean(check.text)}")
        if check.fix:
            print(f"  {'':<{room}}  → {clean(check.fix)}")
