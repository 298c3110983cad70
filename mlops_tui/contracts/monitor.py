"""Drift, alerts, automations and A/B tests: what live traffic says about a model."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from mlops_tui.contracts.deploy import DeployRef
from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.operation import Answer, Done, Request, Started, operation


class AddMonitor(Request, frozen=True):
    """A deployment to watch."""

    positional = ("deployment",)
    deployment: DeployRef
    reference: Annotated[
        str, Meta(description="training set to compare with; default: the rows that the model was evaluated on")
    ] = ""
    window_s: Annotated[float, Meta(gt=0, description="seconds of traffic that one judgement covers")] = 3600.0
    every_s: Annotated[float, Meta(gt=0, description="seconds between judgements")] = 60.0
    min_rows: Annotated[int, Meta(ge=10, description="rows below which nothing is judged")] = 500
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    k: Annotated[int, Meta(ge=1, description="alert when k of the last n judgements show drift")] = 2
    n: Annotated[int, Meta(ge=1)] = 3


class CommitMonitor(Request, frozen=True):
    """What the profiling worker found; begins the watch."""

    deployment: str
    spec: dict[str, Any]
    reference: str
    profiles: dict[str, Any]


class OneMonitor(Request, frozen=True):
    """Names a monitor by its deployment."""

    positional = ("deployment",)
    deployment: DeployRef


class DriftFeature(msgspec.Struct, kw_only=True):
    """One feature's newest judgement: method and figures, the verdict, and the scores before it, oldest first.

    ``others`` are the distances that plugins tell, by the statistic's name.
    """

    feature: str
    kind: str
    psi: float | None
    js: float | None
    ks: float | None
    w1: float | None
    p_value: float | None
    n: int
    verdict: str
    method: str
    history: list[float]
    others: dict[str, float] = {}


class QualityPoint(msgspec.Struct, kw_only=True):
    """Quality on late labels in one window; ``coverage`` is the share of predictions that have a label."""

    ts: int
    n: int
    accuracy: float | None
    auc: float | None
    coverage: float
    estimated: bool = False


class Drift(Answer):
    """Drift of one deployment now, worst feature first."""

    deployment: str
    model: str
    reference: str
    window_s: float
    ts: int | None
    rows: int
    verdict: str
    text: str
    features: list[DriftFeature]
    score: DriftFeature | None
    quality: list[QualityPoint]


class DriftBins(Request, frozen=True):
    """One feature's histogram against its reference."""

    positional = ("deployment", "feature")
    deployment: DeployRef
    feature: str
    bins: Annotated[int, Meta(ge=2, le=64)] = 10


class Bins(Answer):
    """Shares a bin of reference and live traffic, each summing to 1."""

    feature: str
    labels: list[str]
    reference: list[float]
    live: list[float]
    n_reference: int
    n_live: int


class OneAlert(Request, frozen=True):
    """Names an alert."""

    positional = ("alert",)
    alert: Annotated[str, Meta(description="the beginning or end of an alert's id")]


class SilenceAlert(Request, frozen=True):
    """An alert to keep quiet for a while."""

    positional = ("alert",)
    alert: str
    hours: Annotated[float, Meta(gt=0, le=24 * 30)] = 4.0


class Alert(Answer):
    """An alert, whole. State is open, acknowledged, silenced or resolved."""

    id: str
    rule: str
    subject: str
    severity: str
    state: str
    opened: int
    closed: int | None
    acked_by: str
    text: str
    detail: dict[str, Any]


class OneAutomation(Request, frozen=True):
    """Names a proposal."""

    positional = ("automation",)
    automation: Annotated[str, Meta(description="the beginning or end of a proposal's id")]


class Automation(Answer):
    """A proposed or made response to an alert, with every input of the decision."""

    id: str
    kind: str
    subject: str
    state: str
    created: int
    alert: str
    text: str
    inputs: dict[str, Any]


