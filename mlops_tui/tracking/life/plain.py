"""Runs of scripts that know nothing of runs: what a training job did stands among the runs all the same.

Such a run is made when its job is over, with the job's end, its log and what its processes used. A script that says
something of its run itself, by the SDK or an MLflow client, is waited for: its own words are the better ones.
"""

from __future__ import annotations

import shlex
from functools import partial
from typing import Any

import msgspec

from mlops_tui.contracts.experiment import DEFAULT
from mlops_tui.core.clock import HOUR, now_us
from mlops_tui.door import Caller, Context, House, act, every
from mlops_tui.store.session import Session
from mlops_tui.tracking.experiments import ensure
from mlops_tui.tracking.life.pending import unread

VIA = "job"
_UNTOLD = """
SELECT j.*, epoch_us(j.started) AS started_us, epoch_us(j.ended) AS ended_us FROM job j
WHERE j.kind = 'train' AND j.run_id IS NOT NULL AND j.started IS NOT NULL AND j.ended > make_timestamp(?)
  AND j.status NOT IN ('queued', 'running')
  AND NOT EXISTS (SELECT 1 FROM run r WHERE r.id = j.run_id OR r.job_id = j.id)
"""


@every(5.0, "tracking.plain")
def turn(house: House) -> None:
    """Make the runs that are missing, of jobs that ended within the hour."""
    rows = house.memo.get(("tracking.plain",), ("job", "run"), lambda: house.read(_untold))
    for row in rows:
        if not house.read(partial(unread, spool=house.home.spool, owner=row["run_id"])):
            act(house, Caller.system("job without a run", row["tenant"]), partial(_make, row=row))


def _untold(session: Session) -> list[dict[str, Any]]:
    return session.dicts(_UNTOLD, [now_us() - HOUR])


def _make(ctx: Context, row: dict[str, Any]) -> None:
    session, run = ctx.session, row["run_id"]
    if session.row("SELECT 1 FROM run WHERE id = ? OR job_id = ?", [run, row["id"]]):
        return
    spec = msgspec.json.decode(row["spec"])
    experiment = spec.get("env", {}).get("MLOPS_EXPERIMENT") or DEFAULT
    error = msgspec.json.decode(row["error"])["why"] if row["error"] else ""
    session.insert(
        "run", id=run, tenant=row["tenant"], experiment_id=ensure(ctx, row["tenant"], experiment)[0], name=row["name"],
        kind="train", status=row["status"], started_us=row["started_us"], resumed_us=row["started_us"],
        ended_us=row["ended_us"], host=row["host"], boot=row["boot"], pid=row["pid"], proc_created=row["proc_created"],
        actor=row["actor"], command=shlex.join(spec.get("argv", [])), git_sha="", git_branch="", error=error, note="",
        job_id=row["id"], via=VIA,
    )  # fmt: skip
    ctx.link(f"run:{run}", "ran_as", f"job:{row['id']}")
    ctx.emit("run", run, "ended", f"{row['name']} {row['status']}" + (f": {error}" if error else ""), f"run:{run}")
