"""``mlops top``: what Home shows, once, as text."""

from __future__ import annotations

from typing import Annotated

import typer

from mlops_tui.cli.answers.render import render
from mlops_tui.cli.calls.call import connect
from mlops_tui.cli.options import Wishes
from mlops_tui.contracts.agent import HomeSnapshot
from mlops_tui.core.figures import number
from mlops_tui.core.printable import clean
from mlops_tui.core.states import SYMBOLS, tone


def top(
    ctx: typer.Context,
    line: Annotated[bool, typer.Option("--line", help="one line, for a status bar")] = False,
    once: Annotated[bool, typer.Option("--once", help="print once; it always does")] = False,
) -> None:
    """Print what Home shows.

    For a screen that refreshes itself, open the TUI: mlops.

    Example: mlops top --once
    """
    wishes: Wishes = ctx.obj
    with connect(wishes) as client:
        snapshot: HomeSnapshot = client.call("home.show")
    if line and wishes.format not in ("json", "jsonl"):
        print(one_line(snapshot))
    else:
        render(snapshot, "home.show", wishes)


def one_line(home: HomeSnapshot) -> str:
    """Return the state of everything in one line: what needs a person first."""
    worst = next((one for one in home.attention if one.severity == "fail"), None) or next(iter(home.attention), None)
    parts = [f"{SYMBOLS[tone(worst.severity)]} {worst.text}" if worst else "✔ all well"]
    if home.jobs:
        first = home.jobs[0]
        figure = f" {first.metric} {number(first.value, 4)}" if first.metric and first.value is not None else ""
        parts.append(f"↻ {first.name}{figure}" + (f" +{len(home.jobs) - 1}" if len(home.jobs) > 1 else ""))
    if home.host:
        parts.append(f"cpu {home.host.cpu:.0f} %")
    if home.deployments:
        parts.append(f"{home.healthy}/{home.deployments} served")
    drifting = [one for one in home.drift if one.verdict == "drift"]
    parts += [f"! drift {drifting[0].deployment} {drifting[0].feature}"] if drifting else []
    parts += [f"{one.kind} {one.name} {one.text}" for one in home.traffic[:1]]
    return clean(" · ".join(parts))
