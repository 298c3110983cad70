"""Data sets and their versions, checks, and feature definitions."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.operation import Answer, Done, Request, Started, operation

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
DataRef = Annotated[str, Meta(description="data set, 'census' (newest) or 'census@3'")]


class OneData(Request, frozen=True):
    """Names a data set version."""

    positional = ("data",)
    data: DataRef


class AddData(Request, frozen=True):
    """A file to take in as the next version of a data set."""

    positional = ("name", "path")
    name: Annotated[str, Meta(pattern=NAME, description="name of the data set")]
    path: Annotated[str, Meta(description="Parquet, CSV or JSON-lines file")]
    checks: Annotated[str, Meta(description="file of checks that must hold; the version is refused otherwise")] = ""
    parent: Annotated[str, Meta(description="version that this one was made from")] = ""
    residency: Annotated[str, Meta(description="where the data may live, as a jurisdiction: AE, EU, US …")] = ""
    classification: Annotated[str, Meta(description="public, internal, personal, health or financial")] = "internal"


class CommitData(Request, frozen=True):
    """What the worker found; makes the version."""

    name: str
    path: str
    digest: str
    size: int
    rows: int
    format: str
    schema: list[dict[str, Any]]
    profile: dict[str, Any]
    checks: dict[str, Any] | None = None
    parent: str = ""
    residency: str = ""
    classification: str = "internal"
    made_by: str = ""


class DataVersion(Answer):
    """A data set version, whole. ``schema`` and ``profile`` have an entry a column."""

    id: str
    name: str
    version: int
    digest: str
    size: int
    rows: int
    format: str
    origin: str
    created: int
    actor: str
    residency: str
    classification: str
    parent: str
    schema: list[dict[str, Any]]
    profile: dict[str, Any]
    checks: dict[str, Any] | None
    tags: dict[str, str]
    consumers: list[str]


class DiffData(Request, frozen=True):
    """Two versions to compare."""

    positional = ("base", "other")
    base: DataRef
    other: DataRef


class DataDiff(Answer):
    """What changed in schema and statistics."""

    base: str
    other: str
    rows: int
    columns: list[dict[str, Any]]


class CheckData(Request, frozen=True):
    """Checks to run over a version."""

    positional = ("data", "checks")
    data: DataRef
    checks: Annotated[str, Meta(description="file of checks (YAML)")]


class TagData(Request, frozen=True):
    """Tags to set on a version; an empty value removes the tag."""

    positional = ("data", "tags")
    data: DataRef
    tags: Annotated[dict[str, str], Meta(description="key=value …")]


class FeatureDef(msgspec.Struct, kw_only=True):
    """A feature: a named, versioned SQL expression over the raw columns of its entity."""

    name: str
    version: int
    dtype: str
    expr: str
    entity: str = ""
    description: str = ""
    digest: str = ""
    created: int = 0


class ApplyFeatures(Request, frozen=True):
    """A file of feature definitions to register."""

    positional = ("path",)
    path: Annotated[str, Meta(description="YAML file of definitions")]
    name: Annotated[str, Meta(description="name of the view; default: the file's name without its ending")] = ""


class OneFeature(Request, frozen=True):
    """Names a feature."""

    positional = ("feature",)
    feature: Annotated[str, Meta(description="'age' (newest) or 'age@2'")]


class Feature(Answer):
    """A feature and who uses it."""

    definition: FeatureDef
    consumers: list[str]


class MakeTrainingSet(Request, frozen=True):
    """Features to compute over data sets; the result is a data set of its own."""

    positional = ("data",)
    data: Annotated[list[str], Meta(min_length=1, description="data sets; 'census+labels' joins a labels file by key")]
    name: Annotated[str, Meta(pattern=NAME, description="name of the resulting data set")]
    view: Annotated[str, Meta(description="feature view: the name of an applied file; empty: the newest")] = ""
    features: Annotated[list[str], Meta(description="features to take, in order; empty: the newest version of all")] = (
        msgspec.field(default_factory=list)
    )
    where: Annotated[str, Meta(description="SQL condition on the raw rows")] = ""


class Materialize(Request, frozen=True):
    """Features to compute for every entity of a data set, for servers to look up."""

    positional = ("view", "data")
    view: Annotated[str, Meta(description="feature view: the name of an applied file")]
    data: Annotated[str, Meta(description="data set with the raw columns; the newest row of each key counts")]
    time: Annotated[str, Meta(description="column that says when a row was true; empty: when the data was added")] = ""
    features: Annotated[list[str], Meta(description="features to take; empty: the newest version of all")] = (
        msgspec.field(default_factory=list)
    )


class Online(Request, frozen=True):
    """A table of online features that a worker wrote; ``newest`` is when its newest row was true, in µs."""

    view: str
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    size: int
    entities: int
    newest: int
    data: str


class Resolve(Request, frozen=True):
    """Names a feature view."""

    view: str = ""


class FeatureView(Answer):
    """An applied feature file, whole: what :class:`data.online.transform.FeatureFile` reads."""

    name: str
    digest: str
    record: dict[str, Any]


datasets = listing("data", "List data set versions.", "mlops data list")
add = operation(
    "data.add",
    AddData,
    Started,
    effect="change",
    kind="job",
    help="Take in a file as the next version of a data set.",
    example="mlops data add census sample_data/census/employment_2015.parquet",
)
commit = operation(
    "data.commit",
    CommitData,
    DataVersion,
    effect="change",
    help="Make a data set version from what a worker found.",
    internal=True,
)
show = operation(
    "data.show",
    OneData,
    DataVersion,
    help="Show a version: schema, profile, checks, consumers.",
    example="mlops data show census@1",
)
diff = operation(
    "data.diff",
    DiffData,
    DataDiff,
    help="Compare two versions: schema and statistics.",
    example="mlops data diff census@1 census@2",
)
check = operation(
    "data.check",
    CheckData,
    Started,
    effect="change",
    kind="job",
    help="Check a version against schema and quality rules.",
    example="mlops data check census checks.yaml",
)
verify = operation(
    "data.verify",
    OneData,
    Started,
    effect="change",
    kind="job",
    help="Read a version back and compare its content hash.",
    example="mlops data verify census@1",
)
tag = operation(
    "data.tag",
    TagData,
    Done,
    effect="change",
    help="Set or remove tags of a version.",
    example="mlops data tag census@1 stage=gold",
)
features = listing("feature", "List feature definitions.", "mlops feature list")
feature_show = operation(
    "feature.show",
    OneFeature,
    Feature,
    help="Show a feature: its SQL and who uses it.",
    example="mlops feature show age",
)
feature_apply = operation(
    "feature.apply",
    ApplyFeatures,
    Done,
    effect="change",
    help="Register the feature definitions of a file.",
    example="mlops feature apply features.yaml",
)
training_set = operation(
    "feature.training-set",
    MakeTrainingSet,
    Started,
    effect="change",
    kind="job",
    help="Compute features over a data set.",
    example="mlops feature training-set census@1 --name census-train",
)
materialize = operation(
    "feature.materialize",
    Materialize,
    Started,
    effect="change",
    kind="job",
    help="Compute features for servers to look up by key.",
    example="mlops feature materialize features census@1",
)
online = operation(
    "feature.online", Online, Done, effect="change", help="Let servers look features up in a table.", internal=True
)
view_read = operation(
    "feature.view", Resolve, FeatureView, permission="feature:read", help="Read an applied feature file.", internal=True
)
