"""Runs that ended without a word: their process is gone, or nothing is heard of them. None stays running for ever."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from mlops_tui.core.clock import now_us
from mlops_tui.door import Caller, Context, House, act, every
from mlops_tui.spool.process import ProcessId, is_alive
from mlops_tui.store.session import Session
from mlops_tui.tracking.find import row_of
from mlops_tui.tracking.life import end_run
from mlops_tui.tracking.spooled import unread

GRACE_S = 3.0
"""Seconds that a process must be seen gone before its run is called lost."""
SILENT_US = 5_500_000
"""µs without a heartbeat (one comes every 5 s) until a gone process is believed: another one may go on with the run."""
STUCK_S = 60.0
"""Seconds after which a run whose process is gone is lost although its spool cannot be read to the end."""
ELSEWHERE_S = 300.0
"""Seconds of silence after which a run of another host is lost."""

_since: dict[str, tuple[Any, float]] = {}
"""Per run: what was last seen of it, and since when (monotonic seconds, in which a sleeping laptop does not age)."""

_RUNNING = """
SELECT id, tenant, host, boot, pid, proc_created, epoch_us(greatest(started, resumed, heartbeat)) AS sign
FROM run WHERE status = 'running'
"""


@every(3.0, "tracking.lost")
def lost(house: House) -> None:
    """Mark what is gone. A later heartbeat, start or end brings the truth back."""
    rows = house.read(lambda session: session.dicts(_RUNNING))
    for name in _since.keys() - {row["id"] for row in rows}:
        del _since[name]
    for row in rows:
        if house.read(partial(_gone, house=house, row=row)):
            act(house, Caller.system("run lost", row["tenant"]), partial(_mark, seen=row))


def _gone(session: Session, house: House, row: dict[str, Any]) -> bool:
    process = ProcessId(host=row["host"], boot=row["boot"], pid=row["pid"] or 0, created=row["proc_created"] or 0)
    living = is_alive(process)
    if living:
        _since.pop(row["id"], None)
        return False
    known, since = _since.setdefault(row["id"], (row["sign"], time.monotonic()))
    if known != row["sign"]:
        _since[row["id"]] = row["sign"], time.monotonic()
        return False
    waited = time.monotonic() - since
    if living is None:
        return waited > ELSEWHERE_S
    if waited < GRACE_S or now_us() - row["sign"] < SILENT_US:
        return False
    return waited > STUCK_S or not unread(session, house.home.spool, row["id"])


def _mark(ctx: Context, seen: dict[str, Any]) -> None:
    """End the run at its last sign of life, unless something was heard of it since."""
    session, row = ctx.session, row_of(ctx.session, seen["id"])
    if row is None or row["status"] != "running":
        return
    points = session.value("SELECT epoch_us(max(last_ts)) FROM series WHERE scope = 'run' AND owner = ?", [row["id"]])
    last = max(seen["sign"], min(points or 0, ctx.now))
    stopped = row["job_id"] and session.value(
        "SELECT count(*) > 0 FROM job WHERE id = ? AND (status = 'killed' OR stopping IS NOT NULL)", [row["job_id"]]
    )
    why = "its job was stopped" if stopped else "its process ended without a word"
    end_run(ctx, row, "killed" if stopped else "lost", last, why)
