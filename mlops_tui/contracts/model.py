"""Models, versions, aliases, gates and lineage."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.operation import Answer, Done, Request, Started, operation

ModelRef = Annotated[str, Meta(description="'employment', 'employment@7' or 'employment@champion'")]
ModelName = Annotated[str, Meta(pattern=r"^[^/:@]+$", max_length=256, description="name of the model, without / : @")]
Tags = Annotated[dict[str, str], Meta(description="key=value …")]


class OneModel(Request, frozen=True):
    """Names a model or one of its versions."""

    positional = ("model",)
    model: ModelRef


class RegisterModel(Request, frozen=True):
    """A run whose artifact becomes the next version of a model."""

    positional = ("name", "run")
    name: ModelName
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
    """A version, whole.

    ``source`` says where an MLflow client found it, ``logged`` which logged model it was; ``files`` counts what it
    keeps of the folder that was registered.
    """

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
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    stage: str = "None"
    source: str = ""
    run_link: str = ""
    logged: str = ""
    updated: int = 0
    files: int = 0


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
    description: str = ""
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    updated: int = 0


class CreateModel(Request, frozen=True):
    """A model that has no version yet."""

    positional = ("name",)
    name: ModelName
    description: str = ""
    tags: Tags = msgspec.field(default_factory=dict)


class RenameModel(Request, frozen=True):
    """The model's new name; its versions and aliases keep theirs."""

    positional = ("model", "name")
    model: ModelRef
    name: ModelName


class NoteModel(Request, frozen=True):
    """What a model, or with ``@`` one of its versions, is described as; an empty text removes it."""

    positional = ("model", "text")
    model: ModelRef
    text: Annotated[str, Meta(max_length=100_000)]


class TagModel(Request, frozen=True):
    """Tags to set on a model, or with ``@`` on one of its versions, and tags to remove."""

    positional = ("model", "tags")
    model: ModelRef
    tags: Tags = msgspec.field(default_factory=dict)
    remove: Annotated[list[str], Meta(description="keys of tags to remove")] = msgspec.field(default_factory=list)


class SetAlias(Request, frozen=True):
    """An alias to move."""

    positional = ("model", "alias")
    model: ModelRef
    alias: Annotated[str, Meta(pattern=r"^[\w-]{1,255}$", description="champion, challenger …")]
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
create = operation(
    "model.create",
    CreateModel,
    Done,
    permission="model:register",
    effect="change",
    help="Make a model that has no version yet.",
    example="mlops model create employment --description 'who has work'",
)
note = operation(
    "model.note",
    NoteModel,
    Done,
    effect="change",
    help="Describe a model or a version.",
    example="mlops model note employment@1 'the first that passed'",
)
tag = operation(
    "model.tag",
    TagModel,
    Done,
    effect="change",
    help="Set or remove tags of a model or a version.",
    example="mlops model tag employment@1 reviewed=yes",
)
rename = operation(
    "model.rename",
    RenameModel,
    Done,
    permission="model:register",
    effect="change",
    help="Give a model another name.",
    example="mlops model rename employment work",
)
delete = operation(
    "model.delete",
    OneModel,
    Done,
    permission="model:delete",
    effect="change",
    help="Delete a model or a version; it can be restored.",
    example="mlops model delete employment@1",
)
restore = operation(
    "model.restore",
    OneModel,
    Done,
    permission="model:delete",
    effect="change",
    help="Restore a deleted model or version.",
    example="mlops model restore employment@1",
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
