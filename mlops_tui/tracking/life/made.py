"""Runs that are made and ended by a call, not by a spool: what clients of other protocols do."""

from __future__ import annotations

import os
import shlex
from typing import Any

from mlops_tui.contracts import run as contract
from mlops_tui.contracts.experiment import DEFAULT
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import Conflict
from mlops_tui.core.ids import dashed, uuid7
from mlops_tui.door import Context, implements
from mlops_tui.spool.process import ProcessId, boot_id, created_us
from mlops_tui.tracking.experiments import ensure, find_experiment
from mlops_tui.tracking.life.forks import Fork, carry
from mlops_tui.tracking.life.names import name_for
from mlops_tui.tracking.runs.contents import named, put_tags
from mlops_tui.tracking.runs.find import find_run


@implements(contract.create)
class Create:
    """Make a run that is running; whoever logs to it says how it ends."""

    def plan(self, ctx: Context, request: contract.CreateRun) -> Plan:
        """Say what is made; refuse an experiment that is deleted."""
        data: dict[str, Any] = {}
        if request.experiment and request.experiment not in (DEFAULT, DEFAULT.lower()):
            experiment = find_experiment(ctx.session, ctx.tenant, request.experiment)
            if experiment["deleted"] is not None:
                raise Conflict(
                    f"the experiment {experiment['name']} is deleted",
                    "",
                    f"mlops experiment restore {experiment['number']}",
                )
            data["experiment"] = experiment["id"]
        text, cli = f"make the run {request.name or 'run'}", []
        if request.fork:
            other = find_run(ctx.session, ctx.tenant, request.fork)
            data["fork"] = Fork(other["id"], request.step)
            data.setdefault("experiment", other["experiment_id"])
            text += f" as {other['name']} was" + ("" if request.step is None else f" at step {request.step}")
            cli = ["--fork", other["id"], *([] if request.step is None else ["--step", str(request.step)])]
        name, experiment_name = request.name or "run", request.experiment or DEFAULT
        return Plan(
            operation=contract.create.name, object=f"run:{name}", text=text, data=data,
            cli=shlex.join(["mlops", "run", "create", name, "--experiment", experiment_name, *cli]),
            changes=[Change(object=f"run:{name}", field="status", after="running")],
        )  # fmt: skip

    def apply(self, ctx: Context, request: contract.CreateRun, plan: Plan) -> contract.RunMade:
        """Make it."""
        job, process = _job(ctx, request.job), _process(request.pid)
        run = _id(ctx, job)
        said = request.name or (job["name"] if job and job["run_id"] == run else "")
        name, parent = said or name_for(run), request.tags.get("mlflow.parentRunId", "").replace("-", "")
        experiment = plan.data.get("experiment") or ensure(ctx, ctx.tenant, DEFAULT)[0]
        tags = request.tags
        began = ctx.now if request.started is None else request.started
        ctx.session.insert(
            "run", id=run, experiment_id=experiment, parent_id=dashed(parent) or None, tenant=ctx.tenant,
            name=name, kind="train", status="running", started_us=began, resumed_us=ctx.now,
            heartbeat_us=ctx.now, host=process["host"], boot=process["boot"], pid=process["pid"],
            proc_created=process["created"], actor=request.actor or ctx.caller.name,
            command=tags.get("mlflow.source.name", ""), git_sha=tags.get("mlflow.source.git.commit", ""),
            git_branch=tags.get("mlflow.source.git.branch", ""), error="",
            note=tags.get("mlflow.note.content", ""), job_id=job["id"] if job else None, via=request.via,
        )  # fmt: skip
        put_tags(ctx, run, [(ctx.now, tags)])
        if fork := plan.data.get("fork"):
            carry(ctx, run, fork, {})
        if job:
            ctx.link(f"run:{run}", "ran_as", f"job:{job['id']}")
        ctx.emit("run", run, "started", f"{name} started", f"run:{run}")
        return contract.RunMade(object=f"run:{run}", text=f"the run {name} is running", id=run)


@implements(contract.update)
class Update:
    """Rename a run, end it, or take its end back."""

    def plan(self, ctx: Context, request: contract.UpdateRun) -> Plan:
        """Say what changes; a deleted run stays as it is."""
        row = find_run(ctx.session, ctx.tenant, request.run)
        if row["deleted"] is not None:
            raise Conflict(f"the run {row['name']} is deleted", "", f"mlops run restore {row['id']}")
        after = {"name": request.name or None, "status": request.status, "ended": request.ended}
        if request.status in _ENDS and request.ended is None and row["ended"] is None:
            after["ended"] = ctx.now
        link = f"run:{row['id']}"
        changes = [
            Change(object=link, field=field, before=row[field], after=value)
            for field, value in after.items()
            if value is not None and value != row[field]
        ]
        words = [word for one in changes for word in (f"--{one.field}", str(one.after))]
        return Plan(
            operation=contract.update.name, object=link, changes=changes, data={"id": row["id"]},
            text=_told(row["name"], {one.field: one.after for one in changes}),
            cli=shlex.join(["mlops", "run", "update", row["id"], *words]),
        )  # fmt: skip

    def apply(self, ctx: Context, request: contract.UpdateRun, plan: Plan) -> Done:
        """Write it."""
        after = {one.field: one.after for one in plan.changes}
        run = plan.data["id"]
        if after.get("status") in ("running", "scheduled"):
            again = "UPDATE run SET ended = NULL, resumed = make_timestamp(?) WHERE id = ?"
            ctx.session.change("run", [run], again, [ctx.now, run])
        for field, value in after.items():
            place = "make_timestamp(?)" if field == "ended" else "?"
            ctx.session.change("run", [run], f"UPDATE run SET {field} = {place} WHERE id = ?", [value, run])
        if request.name:
            named(ctx, run)
        if after:
            ctx.emit("run", run, "ended" if after.get("status") in _ENDS else "changed", plan.text, plan.object)
        return Done(object=plan.object, text=plan.text)


_ENDS = ("done", "failed", "killed")


def _told(name: str, after: dict[str, Any]) -> str:
    told = [f"{name} is now {after['name']}"] if "name" in after else []
    told += [f"{after.get('name', name)} is {after['status']}"] if "status" in after else []
    return "; ".join(told) or (f"{name} ended at another time" if after else f"nothing changes for {name}")


def _job(ctx: Context, job: str) -> dict[str, Any] | None:
    return (
        ctx.session.dict("SELECT id, name, run_id FROM job WHERE id = ? AND tenant = ?", [job, ctx.tenant])
        if job
        else None
    )


def _id(ctx: Context, job: dict[str, Any] | None) -> str:
    """Return the id that the run's job keeps for it; of a further run of that job a new one."""
    kept = job["run_id"] if job else None
    if kept and not ctx.session.row("SELECT 1 FROM run WHERE id = ?", [kept]):
        return str(kept)
    return uuid7()


def _process(pid: int) -> ProcessId:
    """Return who logs to a run; a process that nobody knows has no number, and is never found gone."""
    created = created_us(pid) if pid else None
    return ProcessId(host=os.uname().nodename, boot=boot_id(), pid=pid if created else 0, created=created or 0)
