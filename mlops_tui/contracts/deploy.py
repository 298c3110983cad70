"""Deployments, rollouts and replayed traffic."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.operation import Answer, Done, Request, Started, operation
from mlops_tui.contracts.run import LogLines

DeployRef = Annotated[str, Meta(description="name of the deployment")]


class OneDeployment(Request, frozen=True):
    """Names a deployment."""

    positional = ("deployment",)
    deployment: DeployRef


class CreateDeployment(Request, frozen=True):
    """A model version to serve."""

    positional = ("name", "model")
    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="name of the deployment")]
    model: Annotated[str, Meta(description="model@version or model@alias")]
    target: Annotated[str, Meta(description="where: local, or a place that a plugin brings")] = "local"
    port: Annotated[int, Meta(ge=0, le=65535, description="port on loopback; 0: a free one")] = 0
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    environment: Annotated[str, Meta(description="local, staging or prod")] = "local"


class Kill(Request, frozen=True):
    """A deployment, or one of its revisions, whose answers stop or go on."""

    positional = ("deployment",)
    deployment: DeployRef
    revision: Annotated[str, Meta(description="label of the revision; empty: all of them")] = ""


class Revision(msgspec.Struct, kw_only=True):
    """A model version inside a deployment, with its share of the traffic and its figures since it began."""

    id: str
    no: int
    label: str
    model: str
    version: int
    role: str
    weight: float
    status: str
    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None


class Deployment(Answer):
    """A deployment, whole. ``rollout`` is the id of the one in progress."""

    id: str
    name: str
    target: str
    environment: str
    status: str
    url: str
    pid: int | None
    created: int
    actor: str
    generation: int
    acknowledged: int
    revisions: list[Revision]
    rollout: str | None
    text: str


class DeployLog(Request, frozen=True):
    """Which part of a deployment's log."""

    positional = ("deployment",)
    deployment: DeployRef
    lines: Annotated[int, Meta(ge=1, le=10_000)] = 200


class Replay(Request, frozen=True):
    """A data set to send as live traffic, in order, with labels that arrive later."""

    positional = ("deployment", "data")
    deployment: DeployRef
    data: Annotated[str, Meta(description="data set version with the raw columns")]
    labels: Annotated[str, Meta(description="data set version of id and label; empty: a column of the data")] = ""
    label_column: Annotated[str, Meta(description="column of the labels; empty: the one that the model learned")] = ""
    id_column: Annotated[str, Meta(description="column of the rows' ids; empty: the key of the model's features")] = ""
    where: Annotated[str, Meta(description="SQL condition on the rows to send")] = ""
    rows: Annotated[int, Meta(ge=0, description="rows at most; 0: all")] = 0
    rate: Annotated[float, Meta(ge=0, description="requests a second; 0: as fast as it goes")] = 0.0
    batch: Annotated[int, Meta(ge=1, le=4096, description="rows a request")] = 1
    label_delay_s: Annotated[float, Meta(ge=0)] = 0.0
    prefix: Annotated[
        str, Meta(description="put before each row's id to make the request id; empty: one of this replay's own")
    ] = ""


class StartRollout(Request, frozen=True):
    """A version to bring in step by step."""

    positional = ("deployment", "model")
    deployment: DeployRef
    model: Annotated[str, Meta(description="model@version")]
    strategy: Annotated[str, Meta(description="canary, blue-green or shadow")] = "canary"
    steps: Annotated[list[float], Meta(description="weights of the canary in per cent")] = msgspec.field(
        default_factory=lambda: [5.0, 25.0, 50.0]
    )
    step_s: Annotated[float, Meta(ge=0, description="seconds at least on each step")] = 60.0
    look_s: Annotated[float, Meta(gt=0, description="seconds between looks")] = 10.0
    deadline_s: Annotated[float, Meta(gt=0, description="seconds after which it is rolled back")] = 86_400.0
    events: Annotated[list[str], Meta(description="bad events to judge: error, wrong")] = msgspec.field(
        default_factory=lambda: ["error", "wrong"]
    )
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    max_ratio: Annotated[float, Meta(gt=1)] = 1.25
    min_requests: Annotated[
        int, Meta(ge=1, description="failed or labelled units of the canary below which nothing is judged")
    ] = 200
    on_no_data: Annotated[str, Meta(description="hold, proceed or rollback")] = "hold"


class RolloutRef(Request, frozen=True):
    """Names a rollout by its id, or by its deployment (the newest)."""

    positional = ("rollout",)
    rollout: Annotated[str, Meta(description="deployment, or the beginning or end of a rollout's id")]


class Look(msgspec.Struct, kw_only=True):
    """One look at the evidence: bad events and units of canary and stable so far, e-values as natural logs.

    A unit is a request for the event ``error``, a labelled row for ``wrong``.
    """

    step: int
    look: int
    event: str
    ts: int
    bad_canary: int
    n_canary: int
    bad_stable: int
    n_stable: int
    log_e_harm: float
    log_e_safe: float
    verdict: str