class StartAb(Request, frozen=True):
    """Two versions to compare on live traffic."""

    positional = ("deployment", "a", "b")
    deployment: DeployRef
    a: Annotated[str, Meta(description="model@version, the control")]
    b: Annotated[str, Meta(description="model@version, the treatment")]
    split: Annotated[float, Meta(gt=0, lt=100, description="per cent of the traffic for B")] = 50.0
    metric: Annotated[str, Meta(description="'correct': the prediction agrees with its late label")] = "correct"
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    margin: Annotated[float, Meta(gt=0, description="difference that would matter, in the metric's unit")] = 0.01
    sticky: Annotated[
        str,
        Meta(
            description="what keeps a client at an arm: a header's name, or field:NAME; clients are counted then, "
            "else requests"
        ),
    ] = ""
    name: str = ""


class AbRef(Request, frozen=True):
    """Names a test by its name, its id, or its deployment (the newest)."""

    positional = ("test",)
    test: str


class Arm(msgspec.Struct, kw_only=True):
    """One arm: units that it got and of these the ones with a label, and the mean of the metric.

    A unit is a request, or a client where clients stick; its metric is the mean of its labelled rows.
    """

    arm: str
    label: str
    exposures: int
    n: int
    mean: float | None


class AbTest(Answer):
    """A test, whole. ``low`` and ``high`` bound B − A at every time at once (confidence sequence)."""

    id: str
    name: str
    deployment: str
    metric: str
    state: str
    started: int
    ended: int | None
    arms: list[Arm]
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_better: float | None
    srm_p: float | None
    verdict: str
    text: str
    needed: int | None
    looks: list[list[float]]


monitors = listing("monitor", "List monitors.", "mlops monitor list")
monitor_commit = operation(
    "monitor.commit", CommitMonitor, Done, effect="change", help="Begin to watch a deployment.", internal=True
)
monitor_add = operation(
    "monitor.add",
    AddMonitor,
    Started,
    effect="change",
    kind="job",
    help="Watch a deployment for drift and quality.",
    example="mlops monitor add employment --min-rows 500",
)
monitor_remove = operation(
    "monitor.remove",
    OneMonitor,
    Done,
    effect="change",
    help="Stop watching a deployment.",
    example="mlops monitor remove employment",
)
drifts = listing("drift", "List watched features with their newest judgement.", "mlops drift list 'verdict:drift'")
drift_show = operation(
    "drift.show",
    OneMonitor,
    Drift,
    help="Show drift and quality of a deployment.",
    example="mlops drift show employment",
)
drift_bins = operation(
    "drift.bins",
    DriftBins,
    Bins,
    help="Compare one feature's histogram with its reference.",
    example="mlops drift bins employment age",
)
alerts = listing("alert", "List alerts.", "mlops alert list 'state:open'")
alert_show = operation("alert.show", OneAlert, Alert, help="Show an alert.", example="mlops alert show 8f2c1a90")
alert_ack = operation(
    "alert.ack", OneAlert, Done, effect="change", help="Acknowledge an alert.", example="mlops alert ack 8f2c1a90"
)
alert_silence = operation(
    "alert.silence",
    SilenceAlert,
    Done,
    effect="change",
    help="Keep an alert quiet for some hours.",
    example="mlops alert silence 8f2c1a90 --hours 4",
)
automations = listing("automation", "List proposed and made responses.", "mlops automation list")
automation_show = operation(
    "automation.show",
    OneAutomation,
    Automation,
    help="Show a proposal with every input of the decision.",
    example="mlops automation show 8f2c1a90",
)
automation_run = operation(
    "automation.run",
    OneAutomation,
    Done,
    permission="automation:run",
    effect="change",
    help="Accept a proposal.",
    example="mlops automation run 8f2c1a90",
)
automation_dismiss = operation(
    "automation.dismiss",
    OneAutomation,
    Done,
    effect="change",
    help="Turn a proposal down.",
    example="mlops automation dismiss 8f2c1a90",
)
tests = listing("ab", "List A/B tests.", "mlops ab list")
ab_start = operation(
    "ab.start",
    StartAb,
    AbTest,
    permission="ab:start",
    effect="change",
    help="Compare two versions on live traffic.",
    example="mlops ab start employment employment@1 employment@2",
)
ab_status = operation(
    "ab.status", AbRef, AbTest, help="Show an A/B test: arms, interval, verdict.", example="mlops ab status employment"
)
ab_stop = operation(
    "ab.stop",
    AbRef,
    Done,
    permission="ab:start",
    effect="change",
    help="End an A/B test; what was stable before takes all traffic again.",
    example="mlops ab stop employment",
)
