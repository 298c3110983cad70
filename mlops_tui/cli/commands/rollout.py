"""``mlops rollout watch`` and ``mlops rollout schema``; the other verbs are operations of the agent."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Annotated, Any

import typer

from mlops_tui.cli.answers import cells
from mlops_tui.cli.answers.render import render
from mlops_tui.cli.answers.shapes import CHECK, check_cells, track
from mlops_tui.cli.calls.call import connect
from mlops_tui.cli.complete import names_for
from mlops_tui.cli.options import Wishes
from mlops_tui.contracts import rollout as contract
from mlops_tui.core.errors import ExitCode, MlopsError
from mlops_tui.core.printable import clean
from mlops_tui.core.states import SYMBOLS, tone

EVENTS = 5
"""Transitions that are shown, the newest."""


def schema(ctx: typer.Context) -> None:
    """Print the JSON schema of a rollout file.

    Editors that know JSON schemas complete and check the file by it; mlops rollout start --file reads it.

    Example: mlops rollout schema
    """
    sys.stdout.write(files("mlops_tui.contracts").joinpath("rollout.schema.json").read_text())


def watch(
    ctx: typer.Context,
    rollout: Annotated[
        str,
        typer.Argument(
            help="deployment, or the beginning or end of a rollout's id",
            shell_complete=names_for("rollout", "deployment"),
        ),
    ],
    every: Annotated[float, typer.Option(min=0.1, help="seconds between looks")] = 1.0,
) -> int:
    """Follow a rollout until it is over: its step, its evidence as e-values, and why it stands where it does.

    On a terminal the lines are drawn over; elsewhere a line is printed for each transition. The exit code is 0 when
    the new version got all traffic.

    Example: mlops rollout watch employment
    """
    wishes: Wishes = ctx.obj
    limit = time.monotonic() + wishes.timeout if wishes.timeout else float("inf")
    live = sys.stdout.isatty() and wishes.format == "table"
    drawn, told = 0, 0
    with connect(wishes) as client:
        while True:
            found = client.call(contract.status, contract.RolloutRef(rollout=rollout))
            rollout = found.id
            if live:
                drawn = _draw(lines_of(found), drawn)
            elif wishes.format == "table":
                told = _tell(found, told)
            if found.ended is not None:
                if wishes.format != "table":
                    render(found, "rollout.status", wishes)
                return int(ExitCode.OK if found.state == "Succeeded" else ExitCode.FAILURE)
            if time.monotonic() + every > limit:
                raise MlopsError("the rollout is not over within the time given", "it goes on", "leave out --timeout")
            time.sleep(every)


def lines_of(found: Any) -> list[str]:
    """Return a rollout as lines: where it stands, why, the evidence of each check, what happened last."""
    head = f"{found.deployment} · {found.stable} → {found.canary} · {found.strategy}"
    stands = f"{SYMBOLS[tone(found.state)]} {found.state} · {track(found)}"
    lines = [head, stands, f"  {found.why}", *([f"  {found.compared}"] if found.compared else [])]
    if found.checks:
        lines.append(_aligned(CHECK) + "  verdict")
        lines += [f"{_aligned(check_cells(one))}  {one.text.partition(':')[0]}" for one in found.checks]
    lines += [
        f"  {cells.shown('time', one.ts)}  {one.state:<12} {one.weight:>4g} %  {one.text}"
        for one in found.events[-EVENTS:]
    ]
    return [clean(line) for line in lines]


def _aligned(check: Sequence[str]) -> str:
    name, stable, canary, *evidence = check
    return f"  {name:<18} {stable:>18} {canary:>18} " + " ".join(f"{one:>8}" for one in evidence)


def _draw(lines: list[str], drawn: int) -> int:
    """Draw lines over those that were drawn before and return how many there are."""
    room = shutil.get_terminal_size()
    lines = lines[: max(2, room.lines - 2)]
    back = f"\x1b[{drawn}A" if drawn else ""
    sys.stdout.write(back + "".join(f"\x1b[2K{line[: room.columns - 1]}\n" for line in lines) + "\x1b[J")
    sys.stdout.flush()
    return len(lines)


def _tell(found: Any, told: int) -> int:
    """Print the transitions that are new and return how many there were in all."""
    for one in found.events[told:]:
        words = clean(f"{one.state:<12} {one.weight:>4g} %  {one.text} · {one.actor}")
        print(f"{time.strftime('%H:%M:%S', time.localtime(one.ts / 1e6))}  {words}", flush=True)
    return len(found.events)
