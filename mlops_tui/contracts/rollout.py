"""Rollouts: a version comes in step by step, is judged meanwhile, and goes back when it does harm."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.operation import Answer, Done, Operation, Request, operation

DeployRef = Annotated[str, Meta(description="name of the deployment")]


class StartRollout(Request, frozen=True):
    """A version to bring in step by step: by a file, or by the usual choices."""

    positional = ("deployment", "model")
    deployment: DeployRef = ""
    model: Annotated[str, Meta(description="model@version")] = ""
    file: Annotated[str, Meta(description="the rollout as YAML (kind: Rollout), instead of everything else")] = ""
    strategy: Annotated[str, Meta(description="canary, blue-green, shadow, ab or recreate")] = "canary"
    steps: Annotated[list[float], Meta(description="weights of the new version in per cent")] = msgspec.field(
        default_factory=lambda: [5.0, 25.0, 50.0]
    )
    sticky: Annotated[
        str,
        Meta(description="keeps a client at a version: a header, field:NAME of the request, or id for each request"),
    ] = ""
    warmup: Annotated[
        int, Meta(ge=0, le=10_000, description="recent requests replayed before the version gets any traffic")
    ] = 100
    step_s: Annotated[float, Meta(ge=0, description="seconds at least on each step")] = 60.0
    look_s: Annotated[float, Meta(gt=0, description="seconds between looks")] = 10.0
    deadline_s: Annotated[float, Meta(gt=0, description="seconds after which it is rolled back")] = 86_400.0
    events: Annotated[
        list[str],
        Meta(description="what is compared with stable; usually error, latency, and wrong where labels have come"),
    ] = msgspec.field(default_factory=list)
    alpha: Annotated[float, Meta(gt=0, lt=1, description="share of harmless versions that may be rolled back")] = 0.05
    max_ratio: Annotated[float, Meta(gt=1, description="safe below so many times as often as stable")] = 1.25
    min_requests: Annotated[
        int, Meta(ge=1, description="requests, or labelled ones, of the new version below which nothing is judged")
    ] = 200
    on_no_data: Annotated[str, Meta(description="hold, proceed or rollback")] = "hold"
    keep_old_s: Annotated[float, Meta(ge=0, description="seconds that the old version stays loaded after")] = 600.0
    override_gates: Annotated[
        str, Meta(description="why a version may come in whose gates failed, or in prod never ran; audited")
    ] = ""
    supersede: Annotated[bool, Meta(description="end a rollout that is under way there, and begin this one")] = False


class RolloutRef(Request, frozen=True):
    """Names a rollout by its id, or by its deployment (the newest)."""

    positional = ("rollout",)
    rollout: Annotated[str, Meta(description="deployment, or the beginning or end of a rollout's id")]


class OneDeployment(Request, frozen=True):
    """A deployment to bring back to what it served before."""

    positional = ("deployment",)
    deployment: DeployRef


class HistoryRequest(Request, frozen=True):
    """Whose history, and how much of it."""

    positional = ("deployment",)
    deployment: DeployRef
    limit: Annotated[int, Meta(ge=1, le=1000, description="entries at most, newest first")] = 50


class Look(msgspec.Struct, kw_only=True):
    """One look at the evidence: badness and units of canary and stable so far, e-values as natural logs.

    A unit is a request for the events ``error`` and ``latency``, a labelled request for ``wrong`` (its badness the
    share of its rows that are). ``step`` is the one whose traffic the look brought.
    """

    step: int
    look: int
    event: str
    ts: int
    bad_canary: float
    n_canary: int
    bad_stable: float
    n_stable: int
    log_e_harm: float
    log_e_safe: float
    verdict: str


class Check(msgspec.Struct, kw_only=True):
    """What a rollout is judged by, as it stands: ``harm`` against stable, an absolute ``limit``, or ``drift``.

    E-values are natural logs; a verdict needs ``log_needed``. ``text`` says in a sentence how it stands. Of several
    marks the counts are those at ``mark``, the one that tells most.
    """

    kind: str
    event: str
    verdict: str
    text: str
    log_e_harm: float
    log_e_safe: float
    log_needed: float
    bad_canary: float
    n_canary: int
    bad_stable: float
    n_stable: int
    hold: bool
    mark: int = 0


class StepShown(msgspec.Struct, kw_only=True):
    """One step: ``weight`` (per cent), ``shadow`` or ``approve``; ``text`` in a word or two."""

    kind: str
    weight: float
    text: str


class RolloutEvent(msgspec.Struct, kw_only=True):
    """One transition of a rollout."""

    ts: int
    state: str
    step: int
    weight: float
    text: str
    actor: str


class Rollout(Answer):
    """A rollout, whole; ``looks`` are the newest of each event first.

    ``text`` is the reason of the last transition, ``why`` the reason why it stands where it does, ``compared`` how a
    shadow's answers differ from those that clients got, ``sees`` what harm its steps would show, as told beforehand.
    """

    id: str
    deployment: str
    strategy: str
    state: str
    step: int
    steps: list[StepShown]
    stable: str
    canary: str
    digest: str
    started: int
    ended: int | None
    actor: str
    text: str
    why: str
    watched_s: float
    deadline_s: float
    looks: list[Look]
    checks: list[Check]
    events: list[RolloutEvent]
    compared: str = ""
    sees: str = ""


class Shift(msgspec.Struct, kw_only=True):
    """One change of a deployment's traffic: what came into force, by what, by whom, why."""

    ts: int
    generation: int
    traffic: str
    by: str
    actor: str
    text: str


class History(Answer):
    """What a deployment's traffic went through, newest first; ``total`` of all of it."""

    deployment: str
    total: int
    shifts: list[Shift]


def _steer(verb: str, permission: str, help: str) -> Operation[RolloutRef, Done]:
    return operation(
        f"rollout.{verb}",
        RolloutRef,
        Done,
        permission=f"rollout:{permission}",
        effect="change",
        help=help,
        example=f"mlops rollout {verb} employment",
    )


rollouts = listing("rollout", "List rollouts.", "mlops rollout list")
start = operation(
    "rollout.start",
    StartRollout,
    Rollout,
    permission="rollout:start",
    effect="change",
    help="Bring in a version step by step.",
    example="mlops rollout start employment employment@2 --steps 5 --steps 25",
)
status = operation(
    "rollout.status",
    RolloutRef,
    Rollout,
    help="Show a rollout: step, evidence, timeline.",
    example="mlops rollout status employment",
)
pause = _steer("pause", "control", "Hold a rollout where it is.")
resume = _steer("resume", "control", "Let a paused rollout go on.")
approve = _steer("approve", "promote", "Say the word that a rollout waits for.")
promote = _steer("promote", "promote", "Give the new version all traffic now.")
abort = _steer("abort", "control", "End a rollout and give the stable version all traffic.")
rollback = operation(
    "rollout.rollback",
    OneDeployment,
    Done,
    permission="rollout:promote",
    effect="change",
    help="Bring a deployment back to what it served before.",
    example="mlops rollout rollback employment",
)
history = operation(
    "rollout.history",
    HistoryRequest,
    History,
    help="Show every change of a deployment's traffic.",
    example="mlops rollout history employment",
)
