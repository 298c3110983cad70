"""Deployments and replayed traffic."""

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
    port: Annotated[int, Meta(ge=0, le=65535, description="0: a free one")] = 0
    host: Annotated[str, Meta(min_length=1, description="address to listen on; beyond loopback TLS is asked for")] = (
        "127.0.0.1"
    )
    tls_cert: Annotated[str, Meta(description="certificate chain in PEM: https instead of http")] = ""
    tls_key: Annotated[str, Meta(description="its key")] = ""
    tls_client_ca: Annotated[str, Meta(description="authority in PEM whose certificate clients must have")] = ""
    insecure: Annotated[bool, Meta(description="beyond loopback without TLS and tokens: something else has both")] = (
        False
    )
    workers: Annotated[int, Meta(ge=0, le=64, description="processes that answer; 0: as tuned, else 1")] = 0
    profile: Annotated[
        str,
        Meta(description="what tuning found for this machine: auto (the newest), latency, throughput, memory, none"),
    ] = "auto"
    environment: Annotated[str, Meta(description="local, staging or prod")] = "local"
    threads: Annotated[int, Meta(ge=1, le=256, description="threads that one request may use")] = 1
    provider: Annotated[str, Meta(description="where ONNX models run: cpu, cuda or tensorrt")] = "cpu"
    provider_policy: Annotated[
        str, Meta(description="without that GPU: require refuses the model, prefer serves it on the CPU and says so")
    ] = "prefer"
    gpu_memory_mb: Annotated[int, Meta(ge=0, description="MB of a GPU a model may have; 0: what it seems to need")] = 0
    python: Annotated[str, Meta(description="Python that runs torch and pyfunc models; empty: the agent's")] = ""
    engines: Annotated[int, Meta(ge=1, le=64, description="processes of such a model, shared by the workers")] = 1
    memory_mb: Annotated[int, Meta(ge=0, description="MB that such a model may have; 0: four fifths of all")] = 0
    features: Annotated[str, Meta(description="feature view: clients may send ids, its features are looked up")] = ""
    missing: Annotated[str, Meta(description="an id that nobody knows: refuse answers 404, blank has no features")] = (
        "refuse"
    )
    load_s: Annotated[float, Meta(gt=0, description="seconds until a model must be loaded")] = 120.0
    timeout_s: Annotated[float, Meta(gt=0, description="seconds until such a model must answer")] = 30.0
    grpc_port: Annotated[int, Meta(ge=0, le=65535, description="serve over gRPC too; needs the extra grpc")] = 0
    traces: Annotated[str, Meta(description="address of an OpenTelemetry collector; needs the extra otel")] = ""
    log_sample: Annotated[float, Meta(ge=0, le=1, description="share of the requests in the inference log")] = 1.0
    redact: Annotated[list[str], Meta(description="columns that are never written to it")] = msgspec.field(
        default_factory=list
    )


class Kill(Request, frozen=True):
    """A deployment, or one of its revisions, whose answers stop or go on. Clients are told the reason that is given."""

    positional = ("deployment",)
    deployment: DeployRef
    revision: Annotated[str, Meta(description="label of the revision; empty: all of them")] = ""


class SetFallback(Request, frozen=True):
    """Who answers when a revision fails, takes too long or is switched off; what is not said is as at first."""

    positional = ("deployment",)
    deployment: DeployRef
    revision: Annotated[str, Meta(description="its label, or model@version; empty: the stable revision")] = ""
    on: Annotated[list[str], Meta(description="error, timeout, toggle; default, all of them")] = msgspec.field(
        default_factory=list
    )
    timeout_ms: Annotated[float, Meta(ge=0, description="longest run; holds outside the event loop (over 1 ms)")] = 0.0
    last_resort: Annotated[str, Meta(description='constant for every output as JSON, such as {"score": 0.5}')] = ""
    remove: Annotated[bool, Meta(description="back to the beginning: stable on error, no time limit, no constant")] = (
        False
    )


class Revision(msgspec.Struct, kw_only=True):
    """A model version inside a deployment, with its share of the traffic and its figures since it began.

    ``engine`` (onnx, torch, pyfunc) and ``provider`` (cpu, cuda, tensorrt) are those that it really has; ``condition``
    says what is wrong with them, if anything.
    """

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
    engine: str = ""
    provider: str = ""
    condition: str = ""


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
    fallback: str = ""
    profile: str = ""


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


class OneVersion(Request, frozen=True):
    """Names a model version."""

    positional = ("model",)
    model: Annotated[str, Meta(description="model@version or model@alias")]


class ServeVersion(OneVersion, frozen=True):
    """A version to serve here, and the profile that it shall be served by."""

    profile: Annotated[str, Meta(description="auto (the newest), latency, throughput, memory, none")] = "auto"


class Servable(Answer):
    """Where a version's model lies and what runs it, as the servers read it from a routes file.

    ``facts`` are those of its profile (workers, threads, gather_ms), where one holds on this machine; ``profile`` says
    which, or why none.
    """

    id: str
    name: str
    label: str
    model: dict[str, Any]
    facts: dict[str, Any] = msgspec.field(default_factory=dict)
    profile: str = ""


class MakeBundle(Request, frozen=True):
    """What to pack, and where the bundle goes."""

    positional = ("name", "folder")
    name: Annotated[str, Meta(description="deployment, model@version or model@alias")]
    folder: Annotated[str, Meta(min_length=1, description="folder to make, or a file that ends in .tar.gz")]
    sign: Annotated[bool, Meta(description="sign it with this store's key")] = True


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
fallback = operation(
    "deploy.fallback",
    SetFallback,
    Done,
    permission="rollout:control",
    effect="change",
    help="Say who answers when a revision fails, takes too long or is switched off.",
    example="mlops deploy fallback employment --revision v1 --timeout-ms 50 --last-resort '{\"score\": 0.5}'",
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
    ServeVersion,
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
