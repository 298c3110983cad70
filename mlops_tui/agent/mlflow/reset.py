"""``POST /test/reset`` empties the store, so that a test suite of clients can begin anew. For tests alone.

The route exists only in an agent that was started with ``MLOPS_TEST_RESET=1``.
"""

from __future__ import annotations

import os
from contextlib import suppress

from mlops_tui.agent.mlflow.coding import Ask
from mlops_tui.agent.mlflow.router import ROUTER, Call, route
from mlops_tui.core.errors import NotFound
from mlops_tui.door.context import Context, act

SWITCH, PATH = "MLOPS_TEST_RESET", "/test/reset"
KEPT = ("migration", "spool", "audit", "audit_checkpoint", "identity", "plugin_trust")
"""Tables that stay: who may do what, what was done, and how far the spool was read."""


def reset(call: Call, _ask: Ask) -> None:
    """Delete what is in the store and among the artifacts; the audit chain keeps a note of it."""
    house = call.house
    with call.reading("*:*"):
        pass  # the guard has said that they may
    call.journal.drain()  # not inside: taking in an uploaded file reads by itself
    act(house, call.caller, _empty)
    house.emptied()
    call.journal.forget()
    call.histories.forget()
    for digest in house.blobs.digests():  # what is on its way here comes whole
        with suppress(NotFound):
            house.blobs.delete(digest)


def offer() -> None:
    """Serve the route when this agent was started with the switch."""
    if os.environ.get(SWITCH) == "1" and ROUTER.find("POST", PATH) is None:
        route("POST", PATH)(reset)


def _empty(ctx: Context) -> None:
    tables = ctx.session.column(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND NOT temporary"
    )
    for table in tables:
        if table not in KEPT:
            ctx.session.change(table, None, f"DELETE FROM {table}")
    text = "the store was emptied for a test"
    ctx.house.guard.note(ctx, "test.reset", "agent", "done", text)
    ctx.emit("agent", "store", "emptied", text)
