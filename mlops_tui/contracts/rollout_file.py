"""A rollout as a file: what comes in, by which steps, judged how. ``mlops rollout schema`` prints its JSON schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

API_VERSION = "mlops-tui/v1"
EVENTS = ("error", "latency", "wrong")
"""What can be bad of a request: the model failed, it was slow, its rows turned out wrong."""
Event = Literal["error", "latency", "wrong"]
Strategy = Literal["canary", "blue-green", "shadow", "ab", "recreate"]
OnNoData = Literal["hold", "proceed", "rollback"]
Duration = Annotated[
    str | float, Meta(description="seconds as a number, or with a unit: 30s, 10m, 2h, 7d", examples=["10m"])
]
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds(said: Any) -> float:
    """Return a duration in seconds.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(said, str):
        return float(said)
    number = said.strip().rstrip("msdh")
    unit = said.strip()[len(number) :] or "s"
    if unit not in _UNITS:
        raise ValueError(f"{said!r} is no duration")
    found = float(number) * _UNITS[unit]
    if not 0 <= found < float("inf"):
        raise ValueError(f"{said!r} is no duration")
    return found


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Base of every part of the file."""


class Step(Part, frozen=True):
    """One step: a share of the traffic, a copy of it, or a person's word. Exactly one of weight, shadow and approve.

    It is over ``for`` after it began if enough was seen and no harm, earlier once the version is proven safe.
    ``until: proven_safe`` waits for the proof, at most ``max``.
    """

    weight: Annotated[float, Meta(gt=0, lt=100, description="per cent of the traffic")] | None = None
    shadow: Annotated[bool, Meta(description="a copy of the traffic, whose answers nobody gets")] = False
    approve: Annotated[str, Meta(description="wait for a person's word; says whose, or on what")] = ""
    for_: Duration = msgspec.field(name="for", default=60.0)
    until: Annotated[Literal["proven_safe"], Meta(description="wait for the proof, not for a time")] | None = None
    max: Annotated[Duration, Meta(description="longest wait for the proof; then as without until")] = 86_400.0
    min_requests: Annotated[int, Meta(ge=1, description="instead of the analysis' own")] | None = None

    @property
    def kind(self) -> str:
        """What it is: weight, shadow or approve."""
        return "shadow" if self.shadow else "approve" if self.approve else "weight"

    @property
    def text(self) -> str:
        """The step in a word or two."""
        return f"{self.weight:g} %" if self.weight is not None else "shadow" if self.shadow else "approve"


class Harm(Part, frozen=True):
    """A comparison with stable: rolled back when the new version is shown to be worse, safe when shown not to be."""

    event: Event
    max_ratio: Annotated[float, Meta(gt=1, description="safe below so many times as often as stable")] = 1.25
    max_slowdown: Annotated[
        float, Meta(ge=1, description="latency: so many times as slow as stable is still no harm")
    ] = 1.25
    slack_ms: Annotated[float, Meta(ge=0, description="latency: and so many milliseconds more")] = 1.0


USUAL_CHECKS = (Harm(event="error"), Harm(event="latency"), Harm(event="wrong"))
"""Compared where nobody says what; ``wrong`` where labels come. Known by identity: who names the three has them."""


class Limit(Part, frozen=True):
    """An absolute limit on the new version, whatever stable does. Takes requests to be independent of each other."""

    event: Event
    max_share: Annotated[float, Meta(gt=0, lt=1, description="share of bad requests allowed, e.g. 0.01")]
    above_ms: Annotated[float, Meta(gt=0, description="latency: a request is bad above so many milliseconds")] = 100.0


class Drift(Part, frozen=True):
    """Scores of the new version against stable's: a change that is shown, and as great as ``max``."""

    max: Annotated[float, Meta(gt=0, lt=1, description="greatest distance of the two distributions (Kolmogorov)")] = 0.1
    then: Annotated[
        Literal["note", "hold", "rollback"],
        Meta(description="say it, wait for a person before the next step, or go back"),
    ] = "note"


