"""Runs that ended without a word: their process is gone, or nothing is heard of them. None stays running for ever.

A run of the SDK has heartbeats: its process is gone and they have ceased, within 10 seconds; of another host, when
they have ceased for 90. A run that a client of another protocol made (``run.via``) has none: what it logs stands for
them. Its process is known when the client is on this machine, and gone when the system says so; of any other client
nothing can be seen but its silence.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from mlops_tui.core.clock import now_us
from mlops_tui.door import Caller, Context, House, absorbs, absorbs_points, act, every
from mlops_tui.spool.process import ProcessId, is_alive
from mlops_tui.store.session import Session
from mlops_tui.tracking.life.pending import unread
from mlops_tui.tracking.life.spooled import end_run
from mlops_tui.tracking.runs.find import row_of

GRACE_S = 3.0
"""Seconds that a process must be seen gone before its run is called lost."""
SILENT_S = 5.5
"""Seconds without a heartbeat (one comes every 5 s) until a gone process is believed: another may go on with it."""
STUCK_S = 60.0
"""Seconds after which a run whose process is gone is lost although its spool cannot be read to the end."""
ELSEWHERE_S = 90.0
"""Seconds without a heartbeat after which a run of another host is lost."""
UNHEARD_S = 60.0
"""Seconds without a word after which a run without heartbeats is lost whose process is gone: another may log to it."""
NOTED_S = 5.0
"""Seconds between two notes of when a run without heartbeats was heard of."""

_since: dict[str, tuple[Any, float]] = {}
"""Per run: what was last seen of it, and since when (monotonic seconds, in which a sleeping laptop does not age)."""
_heard: dict[str, float] = {}

_RUNNING = """
SELECT r.id, r.tenant, r.host, r.boot, r.pid, r.proc_created, r.via,
       epoch_us(greatest(r.started, r.resumed, r.heartbeat)) AS sign,
       coalesce(j.status NOT IN ('queued', 'running'), false) AS job_over
FROM run r LEFT JOIN job j ON j.id = r.job_id WHERE r.status = 'running'
"""


@absorbs("param", "tag", "data")
def heard(ctx: Context, owner: str, records: list[Any]) -> None:
    """Note that something was logged to a run that has no heartbeats."""
    _note(ctx, [owner])


@absorbs_points
def measured(ctx: Context, points: Mapping[str, Any]) -> None:
    """Note the same of runs whose metrics came."""
    _note(ctx, points)


def _note(ctx: Context, runs: Iterable[str]) -> None:
    now = time.monotonic()
    if due := [run for run in runs if now - _heard.get(run, -NOTED_S) >= NOTED_S]:
        ctx.after.append(lambda: _heard.update(dict.fromkeys(due, now)))
        ctx.session.change(
            "run",
            due,
            """UPDATE run SET heartbeat = make_timestamp(?)
               WHERE id IN (SELECT unnest(?)) AND via <> '' AND status = 'running'""",
            [ctx.now, due],
        )


@every(3.0, "tracking.lost")
def lost(house: House) -> None:
    """Mark what is gone. A later heartbeat, start or end brings the truth back."""
    rows = house.read(lambda session: session.dicts(_RUNNING))
    for known in (_since, _heard):
        for name in known.keys() - {row["id"] for row in rows}:
            del known[name]
    for row in rows:
        if house.read(partial(_gone, house=house, row=row)):
            act(house, Caller.system("run lost", row["tenant"]), partial(_mark, seen=row))


def _gone(session: Session, house: House, row: dict[str, Any]) -> bool:
    living = _alive(row)
    if living:
        _since.pop(row["id"], None)
        return False
    known, since = _since.setdefault(row["id"], (row["sign"], time.monotonic()))
    if known != row["sign"]:
        _since[row["id"]] = row["sign"], time.monotonic()
        return False
    # Both clocks: one stands still while a laptop sleeps, the other begins anew with the agent. A sign from the future
    # tells nothing: another host's clock is ahead, or this one's was set back.
    waited, silent = time.monotonic() - since, (now_us() - row["sign"]) / 1e6
    silent = waited if silent < 0 else silent
    if living is None:
        patience = float(house.config.get("tracking.silence")) if row["via"] else ELSEWHERE_S
        return silent > patience and waited > min(patience, ELSEWHERE_S)
    if not row["job_over"] and (waited < GRACE_S or silent < (UNHEARD_S if row["via"] else SILENT_S)):
        return False
    return waited > STUCK_S or not unread(session, house.home.spool, row["id"])


def _alive(row: dict[str, Any]) -> bool | None:
    """Tell whether the process that made a run still runs; None when nobody can say."""
    if row["via"] and not row["pid"]:
        return None
    return is_alive(
        ProcessId(host=row["host"], boot=row["boot"], pid=row["pid"] or 0, created=row["proc_created"] or 0)
    )


def _mark(ctx: Context, seen: dict[str, Any]) -> None:
    """End the run at its last sign of life, unless something was heard of it since."""
    session, row = ctx.session, row_of(ctx.session, seen["id"])
    if row is None or row["status"] != "running":
        return
    points = session.value("SELECT epoch_us(max(last_ts)) FROM series WHERE scope = 'run' AND owner = ?", [row["id"]])
    last = max(seen["sign"], min(points or 0, ctx.now))
    status, why = _verdict(session, row)
    end_run(ctx, row, status, last, why)


def _verdict(session: Session, row: dict[str, Any]) -> tuple[str, str]:
    """Return how a run ended that did not say so; its job may know."""
    job = session.dict("SELECT status, stopping, exit_code FROM job WHERE id = ?", [row["job_id"]])
    if job is None:
        return "lost", "its process ended without a word"
    if job["status"] == "killed" or job["stopping"] is not None:
        return "killed", "its job was stopped"
    if job["exit_code"] is not None and job["exit_code"] < 0:
        return "killed", f"its process was ended by {signal.Signals(-job['exit_code']).name}"
    return "lost", "its process ended without a word"
