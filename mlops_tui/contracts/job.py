"""Jobs: supervised processes that outlive the agent and every terminal."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.operation import Answer, Done, Request, Started, operation
from mlops_tui.contracts.run import LogLines

JobRef = Annotated[str, Meta(description="the beginning or end of a job's id, or its name")]


class OneJob(Request, frozen=True):
    """Names a job."""

    positional = ("job",)
    job: JobRef


class StartTraining(Request, frozen=True):
    """A script to run as a supervised job."""

    positional = ("script", "args")
    script: Annotated[str, Meta(description="Python script, or any program")]
    args: Annotated[list[str], Meta(description="arguments of the script, after --")] = msgspec.field(
        default_factory=list
    )
    name: Annotated[str, Meta(description="name of job and run")] = ""
    experiment: Annotated[str, Meta(description="experiment of the run")] = "Default"
    cwd: Annotated[str, Meta(description="working folder; default: the caller's")] = ""
    data: Annotated[list[str], Meta(description="data sets to hand over as files, NAME=data@version")] = msgspec.field(
        default_factory=list
    )
    env: Annotated[dict[str, str], Meta(description="extra environment, KEY=VALUE")] = msgspec.field(
        default_factory=dict
    )
    retries: Annotated[int, Meta(ge=0, le=20, description="times to start again after a failure")] = 0
    trainer: Annotated[str, Meta(description="what starts the script: python, or one that a plugin brings")] = "python"


class Job(Answer):
    """A job, whole. ``result`` is what its worker handed in; ``error`` is why it failed."""

    id: str
    name: str
    kind: str
    status: str
    created: int
    started: int | None
    ended: int | None
    attempt: int
    exit_code: int | None
    host: str
    pid: int | None
    actor: str
    run: str | None
    command: list[str]
    progress: float | None
    error: dict[str, Any] | None
    result: dict[str, Any] | None


class FinishJob(Request, frozen=True):
    """What a worker hands in at its end: a result, or an error as it travels over the door."""

    job: str
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class Progress(Request, frozen=True):
    """How far a worker is, 0 to 1."""

    job: str
    share: float


class JobLogRequest(Request, frozen=True):
    """Which part of a job's log."""

    positional = ("job",)
    job: JobRef
    lines: Annotated[int, Meta(ge=1, le=10_000)] = 200
    after: int = 0
    grep: Annotated[str, Meta(description="only lines that match; lower case finds upper case too")] = ""


jobs = listing("job", "List jobs: queued, running and ended.", "mlops job list 'status:running'")
show = operation("job.show", OneJob, Job, help="Show a job.", example="mlops job show 8f2c1a90")
log = operation(
    "job.log",
    JobLogRequest,
    LogLines,
    help="Read a job's log, or what matches in it.",
    example="mlops job log 8f2c1a90 --grep error",
)
train = operation(
    "job.train",
    StartTraining,
    Started,
    permission="job:start",
    effect="change",
    kind="job",
    help="Run a training script as a supervised job.",
    example="mlops job train train.py --name train-v1",
)
finish = operation("job.finish", FinishJob, Done, effect="change", help="Hand in the result of a job.", internal=True)
stop = operation(
    "job.stop",
    OneJob,
    Done,
    permission="job:stop",
    effect="change",
    help="Stop a job: it may write a checkpoint, then it is ended.",
    example="mlops job stop 8f2c1a90",
)
progress = operation("job.progress", Progress, Done, effect="append", help="Note how far a job is.", internal=True)
