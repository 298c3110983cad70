"""Operations, list and absorbers of jobs."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import job as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.contracts.run import LogLines
from mlops_tui.core.errors import Conflict
from mlops_tui.door import Context, House, absorbs, implements, prepares
from mlops_tui.door.lookup import by_name_or_id
from mlops_tui.jobs import queue
from mlops_tui.jobs.log import read_log
from mlops_tui.jobs.spec import Spec
from mlops_tui.spool.records import End, Heartbeat, Log, Start, Tag
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

lists(
    Listing(
        noun="job",
        source="job",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="name", label="name"),
            Column(name="kind", label="kind"),
            Column(name="status", label="status", kind="status"),
            Column(name="progress", label="progress", kind="percent"),
            Column(name="created", label="created", kind="time"),
            Column(name="duration", label="took", kind="duration"),
            Column(name="attempt", label="attempt", kind="int"),
            Column(name="actor", label="by"),
        ],
        expressions={
            "id": "id",
            "name": "name",
            "kind": "kind",
            "status": "status",
            "progress": "100 * progress",
            "created": "epoch_us(created)",
            "duration": "epoch_us(coalesce(ended, now()::TIMESTAMP)) - epoch_us(started)",
            "attempt": "attempt",
            "actor": "actor",
        },
        sort="-created",
        tenant="tenant",
    )
)


def find(session: Session, typed: str, tenant: str) -> dict[str, Any]:
    """Return the row of the job that a person means; see :func:`by_name_or_id`."""
    return by_name_or_id(session, "job", "job", typed, tenant, newest="created")


@implements(contract.show)
def show(ctx: Context, request: contract.OneJob) -> contract.Job:
    """Show a job."""
    found = find(ctx.session, request.job, ctx.tenant)
    row = ctx.session.dict(
        "SELECT *, epoch_us(created) AS c, epoch_us(started) AS s, epoch_us(ended) AS e FROM job WHERE id = ?",
        [found["id"]],
    )
    assert row
    same = ("id", "name", "kind", "status", "attempt", "exit_code", "host", "pid", "actor", "progress")
    return contract.Job(
        **{name: row[name] for name in same},
        created=row["c"],
        started=row["s"],
        ended=row["e"],
        run=row["run_id"],
        command=msgspec.json.decode(row["spec"], type=Spec).argv,
        error=msgspec.json.decode(row["error"]) if row["error"] else None,
        result=msgspec.json.decode(row["result"]) if row["result"] else None,
    )


@implements(contract.log)
def log(ctx: Context, request: contract.JobLogRequest) -> LogLines:
    """Read a job's log."""
    return read_log(ctx.session, find(ctx.session, request.job, ctx.tenant)["id"], request)


@implements(contract.stop)
class StopJob:
    """Stop a job; a queued one is taken out of the queue."""

    def plan(self, ctx: Context, request: contract.OneJob) -> Plan:
        row = find(ctx.session, request.job, ctx.tenant)
        if row["status"] not in ("queued", "running"):
            raise Conflict(f"the job {row['name']} is {row['status']} already")
        change = Change(object=f"job:{row['id']}", field="status", before=row["status"], after="killed")
        return Plan(
            operation="job.stop",
            object=f"job:{row['id']}",
            text=f"stop {row['kind']} {row['name']}",
            changes=[change],
            data={"row": row},
        )

    def apply(self, ctx: Context, request: contract.OneJob, plan: Plan) -> Done:
        row = plan.data["row"]
        ctx.session.execute("UPDATE job SET stopping = make_timestamp(?) WHERE id = ?", [ctx.now, row["id"]])
        if row["status"] == "queued":
            ctx.session.execute(
                "UPDATE job SET status = 'killed', ended = make_timestamp(?) WHERE id = ?", [ctx.now, row["id"]]
            )
        ctx.emit("job", row["id"], "stopping", f"{row['kind']} {row['name']} is asked to stop", f"job:{row['id']}")
        ctx.wake("jobs.queue")
        return Done(object=f"job:{row['id']}", text=plan.text)


@implements(contract.finish)
class FinishJob:
    """Take a worker's result or error."""

    def plan(self, ctx: Context, request: contract.FinishJob) -> Plan:
        row = find(ctx.session, request.job, ctx.tenant)
        outcome = "failed" if request.error else "finished"
        return Plan(
            operation="job.finish",
            object=f"job:{row['id']}",
            text=f"{row['kind']} {row['name']} {outcome}",
            data={"id": row["id"]},
        )

    def apply(self, ctx: Context, request: contract.FinishJob, plan: Plan) -> Done:
        values = [
            msgspec.json.encode(value).decode() if value is not None else None
            for value in (request.result, request.error)
        ]
        ctx.session.execute(
            "UPDATE job SET result = ?, error = ?, progress = 1 WHERE id = ?", [*values, plan.data["id"]]
        )
        ctx.wake("agent.ingest")  # the supervisor's last words come any moment
        return Done(object=plan.object, text=plan.text)


@implements(contract.progress)
def progress(ctx: Context, request: contract.Progress) -> Done:
    """Note how far a job is."""
    share = min(1.0, max(0.0, request.share))
    ctx.house.store.submit(
        lambda session: session.execute(
            "UPDATE job SET progress = ? WHERE id = ? AND status = 'running'", [share, request.job]
        )
    )
    ctx.house.touch("job", request.job)
    return Done(object=f"job:{request.job}", text=f"{share:.0%}")


@absorbs("start")
def _started(ctx: Context, owner: str, records: list[Start]) -> None:
    for record in records:
        if record.kind == "job":
            process = record.process
            ctx.session.execute(
                """
                UPDATE job SET host = ?, boot = ?, pid = ?, proc_created = ?, heartbeat = make_timestamp(?)
                WHERE id = ?
                """,
                [process.host, process.boot, process.pid, process.created, record.t, owner],
            )
            row = ctx.session.dict("SELECT kind, name FROM job WHERE id = ?", [owner])
            if row:
                ctx.emit("job", owner, "started", f"{row['kind']} {row['name']} started", f"job:{owner}")


@absorbs("hb")
def _alive(ctx: Context, owner: str, records: list[Heartbeat]) -> None:
    ctx.session.execute("UPDATE job SET heartbeat = make_timestamp(?) WHERE id = ?", [records[-1].t, owner])


@absorbs("tag")
def _used(ctx: Context, owner: str, records: list[Tag]) -> None:
    for record in records:
        if "cpu_s" in record.g:
            ctx.session.execute("UPDATE job SET cpu_s = cpu_s + ? WHERE id = ?", [float(record.g["cpu_s"]), owner])


@absorbs("log")
def _logged(ctx: Context, owner: str, records: list[Log]) -> None:
    first = ctx.session.value("SELECT coalesce(max(seq), 0) FROM log_line WHERE owner = ?", [owner]) + 1
    ctx.session.insert_columns(
        "log_line",
        {
            "owner": [owner] * len(records),
            "seq": list(range(first, first + len(records))),
            "ts_us": [record.t for record in records],
            "stream": [record.o for record in records],
            "text": [record.l for record in records],
        },
    )


@prepares("end")
def _last_words(house: House, owner: str, records: list[End]) -> None:
    """Have taken in what the job's run has written: whoever sees that a job is over sees how its run ended."""
    run = house.read(lambda session: session.value("SELECT run_id FROM job WHERE id = ?", [owner]))
    if run and house.ingestor is not None:
        house.ingestor.catch_up(run)


@absorbs("end")
def _ended(ctx: Context, owner: str, records: list[End]) -> None:
    for record in records:
        queue.end(ctx, owner, record.status, record.exit, record.error)
