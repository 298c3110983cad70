"""Experiments and runs: what was tried, with what, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import List, Table
from mlops_tui.contracts.operation import Answer, Done, Request, operation

RunRef = Annotated[str, Meta(description="run name, or the beginning or end of its id")]


Also = Annotated[list[RunRef], Meta(max_length=500, description="one more run to do the same to")]


class OneRun(Request, frozen=True):
    """Names a run."""

    positional = ("run",)
    run: RunRef


class Metric(msgspec.Struct, kw_only=True):
    """A metric's figures over the whole run; NaN and infinities are counted in ``nonfinite``."""

    key: str
    last: float | None
    min: float | None
    max: float | None
    step: int
    n: int
    nonfinite: int = 0
    ts: int = 0


class ArtifactRef(msgspec.Struct, kw_only=True):
    """A file that a run made."""

    path: str
    digest: str
    size: int


class UsedData(msgspec.Struct, kw_only=True):
    """A data set that a run read."""

    name: str
    digest: str
    context: str


class MadeModel(msgspec.Struct, kw_only=True):
    """A logged model that the run made; ``status`` is pending, ready or failed."""

    name: str
    id: str
    status: str


class Run(Answer):
    """A run, whole. Times are µs; ``params`` and ``tags`` are text, as in MLflow.

    ``system`` has what its processes used (``system/cpu`` …), whose steps are seconds since the run began.

    ``facts`` has what was noted at its start: git, environment (seeds among it) and hardware.

    Of very many metrics, ``metrics`` has the first by name, and ``more_metrics`` says how many others there are; so
    ``params`` has those that were given first, and ``more_params`` says how many others there are.
    """

    id: str
    name: str
    experiment: str
    kind: str
    status: str
    started: int
    ended: int | None
    heartbeat: int | None
    host: str
    pid: int | None
    actor: str
    command: str
    git_sha: str
    git_dirty: bool | None
    error: str
    note: str
    parent: str | None
    job: str | None
    deleted: bool
    params: dict[str, str]
    tags: dict[str, str]
    metrics: list[Metric]
    system: list[Metric]
    artifacts: list[ArtifactRef]
    datasets: list[UsedData]
    models: list[str]
    logged: list[MadeModel] = msgspec.field(default_factory=list)
    children: Annotated[int | None, Meta(description="how many runs are a part of it, if any is")] = None
    facts: dict[str, Any] = msgspec.field(default_factory=dict)
    more_metrics: int | None = None
    more_params: int | None = None


class CurveRequest(Request, frozen=True):
    """Which curves, at how many buckets."""

    positional = ("run",)
    run: RunRef
    keys: Annotated[list[str], Meta(description="metrics; 'system/' for all below; empty: all that were logged")] = (
        msgspec.field(default_factory=list)
    )
    points: Annotated[int, Meta(ge=2, le=10_000, description="buckets at most")] = 400
    first: Annotated[int | None, Meta(description="the step to begin with; default, the first")] = None
    last: Annotated[int | None, Meta(description="the step to end with; default, the newest")] = None


class Curve(msgspec.Struct, kw_only=True):
    """A down-sampled curve: per bucket the step and time of its end, minimum, maximum and mean. Equal lengths."""

    key: str
    n: int
    step: list[int]
    ts: list[int]
    min: list[float | None]
    max: list[float | None]
    mean: list[float | None]


class Curves(Answer):
    """Curves of one owner."""

    owner: str
    curves: list[Curve]


class LogRequest(Request, frozen=True):
    """Which part of a log: the last ``lines``, or what came after ``after``."""

    positional = ("run",)
    run: RunRef
    lines: Annotated[int, Meta(ge=1, le=10_000)] = 200
    after: Annotated[int, Meta(description="sequence number after which to read; 0: the tail")] = 0
    grep: Annotated[str, Meta(description="only lines that match; lower case finds upper case too")] = ""


class LogLines(Answer):
    """Lines of a log in order; ``last`` is the sequence number to give as ``after`` next time."""

    lines: list[str]
    last: int


class CompareRequest(Request, frozen=True):
    """Runs to put side by side."""

    positional = ("runs",)
    runs: Annotated[list[str], Meta(min_length=2, max_length=12, description="runs, the first is the base")]
    all: Annotated[bool, Meta(description="also what is equal in all")] = False


class CompareRow(msgspec.Struct, kw_only=True):
    """One parameter or metric over all runs, in their order; None where a run has none."""

    what: str
    key: str
    values: list[Any]
    same: bool


class Comparison(Answer):
    """Runs side by side."""

    runs: list[str]
    names: list[str]
    rows: list[CompareRow]


