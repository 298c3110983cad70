"""``mlops info`` and ``mlops env``: where things are, and which variables point elsewhere at it."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from typing import Annotated

import typer

from mlops_tui import __version__
from mlops_tui.cli.answers.render import render
from mlops_tui.cli.options import Wishes
from mlops_tui.client import Client
from mlops_tui.client.start import hello
from mlops_tui.contracts.agent import TRACKING_TOKEN, TRACKING_URI, listen
from mlops_tui.core.config import SETTINGS
from mlops_tui.core.paths import home

VARIABLES = {
    "MLOPS_HOME": "one folder for everything, instead of the XDG folders",
    "MLOPS_CONSOLE": "0 or 1: runs of the SDK keep what is printed; default, in scripts that are no job",
    "MLOPS_QUIET": "the SDK prints nothing",
    "MLOPS_SYSTEM_METRICS": "0: no samples of what the processes of a run use",
    "MLOPS_STORE_KEY": "key of the store, in CI only",
    "MLOPS_ALLOW_ENV_KEY": "1: use MLOPS_STORE_KEY outside CI as well",
    "CREDENTIALS_DIRECTORY": "folder of systemd credentials; may hold mlops-store-key",
    "XDG_DATA_HOME": "base of the data folder",
    "XDG_STATE_HOME": "base of the state folder",
    "XDG_CACHE_HOME": "base of the cache folder",
    "XDG_CONFIG_HOME": "base of the configuration folder",
    "XDG_RUNTIME_DIR": "base of the folder of socket and lock",
    "NO_COLOR": "no colours",
    "FORCE_COLOR": "colours although nobody looks",
    "CI": "no progress lines",
}
"""Variables that are no settings; every setting has one of its own beside them."""

SECRET = frozenset(("MLOPS_STORE_KEY",))


def info(ctx: typer.Context) -> None:
    """Print version, folders and agent.

    Example: mlops info
    """
    where = home()
    agent = hello(where, 1.0)
    facts = {
        "version": __version__,
        "python": f"{platform.python_version()} at {sys.executable}",
        "platform": platform.platform(),
        "data": str(where.data),
        "store": str(where.store),
        "spool": str(where.spool),
        "blobs": str(where.blobs),
        "keys": str(where.keys),
        "state": str(where.state),
        "logs": str(where.logs),
        "cache": str(where.cache),
        "config": str(where.config_file),
        "socket": str(where.socket),
        "agent": f"{agent.version}, pid {agent.pid}" if agent else "not running",
    }
    render(facts, "info", ctx.obj)


def env(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="every variable that counts, its value and its meaning")] = False,
) -> None:
    """Print what points MLflow's clients at this store, ready for the shell: eval "$(mlops env)".

    The loopback listener is opened when it is closed. With --all, every variable that counts; every setting of
    'mlops config show' can be given as one too.

    Example: eval "$(mlops env)"
    """
    wishes: Wishes = ctx.obj
    if every:
        told = {**{setting.env: setting.help for setting in SETTINGS}, **VARIABLES}
        rows = [{"variable": name, "value": _value(name), "meaning": told[name]} for name in sorted(told)]
        render({"variables": rows}, "env", wishes)
        return
    with Client(config=wishes.config) as client:
        listener = client.call(listen)
    exports = {TRACKING_URI: listener.url, TRACKING_TOKEN: listener.token}
    if wishes.format == "table":
        for name, value in exports.items():
            print(f"export {name}={shlex.quote(value)}")
    else:
        render(exports, "env", wishes)


def _value(name: str) -> str | None:
    value = os.environ.get(name)
    return "(set)" if value and name in SECRET else value