class RolloutEvent(msgspec.Struct, kw_only=True):
    """One transition of a rollout."""

    ts: int
    state: str
    step: int
    weight: float
    text: str
    actor: str


class Rollout(Answer):
    """A rollout, whole; ``looks`` are the newest of each event first."""

    id: str
    deployment: str
    strategy: str
    state: str
    step: int
    steps: list[float]
    stable: str
    canary: str
    started: int
    ended: int | None
    actor: str
    text: str
    looks: list[Look]
    events: list[RolloutEvent]


class OneVersion(Request, frozen=True):
    """Names a model version."""

    positional = ("model",)
    model: Annotated[str, Meta(description="model@version or model@alias")]


class Servable(Answer):
    """Where a version's model lies and what runs it, as the servers read it from a routes file."""

    id: str
    name: str
    label: str
    model: dict[str, Any]


class MakeBundle(Request, frozen=True):
    """What to pack, and where the bundle goes."""

    positional = ("name", "folder")
    name: Annotated[str, Meta(description="deployment, model@version or model@alias")]
    folder: Annotated[str, Meta(min_length=1, description="folder to make, or a file that ends in .tar.gz")]
    sign: Annotated[bool, Meta(description="sign it with this store's key")] = True


class RollbackDeployment(Request, frozen=True):
    """A deployment to bring back to what it served before."""

    positional = ("deployment",)
    deployment: DeployRef


deployments = listing("deploy", "List deployments.", "mlops deploy list")
show = operation(
    "deploy.show",
    OneDeployment,
    Deployment,
    help="Show a deployment: revisions, traffic, health.",
    example="mlops deploy show employment",
)
create = operation(
    "deploy.create",
    CreateDeployment,
    Deployment,
    permission="deploy:create",
    effect="change",
    help="Serve a model version (Open Inference Protocol v2).",
    example="mlops deploy create employment employment@champion",
)
remove = operation(
    "deploy.remove",
    OneDeployment,
    Done,
    permission="deploy:remove",
    effect="change",
    help="Stop serving and remove a deployment.",
    example="mlops deploy remove employment",
)
kill = operation(
    "deploy.kill",
    Kill,
    Done,
    permission="rollout:control",
    effect="change",
    help="Stop the answers of a deployment or revision at once (503, or the fallback).",
    example="mlops deploy kill employment --reason 'wrong scores'",
)
revive = operation(
    "deploy.revive",
    Kill,
    Done,
    permission="rollout:control",
    effect="change",
    help="Let a deployment or revision answer again.",
    example="mlops deploy revive employment",
)
logs = operation(
    "deploy.logs",
    DeployLog,
    LogLines,
    help="Read the log of a deployment's servers.",
    example="mlops deploy logs employment",
)
bundle = operation(
    "deploy.bundle",
    MakeBundle,
    Started,
    permission="deploy:bundle",
    effect="change",
    kind="job",
    help="Pack a deployment so that a machine without this store serves it.",
    example="mlops deploy bundle employment employment.tar.gz",
)
servable = operation(
    "deploy.servable",
    OneVersion,
    Servable,
    permission="deploy:infer",
    help="Tell a server of this machine where a model version lies.",
    internal=True,
)
replay = operation(
    "deploy.replay",
    Replay,
    Started,
    permission="deploy:infer",
    effect="change",
    kind="job",
    help="Send a data set as live traffic, with late labels.",
    example="mlops deploy replay employment census-2016 --labels labels-2016 --rate 200",
)
rollouts = listing("rollout", "List rollouts.", "mlops rollout list")
rollout_start = operation(
    "rollout.start",
    StartRollout,
    Rollout,
    permission="rollout:start",
    effect="change",
    help="Bring in a version step by step.",
    example="mlops rollout start employment employment@2 --steps 5 --steps 25",
)
rollout_status = operation(
    "rollout.status",
    RolloutRef,
    Rollout,
    help="Show a rollout: step, evidence, timeline.",
    example="mlops rollout status employment",
)
rollout_pause = operation(
    "rollout.pause",
    RolloutRef,
    Done,
    permission="rollout:control",
    effect="change",
    help="Hold a rollout where it is.",
    example="mlops rollout pause employment",
)
rollout_resume = operation(
    "rollout.resume",
    RolloutRef,
    Done,
    permission="rollout:control",
    effect="change",
    help="Let a paused rollout go on.",
    example="mlops rollout resume employment",
)
rollout_promote = operation(
    "rollout.promote",
    RolloutRef,
    Done,
    permission="rollout:promote",
    effect="change",
    help="Give the new version all traffic now.",
    example="mlops rollout promote employment",
)
rollout_abort = operation(
    "rollout.abort",
    RolloutRef,
    Done,
    permission="rollout:control",
    effect="change",
    help="End a rollout and give the stable version all traffic.",
    example="mlops rollout abort employment",
)
rollout_rollback = operation(
    "rollout.rollback",
    RollbackDeployment,
    Done,
    permission="rollout:promote",
    effect="change",
    help="Bring a deployment back to what it served before.",
    example="mlops rollout rollback employment",
)
