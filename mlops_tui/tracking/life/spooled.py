"""A run's life as its spool tells it: start, heartbeats, end, and start again.

Files of one run may be read in any order, so each record is judged by its own time.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts.experiment import DEFAULT
from mlops_tui.core.clock import SECOND
from mlops_tui.core.ids import short
from mlops_tui.door import Context, absorbs, keeps_awake
from mlops_tui.spool.records import End, Heartbeat, RunFacts, Start
from mlops_tui.store.session import Session
from mlops_tui.tracking.experiments import ensure
from mlops_tui.tracking.life.forks import Fork, carry
from mlops_tui.tracking.runs.contents import put_params, put_tags
from mlops_tui.tracking.runs.find import row_of

RACE_US = 2 * SECOND
"""A heartbeat may be written by another thread just after the end; only a later one tells that the run goes on."""
_REVIVE = "UPDATE run SET status = 'running', ended = NULL, error = '' WHERE id = ?"


@keeps_awake
def _has_runs(session: Session) -> bool:
    return bool(session.value("SELECT count(*) > 0 FROM run WHERE status = 'running'"))


@absorbs("start")
def started(ctx: Context, owner: str, records: list[Start]) -> None:
    """Make the run, or resume it: a second start of the same run is the same run going on."""
    for record in records:
        if record.kind == "run":
            row = row_of(ctx.session, owner)
            if row is None:
                _create(ctx, owner, record)
            else:
                _resume(ctx, row, record)
            facts = record.run or RunFacts()
            if facts.fork and facts.fork != owner:
                carry(ctx, owner, Fork(facts.fork, facts.fork_step), facts.params)
            put_params(ctx, owner, [(record.t, facts.params)])
            put_tags(ctx, owner, [(record.t, facts.tags)])


@absorbs("hb")
def alive(ctx: Context, owner: str, records: list[Heartbeat]) -> None:
    """Note the last sign of life; one that is later than the end revives the run."""
    row = row_of(ctx.session, owner)
    if row is None:
        return
    last = max(record.t for record in records)
    beat = "UPDATE run SET heartbeat = make_timestamp(?) WHERE id = ?"
    ctx.session.change("run", [owner], beat, [max(last, row["heartbeat"] or 0), owner])
    if row["ended"] is not None and last > row["ended"] + RACE_US:
        ctx.session.change("run", [owner], _REVIVE, [owner])
        _tell(ctx, row, "resumed", f"{row['name']} is alive after all")


@absorbs("end")
def ended(ctx: Context, owner: str, records: list[End]) -> None:
    """Take the end of a run; one that is older than its last start, or than a later end, is history."""
    for record in records:
        row = row_of(ctx.session, owner)
        if row is None or record.t < (row["resumed"] or 0):
            continue
        if row["status"] not in ("running", "lost") and record.t < (row["ended"] or 0):
            continue
        end_run(ctx, row, record.status, record.t, record.error)


def end_run(ctx: Context, row: dict[str, Any], status: str, ts: int, error: str) -> None:
    """Write a run's end and tell of it.

    Args:
        ctx: the transaction.
        row: the run.
        status: done, failed, killed or lost.
        ts: when it ended, µs.
        error: why, if it was not done.
    """
    end = "UPDATE run SET status = ?, ended = make_timestamp(?), error = ? WHERE id = ?"
    ctx.session.change("run", [row["id"]], end, [status, ts, error, row["id"]])
    _tell(ctx, row, "ended", f"{row['name']} {status}" + (f": {error.splitlines()[0]:.200}" if error else ""))


def _create(ctx: Context, owner: str, record: Start) -> None:
    job = _job(ctx.session, owner, record)
    tenant = job["tenant"] if job else ctx.tenant
    facts = _facts(ctx, owner, record, job, tenant)
    ctx.session.insert(
        "run", id=owner, tenant=tenant, status="running", started_us=record.t, resumed_us=record.t,
        note="", error="", job_id=job["id"] if job else None, **_process(record), **facts,
    )  # fmt: skip
    if job:
        ctx.link(f"run:{owner}", "ran_as", f"job:{job['id']}")
    _tell(ctx, {"id": owner, "name": facts["name"]}, "started", f"{facts['name']} started")


def _resume(ctx: Context, row: dict[str, Any], record: Start) -> None:
    session, owner = ctx.session, row["id"]
    if record.t < row["started"]:
        # The first start is read last: what it says of the run is the truth.
        job = _job(session, owner, record)
        _update(session, owner, {"started_us": record.t, **_facts(ctx, owner, record, job, row["tenant"])})
    if record.t >= (row["resumed"] or 0):
        _update(session, owner, {"resumed_us": record.t, **_process(record)})
    if row["status"] != "running" and record.t > (row["ended"] or 0):
        session.change("run", [owner], _REVIVE, [owner])
        _tell(ctx, row, "resumed", f"{row['name']} goes on")


def _facts(ctx: Context, owner: str, record: Start, job: dict[str, Any] | None, tenant: str) -> dict[str, Any]:
    facts, git = record.run or RunFacts(), (record.run or RunFacts()).git
    told = {"git": git, "environment": facts.env, "hardware": facts.hardware}
    dirty = git.get("dirty")
    asked = msgspec.json.decode(job["spec"]).get("env", {}) if job else {}
    return {
        "experiment_id": ensure(ctx, tenant, facts.experiment or asked.get("MLOPS_EXPERIMENT") or DEFAULT)[0],
        "parent_id": facts.parent,
        "name": facts.name or (job["name"] if job and job["run_id"] == owner else f"run-{short(owner)}"),
        "kind": facts.kind,
        "actor": facts.actor or (job["actor"] if job else ""),
        "command": facts.command,
        "git_sha": str(git.get("sha") or ""),
        "git_branch": str(git.get("branch") or ""),
        "git_dirty": dirty if isinstance(dirty, bool) else None,
        "facts": msgspec.json.encode(told).decode(),
    }


def _process(record: Start) -> dict[str, Any]:
    process = record.process
    return {"host": process.host, "boot": process.boot, "pid": process.pid, "proc_created": process.created}


def _job(session: Session, owner: str, record: Start) -> dict[str, Any] | None:
    """Return the job that this run is made in: the one its process says, else the one that was started for it."""
    said = record.run.tags.get("mlops.job", "") if record.run else ""
    return session.dict(
        """SELECT id, tenant, name, actor, spec, run_id FROM job WHERE id = ? OR run_id = ?
           ORDER BY id = ? DESC, created DESC LIMIT 1""",
        [said, owner, said],
    )


def _update(session: Session, run: str, values: dict[str, Any]) -> None:
    wanted = ", ".join(
        f"{key.removesuffix('_us')} = " + ("make_timestamp(?)" if key.endswith("_us") else "?") for key in values
    )
    session.change("run", [run], f"UPDATE run SET {wanted} WHERE id = ?", [*values.values(), run])


def _tell(ctx: Context, row: dict[str, Any], action: str, text: str) -> None:
    ctx.emit("run", row["id"], action, text, f"run:{row['id']}")