class Analysis(Part, frozen=True):
    """How the new version is judged: every check has its part of ``alpha``, so that all together keep it."""

    every: Annotated[Duration, Meta(description="between two looks")] = 10.0
    alpha: Annotated[float, Meta(gt=0, lt=1, description="share of harmless versions that may be rolled back")] = 0.05
    min_requests: Annotated[int, Meta(ge=1, description="requests of the new version before any verdict")] = 200
    harm: Annotated[tuple[Harm, ...], Meta(description="default: error, latency, and wrong where labels have come")] = (
        USUAL_CHECKS
    )
    limits: tuple[Limit, ...] = ()
    drift: Drift | None = None
    on_no_data: Annotated[OnNoData, Meta(description="when a step is over and too little was seen")] = "hold"


class Orphan(Part, frozen=True):
    """What servers do by themselves when no agent has said for so long that their split still holds."""

    after: Duration = 60.0
    do: Literal["revert"] = "revert"


class StickBy(Part, frozen=True):
    """What keeps a client at a version: a header, or a field of the request. Exactly one.

    A field is looked for in the request's ``parameters`` (``params`` of MLflow), its input or column of that name, and
    the model's features. Of several rows the first one decides; without it a request is drawn by weight.
    """

    header: Annotated[str, Meta(description="its name, e.g. X-User-Id")] = ""
    field: Annotated[str, Meta(description="its name, e.g. customer_id")] = ""


class Fallback(Part, frozen=True):
    """Who answers when a revision fails, takes too long or is switched off, from the rollout's beginning on."""

    to: Annotated[str, Meta(description="a revision's label or model@version; empty: the stable revision")] = ""
    on: tuple[Literal["error", "timeout", "toggle"], ...] = ("error", "timeout", "toggle")
    timeout: Annotated[Duration | None, Meta(description="longest run; holds for what takes over a millisecond")] = None
    last_resort: Annotated[dict[str, Any], Meta(description="a constant for every output by its name")] | None = None


class Spec(Part, frozen=True):
    """A version to bring into a deployment."""

    deployment: str
    model: Annotated[str, Meta(description="model@version or model@alias")]
    digest: Annotated[
        str, Meta(description="digest of the version's file as `mlops version show` has it: anything else is refused")
    ] = ""
    strategy: Strategy = "canary"
    sticky: Annotated[
        str | StickBy,
        Meta(
            description="what keeps a client at a version: a header's name, field:NAME, or id for the request's own id"
        ),
    ] = ""
    warmup: (
        Annotated[
            int,
            Meta(
                ge=0, le=10_000, description="recent requests replayed before it gets any traffic; default 100, 0: none"
            ),
        ]
        | None
    ) = None
    steps: tuple[Step, ...] = ()
    analysis: Analysis = Analysis()
    override_gates: Annotated[
        str, Meta(description="why a version may come in whose gates failed, or that production has none of; audited")
    ] = ""
    on_failure: Annotated[
        Literal["rollback", "pause"], Meta(description="on harm: end it, or give stable all and wait for a person")
    ] = "rollback"
    orphan: Orphan | None = None
    fallback: Annotated[Fallback, Meta(description="it stays after the rollout")] | None = None
    keep_old: Annotated[Duration, Meta(description="the old version stays loaded so long after the switch")] = 600.0
    rollback_window: Annotated[Duration, Meta(description="how long a rollback may skip steps and analysis")] = "7d"
    deadline: Annotated[Duration, Meta(description="rolled back when it is not done by then")] = "1d"


class Metadata(Part, frozen=True):
    """Words of yours; nothing is done by them."""

    name: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class RolloutFile(Part, frozen=True):
    """The whole file."""

    api_version: Literal["mlops-tui/v1"]
    kind: Literal["Rollout"]
    spec: Spec
    metadata: Metadata = Metadata()


def schema() -> dict[str, Any]:
    """Return the JSON schema of a rollout file."""
    told = msgspec.json.schema(RolloutFile)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mlops-tui rollout", **told}


def main() -> None:
    """Write the schema beside this file, where ``mlops rollout schema`` reads it."""
    import json
    from pathlib import Path

    text = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    Path(__file__).with_name("rollout.schema.json").write_text(text)


if __name__ == "__main__":
    main()
