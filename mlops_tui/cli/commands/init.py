"""``mlops init``: have a store, and say where it is and what to do with it."""

from __future__ import annotations

import sys

import typer

from mlops_tui.cli.answers.render import render
from mlops_tui.cli.options import Wishes
from mlops_tui.core.paths import Home, home

NEXT = ("mlops demo", "mlops train script.py", "mlops")


def init(ctx: typer.Context) -> None:
    """Make the store unless there is one, and say where it is, what seals it and what comes next.

    Nobody needs this: whatever needs a store makes it. What is there already stays as it is.

    Example: mlops init --json
    """
    from mlops_tui.keys.meta import read_meta

    wishes: Wishes = ctx.obj
    where = home()
    was = read_meta(where) is not None
    if wishes.dry_run and not was:
        render({"made": False, "would_make": str(where.store)}, "init", wishes)
        return
    pid = _agent(wishes)
    render({"made": not was, **_facts(where), "agent": f"running, pid {pid}", "next": list(NEXT)}, "init", wishes)
    if not wishes.quiet and wishes.format == "table":
        print("the store was there already; nothing was changed" if was else "a new store", file=sys.stderr)


def _agent(wishes: Wishes) -> int:
    """Reach the agent, which makes the store when it starts."""
    from mlops_tui.cli.calls.call import connect

    with connect(wishes) as client:
        return client.hello.pid


def _facts(where: Home) -> dict[str, str]:
    from mlops_tui.keys.meta import read_meta

    meta = read_meta(where)
    assert meta is not None, "an agent that answers has a store"
    sealed = f"AES-256-GCM, key {meta.key_id} from {meta.key_source}" if meta.encryption == "on" else "off"
    place = {"keys": str(where.keys)} if meta.key_source == "file" else {}
    return {
        "store": str(where.store),
        "store_id": meta.store_id,
        "encryption": sealed,
        **place,
        "config": str(where.config_file),
    }
