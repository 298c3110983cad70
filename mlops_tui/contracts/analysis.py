"""Many runs at once: searched whole, the best of them, what a metric hangs on, and figures of them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import Table
from mlops_tui.contracts.operation import Answer, File, Request, operation

Filter = Annotated[str, Meta(description="which runs: 'status:done auc>0.9'; default, all")]
Keys = Annotated[list[str], Meta(description="parameter; default, those that matter most")]
Metric = Annotated[str, Meta(description="metric, by its last value; min(loss), max(loss) for its extremes")]


class SearchRuns(Request, frozen=True):
    """Which runs, in which order, from where on."""

    positional = ("filter",)
    filter: Filter = ""
    order_by: Annotated[list[str], Meta(description="'metrics.auc DESC', or -auc; default, the newest first")] = (
        msgspec.field(default_factory=list)
    )
    limit: Annotated[int, Meta(ge=1, le=1000, description="runs at most")] = 100
    token: Annotated[str, Meta(description="where to go on: 'next' of the answer before")] = ""


class FoundRun(msgspec.Struct, kw_only=True):
    """A run with what was logged to it. Times are µs; a metric that is not finite is a word (NaN, Infinity)."""

    id: str
    name: str
    experiment: str
    status: str
    started: int
    ended: int | None
    actor: str
    host: str
    git: str
    note: str
    params: dict[str, str]
    metrics: dict[str, float | str | None]
    tags: dict[str, str]


class FoundRuns(Answer):
    """A page of runs; ``next`` goes on after it, also when runs come meanwhile, and is empty at the end."""

    runs: list[FoundRun]
    next: str


class BestRun(Request, frozen=True):
    """By which metric, among which runs."""

    positional = ("metric", "filter")
    metric: Metric
    filter: Filter = ""
    goal: Annotated[Literal["auto", "max", "min"], Meta(description="auto: less of a loss or an error is better")] = (
        "auto"
    )
    count: Annotated[int, Meta(ge=1, le=100, description="runs, the best first")] = 1


class ImportanceRequest(Request, frozen=True):
    """Which metric, among which runs."""

    positional = ("metric", "filter")
    metric: Metric
    filter: Filter = ""


class ParamImportance(msgspec.Struct, kw_only=True):
    """How much a metric hangs on one parameter.

    ``importance`` is its part of what all parameters explain, 0 to 1; ``error`` its standard error over the trees;
    ``correlation`` Spearman's with the metric, None for a parameter that is not a number; ``best`` the value, or the
    range of values, with the best mean.
    """

    param: str
    importance: float
    error: float
    correlation: float | None
    values: int
    best: str


class ImportanceAnswer(Answer):
    """Parameters by importance. ``explained`` is R² of the forest on runs that its trees did not see."""

    metric: str
    runs: int
    explained: float
    method: str
    params: list[ParamImportance]


class TrialsRequest(Request, frozen=True):
    """Which metric, among which runs."""

    positional = ("metric", "filter")
    metric: Annotated[str, Meta(description="metric; default, the one that stands for most of the runs")] = ""
    filter: Filter = ""
    limit: Annotated[int, Meta(ge=1, le=5000, description="runs at most; of more a sample is taken")] = 1000


class Trials(Answer):
    """Runs with a finite metric, column by column: what was tried, and what came of it.

    ``params`` has the parameters that differ between these runs, None where a run has none; what most runs have comes
    first. ``total`` counts the runs that fit. ``metric`` is empty where none of the runs has one.
    """

    metric: str
    lower_is_better: bool
    runs: list[str]
    names: list[str]
    values: list[float]
    params: dict[str, list[str | None]]
    total: int


class FigureRequest(Request, frozen=True):
    """Curves of a metric, of runs given by name or by a filter."""

    positional = ("metric", "runs")
    metric: Annotated[str, Meta(description="metric whose curves are drawn")]
    runs: Annotated[list[str], Meta(description="runs; default, those of the filter")] = msgspec.field(
        default_factory=list
    )
    filter: Filter = ""
    axis: Annotated[Literal["step", "time", "relative"], Meta(description="what runs from left to right")] = "step"
    log: Annotated[bool, Meta(description="logarithmic scale")] = False
    smooth: Annotated[float, Meta(ge=0, lt=1, description="weight of what was before; 0: none")] = 0.0
    limit: Annotated[int, Meta(ge=1, le=50, description="runs at most")] = 10


class ParallelRequest(Request, frozen=True):
    """Parameters side by side, a line a run, coloured by a metric."""

    positional = ("metric", "filter")
    metric: Metric
    filter: Filter = ""
    params: Keys = msgspec.field(default_factory=list)
    limit: Annotated[int, Meta(ge=1, le=5000, description="runs at most")] = 1000


class Figure(File):
    """A figure as an SVG document, and how many runs are in it."""

    title: str
    runs: int


class ExportRequest(Request, frozen=True):
    """Which runs, in which form."""

    positional = ("filter",)
    filter: Filter = ""
    form: Annotated[Literal["csv", "json", "parquet"], Meta(description="form of the file")] = "csv"
    order_by: Annotated[list[str], Meta(description="'metrics.auc DESC', or -auc")] = msgspec.field(
        default_factory=list
    )
    limit: Annotated[int, Meta(ge=1, le=1_000_000, description="runs at most")] = 10_000


class Exported(File):
    """A row a run, with columns ``params.…``, ``metrics.…`` and ``tags.…``; ``total`` counts the runs that fit."""

    rows: int
    total: int


search = operation(
    "run.search",
    SearchRuns,
    FoundRuns,
    help="Search runs, each with its parameters, metrics and tags.",
    example="mlops run search 'metrics.auc > 0.9 and params.lr:1e-4..1e-2' --json",
)
best = operation(
    "run.best",
    BestRun,
    Table,
    help="Find the best run by a metric.",
    example="mlops run best auc 'status:done'",
)
importance = operation(
    "run.importance",
    ImportanceRequest,
    ImportanceAnswer,
    help="Say which parameters a metric hangs on.",
    example="mlops run importance auc 'experiment:census'",
)
trials = operation(
    "run.trials",
    TrialsRequest,
    Trials,
    help="List runs as what was tried: the parameters that differ, and a metric.",
    example="mlops run trials auc 'experiment:census'",
)
figure = operation(
    "run.figure",
    FigureRequest,
    Figure,
    help="Draw a metric's curves of several runs as SVG.",
    example="mlops run figure loss train-v1 train-v2 --to loss.svg",
)
parallel = operation(
    "run.parallel",
    ParallelRequest,
    Figure,
    help="Draw parameters and a metric as parallel coordinates, in SVG.",
    example="mlops run parallel auc --to sweep.svg",
)
export = operation(
    "run.export",
    ExportRequest,
    Exported,
    help="Export runs as CSV, JSON or Parquet.",
    example="mlops run export 'status:done' --to runs.parquet",
)
