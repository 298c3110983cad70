"""Putting a job into the queue, in the transaction of the operation that wants it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec

from mlops_tui.core.ids import uuid7
from mlops_tui.jobs.spec import DataFile, Spec

if TYPE_CHECKING:
    from mlops_tui.door.context import Context

__all__ = ["DataFile", "start_job"]


def start_job(
    ctx: Context,
    *,
    kind: str,
    name: str,
    module: str = "",
    argv: list[str] | None = None,
    request: dict[str, Any] | None = None,
    lane: str = "work",
    run_id: str | None = None,
    data: list[DataFile] | None = None,
    env: dict[str, str] | None = None,
    cwd: str = "",
    retries: int = 2,
) -> str:
    """Queue a job and return its id.

    Args:
        ctx: the call that wants it.
        kind: what it is, ``noun.verb``.
        name: what people call it.
        module: our worker module (``python -m module``); or
        argv: any program.
        request: handed to a worker module.
        lane: ``work`` (short, two at once) or ``train`` (``jobs.parallel`` at once).
        run_id: the run that it writes, if any.
        data: stored artifacts that it reads as files.
        env: added to the agent's environment.
        cwd: working folder; default, the job's own.
        retries: times to begin again after it died.
    """
    job = uuid7()
    spec = Spec(
        job=job, name=name, kind=kind, argv=argv or [sys.executable, "-m", module], lane=lane, cwd=cwd, run=run_id,
        env={"MLOPS_TENANT": ctx.tenant, **(env or {})}, request=request or {}, data=data or [],
        grace_s=float(ctx.config.get("jobs.grace_s")),
    )  # fmt: skip
    ctx.session.insert(
        "job", id=job, tenant=ctx.tenant, name=name, kind=kind, status="queued", attempt=0, retries=retries,
        spec=msgspec.json.encode(spec).decode(), created_us=ctx.now, host="", boot="", actor=ctx.caller.name,
        run_id=run_id,
    )  # fmt: skip
    ctx.emit("job", job, "queued", f"{kind} {name} queued", f"job:{job}")
    ctx.wake("jobs.queue")
    return job
