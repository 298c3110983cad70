"""``mlops run tail`` and ``mlops run watch``: a run's log and its metrics as they come, until it ends."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Annotated, Any

import msgspec
import typer

from mlops_tui.cli.answers import cells
from mlops_tui.cli.calls.call import connect
from mlops_tui.cli.complete import names_for
from mlops_tui.cli.options import Wishes
from mlops_tui.client import Client
from mlops_tui.contracts import run as contract
from mlops_tui.core.errors import BadInput, ExitCode, MlopsError
from mlops_tui.core.figures import spark
from mlops_tui.core.printable import clean
from mlops_tui.core.states import SYMBOLS, tone

SPARK = 24
"""Cells of a curve."""

Run = Annotated[
    str,
    typer.Argument(help="run name, or the beginning or end of its id", shell_complete=names_for("run", "run")),
]
Every = Annotated[float, typer.Option(min=0.1, help="seconds between looks")]


def tail(
    ctx: typer.Context,
    run: Run,
    lines: Annotated[int, typer.Option(min=1, max=10_000, help="lines to begin with")] = 20,
    every: Every = 0.5,
    grep: Annotated[str, typer.Option(help="only lines that match; lower case finds upper case too")] = "",
) -> int:
    """Print the end of a run's log, and what comes, until the run ends.

    With --json a line of the log is a line of JSON.

    Example: mlops run tail train-v1 --grep loss
    """
    wishes: Wishes = ctx.obj
    with connect(wishes) as client:
        run = client.call(contract.show, contract.OneRun(run=run)).id
        limit, last = _limit(wishes), 0
        while True:
            status = client.call(contract.show, contract.OneRun(run=run)).status
            # Asked after the status: what an ended run wrote last is printed too.
            wanted = contract.LogRequest(run=run, lines=1000 if last else lines, after=last, grep=grep)
            found = client.call(contract.log, wanted)
            if found.lines and found.last != last:
                print("\n".join(_line(run, line, wishes) for line in found.lines), flush=True)
            elif status != "running":
                return _code(status)
            last = found.last or last
            _wait(every, limit)


def watch(
    ctx: typer.Context,
    run: Run,
    metrics: Annotated[list[str] | None, typer.Argument(help="metrics; default, all")] = None,
    every: Every = 1.0,
) -> int:
    """Show a run's metrics in place while it goes on.

    On a terminal the lines are drawn over; elsewhere a line is printed whenever a metric has a new step, with --json a
    line of JSON that has the metrics with a new step.

    Example: mlops run watch train-v1 loss
    """
    wishes: Wishes = ctx.obj
    limit = _limit(wishes)
    with connect(wishes) as client:
        screen = _Lines(sys.stdout.isatty() and wishes.format == "table", _json(wishes))
        while True:
            found = client.call(contract.show, contract.OneRun(run=run))
            run = found.id
            shown = _chosen(found, metrics or [])
            screen.draw(found, shown, _curves(client, run, shown) if screen.live else {})
            if found.status != "running":
                return _code(found.status)
            _wait(every, limit)


class _Lines:
    """The lines of a run, over what was drawn before; or one line for each new step, for programs as JSON."""

    def __init__(self, live: bool, json: bool) -> None:
        self.live, self.json, self.drawn = live, json, 0
        self.told: dict[str, tuple[int, int]] = {}

    def draw(self, run: Any, metrics: list[Any], curves: dict[str, list[float | None]]) -> None:
        """Show the run as it is now."""
        if not self.live:
            self._tell(run, metrics)
            return
        room = shutil.get_terminal_size()
        lines = lines_of(run, metrics, curves)[: max(2, room.lines - 2)]
        back = f"\x1b[{self.drawn}A" if self.drawn else ""
        sys.stdout.write(back + "".join(f"\x1b[2K{line[: room.columns - 1]}\n" for line in lines) + "\x1b[J")
        sys.stdout.flush()
        self.drawn = len(lines)

    def _tell(self, run: Any, metrics: list[Any]) -> None:
        news = [one for one in metrics if self.told.get(one.key) != (one.n, one.step)]
        self.told.update({one.key: (one.n, one.step) for one in news})
        if not news and run.status == "running":
            return
        if self.json:
            print(_news(run, news), flush=True)
        else:
            figures = " ".join(f"{clean(one.key)}={_last(one)}" for one in news)
            step = max((one.step for one in news), default=None)
            words = [clean(run.name), run.status, "" if step is None else f"step {step}", figures]
            print("  ".join(word for word in words if word), flush=True)


def _json(wishes: Wishes) -> bool:
    return wishes.format in ("json", "jsonl")


def _line(run: str, line: str, wishes: Wishes) -> str:
    if not _json(wishes):
        return clean(line)
    return msgspec.json.encode({"schema": "run.tail/1", "run": run, "line": line}).decode()


def _news(run: Any, news: list[Any]) -> str:
    """Return the metrics with a new step as a line of JSON; what is not finite is null and counted in ``nonfinite``."""
    told = {"schema": "run.watch/1", "run": run.id, "name": run.name, "status": run.status, "metrics": news}
    return msgspec.json.encode(told).decode()


def lines_of(run: Any, metrics: list[Any], curves: dict[str, list[float | None]]) -> list[str]:
    """Return a run as lines: its state, then a line a metric with its curve, last, smallest and greatest value."""
    ended = run.ended or time.time_ns() // 1000
    head = f"{SYMBOLS[tone(run.status)]} {clean(run.name)} · {run.status}"
    head += f" · {cells.shown('duration', ended - run.started)}"
    if run.error:
        head += f" · {clean(run.error.splitlines()[0])}"
    room = max((len(clean(one.key)) for one in metrics), default=0)
    lines = [head]
    for one in metrics:
        curve = spark(curves.get(one.key, []), SPARK).ljust(SPARK)[:SPARK]
        figures = f"{_last(one):>10}  min {cells.shown('float', one.min):>10}  max {cells.shown('float', one.max):>10}"
        lines.append(f"  {clean(one.key):<{room}}  {curve}  {figures}  step {one.step}")
    return lines


def _curves(client: Client, run: str, metrics: list[Any]) -> dict[str, list[float | None]]:
    if not metrics:
        return {}
    keys = [one.key for one in metrics]
    found = client.call(contract.curves, contract.CurveRequest(run=run, keys=keys, points=SPARK))
    return {curve.key: curve.mean for curve in found.curves}


def _chosen(run: Any, names: list[str]) -> list[Any]:
    if not names:
        return [one for one in run.metrics if not one.key.startswith("system/")] or run.metrics
    known = {one.key: one for one in run.metrics}
    if run.status != "running" and (missing := [name for name in names if name not in known]):
        raise BadInput(f"the run {run.name} has no metric {missing[0]!r}", "", "one of: " + ", ".join(known))
    return [known[name] for name in names if name in known]


def _last(metric: Any) -> str:
    return "NaN" if metric.last is None and metric.nonfinite else cells.shown("float", metric.last)


def _limit(wishes: Wishes) -> float:
    return time.monotonic() + wishes.timeout if wishes.timeout else float("inf")


def _wait(every: float, limit: float) -> None:
    if time.monotonic() + every > limit:
        raise MlopsError("the run did not end within the time given", "it goes on", "leave out --timeout")
    time.sleep(every)


def _code(status: str) -> int:
    return int(ExitCode.OK if status == "done" else ExitCode.FAILURE)
