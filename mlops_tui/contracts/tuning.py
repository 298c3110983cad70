"""Tuning: how a model is best served on this machine, measured."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.model import ModelRef
from mlops_tui.contracts.operation import Answer, Done, File, Request, Started, operation

Profile = Annotated[
    Literal["latency", "throughput", "memory"],
    Meta(description="latency (median of single requests), throughput (requests a second), or memory"),
]


class TuneModel(Request, frozen=True):
    """A version to measure on this machine, and what it shall be good at."""

    positional = ("model",)
    model: Annotated[str, Meta(description="model@version or model@alias")]
    profile: Profile = "latency"
    slo: Annotated[
        list[str], Meta(description="a limit: p99=20ms, p50=2ms, memory=200MB, rate=1000 (requests a second)")
    ] = msgspec.field(default_factory=list)
    max_accuracy_loss: Annotated[str, Meta(description="what a candidate may lose against fp32, as 0.5% or 0.005")] = (
        "0.5%"
    )
    data: Annotated[str, Meta(description="reference set; empty: the rows on which its run was evaluated")] = ""
    label_column: Annotated[str, Meta(description="column of the truth in --data; empty: the one of its features")] = ""
    seconds: Annotated[float, Meta(ge=0.02, le=60, description="for each of a measurement's two phases")] = 0.25
    rounds: Annotated[int, Meta(ge=3, le=50, description="measurements of each candidate, interleaved")] = 3


class Tuned(Request, frozen=True):
    """What a tuning worker found."""

    model: str
    digest: str
    host: str
    profile: str
    setting: dict[str, Any]
    variant: str
    text: str
    keeps: bool
    report: dict[str, Any]


class OneProfile(Request, frozen=True):
    """A version and the profile that is meant; empty: the newest."""

    positional = ("model",)
    model: ModelRef
    profile: Annotated[str, Meta(description="latency, throughput or memory; empty: the newest")] = ""


class ProfileShown(Answer):
    """How a version is best served on a kind of machine; ``here`` tells whether this machine is one of them.

    The candidates' spread is half the range of their measurements; ``against_fp32`` compares a candidate with fp32 at
    the same settings (above 1: better).
    """

    model: str
    profile: str
    chosen: str
    text: str
    here: bool
    host: str
    ts: int
    actor: str
    candidates: list[dict[str, Any]]
    confirmations: list[dict[str, Any]]
    accuracy: dict[str, str]
    left_out: dict[str, str]
    test: str


class DrawProfile(Request, frozen=True):
    """A drawing of what was measured."""

    positional = ("model",)
    model: ModelRef
    profile: Annotated[str, Meta(description="latency, throughput or memory; empty: the newest")] = ""
    form: Annotated[Literal["svg", "txt"], Meta(description="svg, or txt: cells for a terminal")] = "svg"


class Drawing(File):
    """The candidates by latency and throughput, the Pareto front drawn through."""

    candidates: int


profiles = listing("profile", "List serving profiles: what tuning found, by model and machine.", "mlops profile list")
tune = operation(
    "model.tune",
    TuneModel,
    Started,
    permission="model:write",
    effect="change",
    kind="job",
    help="Measure how a version is best served on this machine.",
    example="mlops model tune employment@champion --profile latency --slo p99=20ms --max-accuracy-loss 0.5%",
)
tuned = operation(
    "model.tuned",
    Tuned,
    Done,
    permission="model:write",
    effect="change",
    help="Keep what a tuning worker found.",
    internal=True,
)
show = operation(
    "profile.show",
    OneProfile,
    ProfileShown,
    permission="model:read",
    help="Show what tuning found: every candidate, the test, the choice.",
    example="mlops profile show employment@champion",
)
draw = operation(
    "profile.draw",
    DrawProfile,
    Drawing,
    permission="model:read",
    help="Draw the candidates by latency and throughput (svg, or txt for a terminal).",
    example="mlops profile draw employment@champion --to tuning.svg",
)
