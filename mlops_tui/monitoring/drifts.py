"""What people see of drift: the list, one deployment whole, one feature's histogram."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import monitor as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.core.errors import NotFound
from mlops_tui.deploy import traffic
from mlops_tui.door import Context, implements
from mlops_tui.monitoring import counting
from mlops_tui.monitoring.monitors import find_monitor
from mlops_tui.monitoring.reference import SCORE, Monitor
from mlops_tui.stats.bins import coarse
from mlops_tui.stats.profile import NumericProfile
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

POINTS = 60
ORDER = ("drift", "warn", "ok", "too_few")

lists(
    Listing(
        noun="drift",
        source="""monitor m JOIN deployment d ON d.id = m.deployment_id
            JOIN drift_result r ON r.monitor_id = m.id AND r.ts = m.resulted""",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="deployment", label="deployment"),
            Column(name="feature", label="feature"),
            Column(name="verdict", label="verdict", kind="status"),
            Column(name="psi", label="PSI", kind="float"),
            Column(name="js", label="JS", kind="float"),
            Column(name="ks", label="KS", kind="float"),
            Column(name="w1", label="W1/σ", kind="float"),
            Column(name="p_value", label="p", kind="float"),
            Column(name="n", label="rows", kind="int"),
            Column(name="ts", label="when", kind="time"),
            Column(name="history", label="history", kind="spark"),
        ],
        expressions={
            "id": "m.id || '/' || r.feature",
            "deployment": "d.name",
            "feature": "r.feature",
            "verdict": "r.verdict",
            "psi": "r.psi",
            "js": "r.js",
            "ks": "r.ks",
            "w1": "r.w1",
            "p_value": "r.p_value",
            "n": "r.n",
            "ts": "epoch_us(r.ts)",
            "history": "r.history",
        },
        sort="-js",
        tenant="m.tenant",
        where="m.removed IS NULL AND d.removed IS NULL",
    )
)


@implements(contract.drift_show)
def show(ctx: Context, request: contract.OneMonitor) -> contract.Drift:
    """Show the newest judgement of every feature, worst first."""
    monitor, row = find_monitor(ctx, request.deployment)
    lines = _newest(ctx.session, monitor)
    features = [line for line in lines if line.feature != SCORE]
    stale = row["judged"] != row["resulted"]
    verdict = next((one for one in ORDER if not stale and any(line.verdict == one for line in lines)), "nodata")
    return contract.Drift(
        deployment=monitor.name,
        model=_model(ctx.session, monitor),
        reference=row["reference"],
        window_s=monitor.spec.window_s,
        ts=row["judged_us"],
        rows=0 if stale else max((line.n for line in lines), default=0),
        verdict=verdict,
        text=_sentence(verdict, lines),
        features=features,
        score=next((line for line in lines if line.feature == SCORE), None),
        quality=_quality(ctx.session, monitor),
    )


def _newest(session: Session, monitor: Monitor) -> list[contract.DriftFeature]:
    rows = session.dicts(
        """SELECT r.feature, r.psi, r.js, r.ks, r.w1, r.p_value, r.n, r.verdict, r.method, r.history, r.others
           FROM monitor m JOIN drift_result r ON r.monitor_id = m.id AND r.ts = m.resulted
           WHERE m.id = ?
           ORDER BY list_position(['drift', 'warn', 'ok'], r.verdict) NULLS LAST, r.js DESC NULLS LAST""",
        [monitor.id],
    )
    profiles = monitor.reference.profiles
    kinds = {True: "numeric", False: "categorical"}
    return [
        contract.DriftFeature(
            kind=kinds[isinstance(profiles[row["feature"]], NumericProfile)],
            **{**row, "others": msgspec.json.decode(row["others"], type=dict[str, float])},
        )
        for row in rows
    ]


def _sentence(verdict: str, lines: list[contract.DriftFeature]) -> str:
    drifted = [line.feature for line in lines if line.verdict == "drift"]
    if verdict == "drift":
        named = ", ".join(drifted[:3]) + (f" and {len(drifted) - 3} more" if len(drifted) > 3 else "")
        return f"{named} {'has' if len(drifted) == 1 else 'have'} drifted"
    if verdict == "nodata":
        return "no traffic in the last window" if lines else "no traffic yet"
    return {
        "warn": "differences that may be chance",
        "ok": "no drift",
        "too_few": "too few rows to judge",
    }[verdict]


def _model(session: Session, monitor: Monitor) -> str:
    now = traffic.current(session, monitor.deployment)
    name = session.value(
        """SELECT m.name FROM revision r JOIN model_version v ON v.id = r.version_id JOIN model m ON m.id = v.model_id
           WHERE r.deployment_id = ? AND r.no = ?""",
        [monitor.deployment, now.split.stable if now else 1],
    )
    return name or ""


def _quality(session: Session, monitor: Monitor) -> list[contract.QualityPoint]:
    """Return the newest measurements, oldest first."""
    rows: list[dict[str, Any]] = session.dicts(
        f"""SELECT * EXCLUDE (monitor_id) REPLACE (epoch_us(ts) AS ts) FROM quality_result
            WHERE monitor_id = ? ORDER BY quality_result.ts DESC LIMIT {POINTS}""",
        [monitor.id],
    )
    return [contract.QualityPoint(**row) for row in rows[::-1]]


@implements(contract.drift_bins)
def bins(ctx: Context, request: contract.DriftBins) -> contract.Bins:
    """Compare one feature's histogram with its reference, in a few bins."""
    monitor, _ = find_monitor(ctx, request.deployment)
    profile = monitor.reference.profiles.get(request.feature)
    if profile is None:
        raise NotFound(f"{monitor.name} has no feature {request.feature!r}", "", f"mlops drift show {monitor.name}")
    live = counting.window(ctx.session, monitor, ctx.now, request.feature).get(request.feature, [0] * profile.size)
    bars = coarse(profile, live, request.bins)
    n_reference, n_live = sum(bar.reference for bar in bars), sum(bar.live for bar in bars)
    return contract.Bins(
        feature=request.feature,
        labels=[bar.label for bar in bars],
        reference=[bar.reference / max(1, n_reference) for bar in bars],
        live=[bar.live / max(1, n_live) for bar in bars],
        n_reference=n_reference,
        n_live=n_live,
    )
