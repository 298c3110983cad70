"""In and out: what other trackers hold comes in, and everything goes out in forms that need no program of ours."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mlops_tui.contracts.operation import Answer, Empty, Request, Started, operation


class ImportMlflow(Request, frozen=True):
    """Where MLflow keeps its runs. Again and again is fine: what is here already is not read twice."""

    positional = ("source",)
    source: Annotated[str, Meta(description="http(s)://SERVER, a folder like ./mlruns, or sqlite:///FILE")]
    experiment: Annotated[list[str], Meta(description="only this experiment")] = msgspec.field(default_factory=list)
    artifacts: Annotated[bool, Meta(description="bring the runs' files too")] = True
    models: Annotated[bool, Meta(description="bring registered models, versions and aliases too")] = True
    wire: Annotated[bool, Meta(description="ask the server for every point, though its database lies here")] = False
    look: Annotated[bool, Meta(description="only say what would come; --dry-run does this")] = False


class ImportWandb(Request, frozen=True):
    """Where W&B keeps the runs of a project on this machine."""

    positional = ("source",)
    source: Annotated[str, Meta(description="folder that holds wandb/, wandb/ itself, or one run in it")]
    experiment: Annotated[list[str], Meta(description="only this project")] = msgspec.field(default_factory=list)
    artifacts: Annotated[bool, Meta(description="bring the runs' files too")] = True
    look: Annotated[bool, Meta(description="only say what would come; --dry-run does this")] = False


class ExportStore(Request, frozen=True):
    """Where everything goes: Parquet tables, files, and an MLflow database that any MLflow opens."""

    positional = ("folder",)
    folder: Annotated[str, Meta(description="folder to make; an export that was stopped there goes on")]
    all: Annotated[bool, Meta(description="every experiment")] = False
    experiment: Annotated[list[str], Meta(description="only this experiment")] = msgspec.field(default_factory=list)
    artifacts: Annotated[bool, Meta(description="write the files too")] = True


class FoundExperiment(msgspec.Struct, kw_only=True):
    """An experiment of the source; times in µs."""

    name: str
    created: int
    source_id: str = ""
    note: str = ""
    tags: dict[str, str] = {}
    deleted: bool = False
    number: int = 0


class FoundData(msgspec.Struct, kw_only=True):
    """A data set that a run used, as MLflow describes it; ``tags`` hold its context."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: dict[str, str] = {}

    @property
    def context(self) -> str:
        return self.tags.get("mlflow.data.context", "")


class FoundFile(msgspec.Struct, kw_only=True):
    """A file of a run that lies among the artifacts already."""

    path: str
    digest: str
    size: int
    ts: int


class FoundLink(msgspec.Struct, kw_only=True):
    """A logged model that a run read (``in``) or made (``out``)."""

    model: str
    way: str
    step: int = 0


class FoundFigure(msgspec.Struct, kw_only=True):
    """A figure of a logged model; ``value`` as text, for it may be no number in JSON. ``ts`` in µs."""

    key: str
    value: str
    step: int
    ts: int
    run: str
    dataset: str = ""
    digest: str = ""


class FoundLogged(msgspec.Struct, kw_only=True):
    """A logged model of the source; times in µs."""

    id: str
    name: str
    experiment: str
    status: str
    run: str
    created: int
    updated: int
    kind: str = ""
    deleted: bool = False
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    metrics: list[FoundFigure] = []
    files: list[FoundFile] = []


class FoundRun(msgspec.Struct, kw_only=True):
    """A run of the source; times in µs. ``mark`` changes whenever the source says anything else of it."""

    id: str
    source_id: str
    experiment: str
    name: str
    status: str
    started: int
    ended: int | None = None
    actor: str = ""
    parent: str | None = None
    kind: str = "train"
    command: str = ""
    git_sha: str = ""
    git_branch: str = ""
    host: str = ""
    error: str = ""
    note: str = ""
    facts: str = "{}"
    deleted: bool = False
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    data: list[FoundData] = []
    models: list[FoundLink] = []
    files: list[FoundFile] = []
    mark: str = ""
    digest: str = ""


class Known(Request, frozen=True):
    """Runs of a source with their marks."""

    runs: dict[str, str]
    files: bool


class Wanted(Answer):
    """Which runs are new or have changed, and the digests of those that are here as they are."""

    runs: list[str]
    digests: dict[str, str]


class Take(Request, frozen=True):
    """Some whole runs. ``points`` names a file in the job's folder; ``series`` says of which run and metric each is."""

    job: str
    source: str
    experiments: list[FoundExperiment]
    runs: Annotated[list[FoundRun], Meta(min_length=1)]
    series: list[tuple[int, str]]
    points: str
    files: bool


class TakeLogged(Request, frozen=True):
    """Logged models, whole. Their runs and experiments are here already."""

    models: list[FoundLogged]


class ExportPage(Request, frozen=True):
    """Some runs after one, in order of their ids, with their points in a file of the job's folder."""

    job: str
    experiments: list[str]
    after: str = ""


class ExportedPage(Answer):
    """Whole runs; ``points`` names the file, ``series`` says whose each is. Without runs it was the last."""

    runs: list[FoundRun]
    series: list[tuple[int, str]]
    points: str


class ExportRest(Request, frozen=True):
    """What is not of runs, of some experiments; none: of all."""

    experiments: list[str]


class ExportedRest(Answer):
    """Experiments, and logged models with the names of their files."""

    experiments: list[FoundExperiment]
    logged: list[FoundLogged]


class OutVersion(msgspec.Struct, kw_only=True):
    """A version of a registered model; times in µs."""

    version: int
    source: str
    run: str
    logged: str
    description: str
    stage: str
    actor: str
    created: int
    updated: int
    tags: dict[str, str]
    files: list[FoundFile]


class OutModel(msgspec.Struct, kw_only=True):
    """A registered model; times in µs."""

    name: str
    description: str
    created: int
    updated: int
    tags: dict[str, str]
    aliases: dict[str, int]
    versions: list[OutVersion]


class ExportedModels(Answer):
    """The registered models."""

    models: list[OutModel]


class Taken(Answer):
    """What was new."""

    runs: int
    points: int


mlflow = operation(
    "import.mlflow",
    ImportMlflow,
    Started,
    effect="change",
    kind="job",
    help="Bring runs and models from MLflow: a server, a folder or a database.",
    example="mlops import mlflow ./mlruns --dry-run",
)
wandb = operation(
    "import.wandb",
    ImportWandb,
    Started,
    effect="change",
    kind="job",
    help="Bring runs that W&B has written on this machine.",
    example="mlops import wandb ./wandb --dry-run",
)
take_logged = operation(
    "import.logged",
    TakeLogged,
    Taken,
    permission="import:write",
    effect="append",
    help="Hand in logged models of a source.",
    internal=True,
)
store = operation(
    "export.store",
    ExportStore,
    Started,
    effect="change",
    kind="job",
    help="Write runs and models as Parquet, files and an MLflow database.",
    example="mlops export --all ./everything",
)
page = operation(
    "export.page", ExportPage, ExportedPage, permission="export:write", help="Read whole runs.", internal=True
)
rest = operation(
    "export.rest", ExportRest, ExportedRest, permission="export:write", help="Read what is not of runs.", internal=True
)
registered = operation(
    "export.models", Empty, ExportedModels, permission="export:write", help="Read registered models.", internal=True
)
known = operation("import.known", Known, Wanted, help="Ask which runs of a source are not here.", internal=True)
take = operation(
    "import.take",
    Take,
    Taken,
    permission="import:write",
    effect="append",
    help="Hand in runs of a source.",
    internal=True,
)
