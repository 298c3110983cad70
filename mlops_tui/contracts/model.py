"""Models, versions, aliases, gates and lineage."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.operation import Answer, Done, Request, Started, operation

ModelRef = Annotated[str, Meta(description="'employment', 'employment@7' or 'employment@champion'")]


class OneModel(Request, frozen=True):
    """Names a model or one of its versions."""

    positional = ("model",)
    model: ModelRef


class RegisterModel(Request, frozen=True):
    """A run whose artifact becomes the next version of a model."""

    positional = ("name", "run")
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="name of the model")]
    run: Annotated[str, Meta(description="run that made it")]
    artifact: Annotated[str, Meta(description="path of the artifact in the run")] = "model.onnx"
    description: str = ""
    require_gates: Annotated[bool, Meta(description="refuse when a gate of the run failed or none ran")] = True


class GateResult(msgspec.Struct, kw_only=True):
    """One gate's verdict: its figure against its bound, with the reasons."""

    gate: str
    passed: bool
    value: float | None
    threshold: float | None
    text: str
    detail: dict[str, Any] = {}
    ts: int = 0


class ModelVersion(Answer):
    """A version, whole."""

    id: str
    model: str
    version: int
    aliases: list[str]
    run: str | None
    run_name: str
    digest: str
    size: int
    format: str
    created: int
    actor: str
    description: str
    signature: dict[str, Any]
    metrics: dict[str, float]
    gates: list[GateResult]
    datasets: list[str]
    features: list[str]
    deployments: list[str]


class AliasEvent(msgspec.Struct, kw_only=True):
    """One move of an alias; version None means that it was removed."""

    alias: str
    version: int | None
    actor: str
    reason: str
    ts: int


class Model(Answer):
    """A model with its versions and the history of its aliases, newest first."""

    id: str
    name: str
    created: int
    actor: str
    aliases: dict[str, int]
    versions: list[ModelVersion]
    history: list[AliasEvent]


class SetAlias(Request, frozen=True):
    """An alias to move."""

    positional = ("model", "alias")
    model: ModelRef
    alias: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,63}$", description="champion, challenger …")]
    expect: Annotated[int, Meta(description="the version that it must point at now; 0: any")] = 0
    remove: bool = False


class RollbackAlias(Request, frozen=True):
    """An alias to move back to the version that it pointed at before."""

    positional = ("model", "alias")
    model: Annotated[str, Meta(description="name of the model")]
    alias: str = "champion"


class CompareVersions(Request, frozen=True):
    """Two versions to compare."""

    positional = ("base", "other")
    base: ModelRef
    other: ModelRef


class VersionDiff(Answer):
    """What differs: a row has what, base and other."""

    base: str
    other: str
    rows: list[dict[str, Any]]


class RunGates(Request, frozen=True):
    """Gates to run over a run's candidate model."""

    positional = ("run",)
    run: Annotated[str, Meta(description="run that made the candidate")]
    gates: Annotated[list[str], Meta(description="gates; empty: all of the policy")] = msgspec.field(
        default_factory=list
    )
    policy: Annotated[str, Meta(description="YAML file of thresholds; default: built in")] = ""
    champion: Annotated[str, Meta(description="version to compare with; default: the champion of its experiment")] = ""


class RecordGates(Request, frozen=True):
    """Verdicts that a gate worker hands in, with the digest of the model file that it judged."""

    run: str
    results: Annotated[list[GateResult], Meta(min_length=1)]
    digest: str = ""


class GateReport(Answer):
    """All verdicts on one run."""

    run: str
    passed: bool
    results: list[GateResult]


class OneGateReport(Request, frozen=True):
    """Names the run or model version whose verdicts to show."""

    positional = ("subject",)
    subject: Annotated[str, Meta(description="run, or model@version")]


class Lineage(Request, frozen=True):
    """Where to begin and which way to walk."""

    positional = ("subject",)
    subject: Annotated[str, Meta(description="model@version, data:NAME@version or run")]
    down: Annotated[bool, Meta(description="what came of it, instead of where it came from")] = False


class LineageNode(msgspec.Struct, kw_only=True):
    """One object of the graph at its distance from the beginning."""

    id: str
    kind: str
    name: str
    depth: int
    relation: str
    of: str


class LineageGraph(Answer):
    """Nodes in walking order, the first is where it began."""

    nodes: list[LineageNode]


models = listing("model", "List models.", "mlops model list")
versions = listing("version", "List model versions.", "mlops version list 'model:employment'")
show = operation(
    "model.show",
    OneModel,
    Model,
    help="Show a model: versions, aliases and their history.",
    example="mlops model show employment",
)
version_show = operation(
    "version.show",
    OneModel,
    ModelVersion,
    help="Show one version: gates, metrics, lineage, deployments.",
    example="mlops version show employment@champion",
)
register = operation(
    "model.register",
    RegisterModel,
    ModelVersion,
    permission="model:register",
    effect="change",
    help="Register a run's model as the next version.",
    example="mlops model register employment train-v1",
)
alias = operation(
    "model.alias",
    SetAlias,
    Done,
    permission="model:promote",
    effect="change",
    help="Point an alias at a version.",
    example="mlops model alias employment@2 champion",
)
rollback = operation(
    "model.rollback",
    RollbackAlias,
    Done,
    permission="model:promote",
    effect="change",
    help="Move an alias back to the version before.",
    example="mlops model rollback employment champion",
)
compare = operation(
    "model.compare",
    CompareVersions,
    VersionDiff,
    help="Compare two versions.",
    example="mlops model compare employment@1 employment@2",
)
verify = operation(
    "model.verify",
    OneModel,
    Done,
    permission="model:read",
    effect="change",
    help="Read a version's file back and compare its content hash.",
    example="mlops model verify employment@1",
)
gates = listing("gate", "List gate verdicts.", "mlops gate list")
gate_run = operation(
    "gate.run",
    RunGates,
    Started,
    effect="change",
    kind="job",
    help="Run gates over a candidate: quality, fairness, explanation, endpoint.",
    example="mlops gate run train-v1",
)
gate_record = operation(
    "gate.record", RecordGates, GateReport, effect="change", help="Record gate verdicts.", internal=True
)
gate_show = operation(
    "gate.show",
    OneGateReport,
    GateReport,
    help="Show the verdicts on a run or version.",
    example="mlops gate show train-v1",
)
lineage = operation(
    "lineage.show",
    Lineage,
    LineageGraph,
    help="Walk the lineage of a model, data set or run.",
    example="mlops lineage show employment@1",
)
