"""What a deployment does right now, by its servers' counters, and what it did lately, by its inference log."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mlops_tui.contracts.deploy import DeployRef, OneDeployment
from mlops_tui.contracts.operation import Answer, Request, operation


class Worker(msgspec.Struct, kw_only=True):
    """One serving process; ``memory`` is what it and its children hold, in bytes, None when nobody can say."""

    slot: int
    pid: int | None
    ready: bool
    memory: int | None
    connections: int
    restarts: int


class RevisionLoad(msgspec.Struct, kw_only=True):
    """A revision by the counters: totals since they began, and rates over the last seconds."""

    revision: str
    requests: int
    model_errors: int
    client_errors: int
    fallbacks: int
    rows: int
    requests_s: float | None
    errors_s: float | None


class Load(Answer):
    """The servers of a deployment now. Rates are over ``over_s`` seconds, None when nobody has looked so long."""

    deployment: str
    ts: int
    over_s: float
    requests_s: float | None
    rows_s: float | None
    connections: int
    memory: int | None
    restarts: int
    turned_away: int
    logged_rows: int
    dropped_rows: int
    workers: list[Worker]
    revisions: list[RevisionLoad]


class CurvesRequest(Request, frozen=True):
    """Whose curves, and over which time."""

    positional = ("deployment",)
    deployment: DeployRef
    minutes: Annotated[float, Meta(gt=0, le=10_080, description="how far back, where no beginning is said")] = 30.0
    since: Annotated[int, Meta(ge=0, description="from this moment on, in µs; 0: minutes ago")] = 0
    until: Annotated[int, Meta(ge=0, description="up to this moment, in µs; 0: now")] = 0
    points: Annotated[int, Meta(ge=1, le=1000, description="points of a curve at most")] = 60


class CurvePoint(msgspec.Struct, kw_only=True):
    """What one revision did in one stretch of time that begins at ``ts``; latencies are right within 5 %."""

    ts: int
    revision: str
    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None


class ServedCurves(Answer):
    """Requests, model errors and latencies of each revision over time, oldest first; each point is ``width_s`` long.

    Copies of requests that a shadow answered count for it like requests.
    """

    deployment: str
    since: int
    until: int
    width_s: float
    points: list[CurvePoint]


load = operation(
    "deploy.load",
    OneDeployment,
    Load,
    help="Show how busy a deployment is: requests a second, workers, memory.",
    example="mlops deploy load employment",
)
curves = operation(
    "deploy.curves",
    CurvesRequest,
    ServedCurves,
    help="Show requests, errors and latencies of each revision over time.",
    example="mlops deploy curves employment --minutes 10",
)
