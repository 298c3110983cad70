"""``mlops agent start``, ``url`` and ``log``; the other verbs are operations of the agent itself."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Annotated

import typer

from mlops_tui.cli.answers.render import render
from mlops_tui.cli.calls import call
from mlops_tui.cli.calls.handover import to_module
from mlops_tui.cli.options import Wishes
from mlops_tui.client import Client
from mlops_tui.client.start import reach
from mlops_tui.contracts.agent import Listen, listen
from mlops_tui.core.errors import Conflict, NotFound
from mlops_tui.core.paths import home


def start(
    ctx: typer.Context,
    stay: Annotated[bool, typer.Option("--stay", help="do not leave when idle; for servers")] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="stay in this process; for systemd")] = False,
) -> None:
    """Start the agent; --stay keeps it when idle.

    There is no need to: every command starts it. An agent that runs already is left alone.

    Example: mlops agent start --stay
    """
    wishes: Wishes = ctx.obj
    if foreground:
        to_module("mlops_tui.agent", ["--stay"] if stay else [])
    timeout = wishes.timeout or float(wishes.config.get("agent.start_timeout_s"))
    notice = reach(home(), start=True, timeout=timeout, stay=stay).notice
    if notice:
        print(notice, file=sys.stderr)
    with Client(start=False, config=wishes.config) as client:
        status = client.call("agent.status")
    if stay and not status.stay:
        raise Conflict(
            f"an agent runs already (pid {status.pid}) and leaves when idle",
            "it was started without --stay",
            "mlops agent stop && mlops agent start --stay",
        )
    render(status, "agent.status", wishes)


def url(
    ctx: typer.Context,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one")] = 0,
    mlflow: Annotated[
        bool, typer.Option("--mlflow", help="print the address alone, as MLflow's clients want it")
    ] = False,
) -> None:
    """Open the loopback listener, or say where it is, for clients that cannot use the Unix socket.

    MLFLOW_TRACKING_URI=$(mlops agent url --mlflow) is enough for MLflow's clients of your own user on Linux.

    Example: mlops agent url --mlflow
    """
    wishes: Wishes = ctx.obj
    if not mlflow:
        call.perform(listen, Listen(port=port), wishes)
        return
    with Client(config=wishes.config) as client:
        print(client.call(listen, Listen(port=port)).url)


def log(
    ctx: typer.Context,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="lines at most")] = 100,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="wait for more until Ctrl-C")] = False,
) -> None:
    """Print the end of the agent's log.

    Example: mlops agent log -n 20
    """
    path = home().logs / "agent.log"
    if not path.exists():
        raise NotFound("the agent has no log yet", f"there is no {path}", "mlops agent start")
    with open(path, errors="replace") as file:
        sys.stdout.writelines(deque(file, lines))
        while follow:
            sys.stdout.flush()
            if line := file.readline():
                sys.stdout.write(line)
            else:
                time.sleep(0.2)