class CreateRun(Request, frozen=True):
    """A run to log to from elsewhere; times are µs."""

    positional = ("name",)
    name: Annotated[str, Meta(description="default: one is made")] = ""
    experiment: Annotated[str, Meta(description="name, number or id of its experiment")] = ""
    tags: Annotated[dict[str, str], Meta(description="key=value …")] = msgspec.field(default_factory=dict)
    started: Annotated[int | None, Meta(description="µs since 1970; default: now")] = None
    actor: Annotated[str, Meta(description="whose run; default: the caller's")] = ""
    via: Annotated[str, Meta(description="what logs to it: mlflow, or nothing")] = ""
    job: Annotated[str, Meta(description="id of the job that it runs in")] = ""
    pid: Annotated[int, Meta(ge=0, description="process on this machine that logs to it; 0: not known")] = 0
    fork: Annotated[str, Meta(description="run whose history and parameters it begins with")] = ""
    step: Annotated[int | None, Meta(description="last step of that history; default, all of it")] = None


class RunMade(Done):
    """A run was made."""

    id: str


class UpdateRun(Request, frozen=True):
    """What becomes of a run; what is not given stays. Times are µs."""

    positional = ("run",)
    run: RunRef
    name: str | None = None
    status: Literal["running", "scheduled", "done", "failed", "killed"] | None = None
    ended: Annotated[int | None, Meta(description="µs since 1970; default: now when it ends")] = None


class DeleteRun(Request, frozen=True):
    """Names runs to delete: all of them, or none if one cannot be."""

    positional = ("run", "also")
    run: RunRef
    also: Also = msgspec.field(default_factory=list)
    force: Annotated[bool, Meta(description="even while it is running")] = False


class RestoreRun(Request, frozen=True):
    """Names deleted runs to restore."""

    positional = ("run", "also")
    run: RunRef
    also: Also = msgspec.field(default_factory=list)


class ListRuns(List, frozen=True):
    """Which runs, in which order; or groups of them.

    A group is the runs with the same parameters ``group_by``, so that runs which differ in their seed alone are one
    line: how many, and for each metric its mean and sample standard deviation. Its id is the filter that finds its
    runs. The best mean comes first. What is not finite counts in no mean.
    """

    group_by: Annotated[list[str], Meta(description="parameter, or another key, whose values make groups")] = (
        msgspec.field(default_factory=list)
    )
    metrics: Annotated[list[str], Meta(description="metric to average; default, the one that stands for most runs")] = (
        msgspec.field(default_factory=list)
    )


class NoteRequest(Request, frozen=True):
    """A note to keep with a run."""

    positional = ("run", "text")
    run: RunRef
    text: str
    also: Also = msgspec.field(default_factory=list)


class TagRequest(Request, frozen=True):
    """Tags to set; an empty value removes the tag."""

    positional = ("run", "tags")
    run: RunRef
    tags: Annotated[dict[str, str], Meta(description="key=value …")]
    also: Also = msgspec.field(default_factory=list)


runs = operation(
    "run.list",
    ListRuns,
    Table,
    help="List runs, or with --group-by the mean and deviation of their metrics.",
    example="mlops run list 'status:done' --group-by lr --metrics auc",
)
show = operation(
    "run.show",
    OneRun,
    Run,
    help="Show a run: parameters, metrics, artifacts, data, lineage.",
    example="mlops run show train-v1",
)
curves = operation(
    "run.curve",
    CurveRequest,
    Curves,
    help="Read a run's metric curves, down-sampled.",
    example="mlops run curve train-v1 --keys loss --json",
)
log = operation(
    "run.log",
    LogRequest,
    LogLines,
    help="Read the console log of a run, or what matches in it.",
    example="mlops run log train-v1 --grep 'epoch [0-9]+'",
)
compare = operation(
    "run.compare",
    CompareRequest,
    Comparison,
    help="Compare runs: what differs in parameters and metrics.",
    example="mlops run compare train-v1 train-v2",
)
create = operation(
    "run.create",
    CreateRun,
    RunMade,
    effect="change",
    help="Make a run for a program that logs from elsewhere.",
    example="mlops run create by-hand --experiment census",
)
update = operation(
    "run.update",
    UpdateRun,
    Done,
    effect="change",
    help="Rename a run, or say how it ended.",
    example="mlops run update train-v1 --name baseline",
)
note = operation(
    "run.note",
    NoteRequest,
    Done,
    effect="change",
    help="Keep a note with a run.",
    example="mlops run note train-v1 'best so far'",
)
tag = operation(
    "run.tag",
    TagRequest,
    Done,
    effect="change",
    help="Set or remove tags of a run.",
    example="mlops run tag train-v1 stage=candidate",
)
delete = operation(
    "run.delete",
    DeleteRun,
    Done,
    permission="run:delete",
    effect="change",
    help="Delete runs; they can be restored.",
    example="mlops run delete train-v1",
)
restore = operation(
    "run.restore",
    RestoreRun,
    Done,
    effect="change",
    help="Restore deleted runs.",
    example="mlops run restore train-v1",
)
