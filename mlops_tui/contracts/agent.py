"""The agent itself, this machine, plugins, SQL, and the snapshot that Home shows."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.operation import Answer, Done, Empty, Request, operation

TRACKING_URI, TRACKING_TOKEN = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"
"""Variables that MLflow's clients read."""


class AgentStatus(Answer):
    """The agent's state. Times in µs, ``lag_ms`` is the p99 event-loop lag of the last minute."""

    pid: int
    version: str
    protocol: int
    store: str
    schema: int
    encryption: str
    key_source: str
    home: str
    started: int
    stay: bool
    readers: int
    jobs_running: int
    spool_files: int
    spool_bytes_behind: int
    rows_ingested: int
    quarantined: int
    lag_ms: float
    listener: str


class Listen(Request, frozen=True):
    """Open the loopback listener, for clients that cannot use the Unix socket."""

    port: Annotated[int, Meta(ge=0, le=65535, description="0: a free one")] = 0


class Listener(Answer):
    """Where the loopback listener is; other users of this machine need the token."""

    url: str
    token: str


class Sql(Request, frozen=True):
    """One SELECT over the store."""

    positional = ("query",)
    query: Annotated[str, Meta(description="one SELECT statement")]
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000


class Rows(Answer):
    """Rows of a query; values that JSON cannot hold come as text."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool


class Device(msgspec.Struct, kw_only=True):
    """One GPU. A figure that the driver does not give is None, with the reason in ``notes``."""

    index: int
    name: str
    uuid: str
    util: float | None = None
    mem_used: int | None = None
    mem_total: int | None = None
    temp_c: float | None = None
    power_w: float | None = None
    notes: list[str] = []


class Process(msgspec.Struct, kw_only=True):
    """One process: ``cpu`` in per cent of one processor, memory in bytes, the GPUs that it is on."""

    pid: int
    user: str
    name: str
    cpu: float
    mem: int
    gpus: list[int]
    gpu_mem: float


class Host(Answer):
    """A machine now: shares in per cent, memory in bytes, network in bytes a second."""

    id: str
    name: str
    ts: int
    os: str
    cpu_model: str
    cpus: int
    cpu: float
    load: float
    mem_used: int
    mem_total: int
    disk_used: int
    disk_total: int
    net_down: float
    net_up: float
    gpus: list[Device]
    gpu_state: str
    limits: str
    processes: list[Process] = msgspec.field(default_factory=list)


class OneHost(Request, frozen=True):
    """Names a host; default, this one."""

    positional = ("host",)
    host: str = ""
    processes: Annotated[bool, Meta(description="also the busiest processes; takes a moment")] = False


class Attention(msgspec.Struct, kw_only=True):
    """Something that needs a person: severity fail, warn or busy; ``link`` is a deep link."""

    severity: str
    kind: str
    text: str
    ts: int
    link: str


class JobLine(msgspec.Struct, kw_only=True):
    """One running job with its curve so far."""

    id: str
    name: str
    kind: str
    status: str
    started: int
    progress: float | None
    metric: str
    value: float | None
    spark: list[float]
    link: str


class DriftLine(msgspec.Struct, kw_only=True):
    """The worst feature of one deployment."""

    deployment: str
    feature: str
    score: float | None
    verdict: str
    spark: list[float]
    link: str


class TrafficLine(msgspec.Struct, kw_only=True):
    """A rollout or an A/B test in progress."""

    kind: str
    name: str
    text: str
    state: str
    link: str


class RunLine(msgspec.Struct, kw_only=True):
    """A run with its headline metric."""

    id: str
    name: str
    experiment: str
    status: str
    metric: str
    value: float | None
    started: int
    git: str
    champion: bool


class EventLine(msgspec.Struct, kw_only=True):
    """One event of the change feed."""

    seq: int
    ts: int
    actor: str
    topic: str
    text: str
    link: str


class HomeSnapshot(Answer):
    """Everything that Home shows, read at one moment."""

    ts: int
    user: str
    environment: str
    readonly: bool
    attention: list[Attention]
    jobs: list[JobLine]
    host: Host | None
    drift: list[DriftLine]
    traffic: list[TrafficLine]
    runs: list[RunLine]
    events: list[EventLine]
    models: int
    deployments: int
    healthy: int
    cpu_hours_today: float
    gpu_hours_today: float
    cost_today: float | None
    currency: str
    residency: str
    audit_ok: bool | None
    audit_records: int
    audit_checked: int | None
    approvals: int


class TrustPlugin(Request, frozen=True):
    """A plugin to load from now on."""

    positional = ("plugin",)
    plugin: str
    revoke: bool = False


status = operation("agent.status", Empty, AgentStatus, help="Show the agent's state.", example="mlops agent status")
stop = operation(
    "agent.stop",
    Empty,
    Done,
    permission="agent:stop",
    effect="append",
    help="Drain and stop the agent; jobs and servers go on.",
    example="mlops agent stop",
)
listen = operation(
    "agent.url",
    Listen,
    Listener,
    permission="agent:listen",
    effect="append",
    help="Open the loopback listener and print its address.",
    example="mlops agent url",
)
sql = operation(
    "sql.query",
    Sql,
    Rows,
    permission="sql:read",
    help="Run one SELECT over the store, read-only.",
    example='mlops sql "select name, status from run"',
)
hosts = listing("host", "List machines.", "mlops host list")
host_show = operation(
    "host.show", OneHost, Host, help="Show a machine: processors, memory, GPUs, limits.", example="mlops host show"
)
home_show = operation("home.show", Empty, HomeSnapshot, help="Read everything that Home shows.", internal=True)
plugins = listing("plugin", "List plugins, built in and installed.", "mlops plugin list")
plugin_trust = operation(
    "plugin.trust",
    TrustPlugin,
    Done,
    permission="plugin:trust",
    effect="change",
    help="Load an installed plugin from now on.",
    example="mlops plugin trust mlops-energy",
)
