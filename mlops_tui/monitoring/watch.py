"""The live side: traffic becomes counts as it is taken in, counts become judgements. Nothing reads the rows again."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.door import Context, House, absorbs_segments, every
from mlops_tui.monitoring import alerts
from mlops_tui.monitoring.reference import SCORE, Monitor, monitor_of
from mlops_tui.serving.segments import SHADOW, Batch
from mlops_tui.stats import calibration, drift, profile, quality
from mlops_tui.store.session import Session

_MONITORS = "SELECT * FROM monitor WHERE removed IS NULL"


@absorbs_segments
def count(ctx: Context, deployment: str, batch: Batch) -> None:
    """Add the rows of a batch to the counts of every monitor of their deployment."""
    for row in ctx.session.dicts(f"{_MONITORS} AND deployment_id = ?", [deployment]):
        _count(ctx.session, monitor_of(row), batch)


def _count(session: Session, monitor: Monitor, batch: Batch) -> None:
    record = batch.record
    answered = (batch.flags[record] & SHADOW == 0) & (batch.status[record] != 1)
    bucket = batch.ts_us[record] // monitor.bucket_us
    revision = batch.revision_no[record]
    columns: dict[str, list[Any]] = {
        name: [] for name in ("monitor_id", "minute_us", "feature", "revision_no", "n", "counts")
    }
    for key in np.unique(np.stack([bucket, revision], axis=1)[answered], axis=0):
        rows = answered & (bucket == key[0]) & (revision == key[1])
        for name, one, values in _watched(monitor, batch, rows):
            counts = profile.count(one, values)
            added = (monitor.id, int(key[0]) * monitor.bucket_us, name, int(key[1]), int(rows.sum()), counts.tolist())
            for column, value in zip(columns.values(), added, strict=True):
                column.append(value)
    if columns["n"]:
        session.insert_columns("drift_bucket", columns)


def _watched(monitor: Monitor, batch: Batch, rows: Any) -> list[tuple[str, Any, Any]]:
    reference = monitor.reference
    if batch.features.shape[1] != len(reference.names):
        return []
    found = [(name, reference.features[name], batch.features[rows, at]) for at, name in enumerate(reference.names)]
    if reference.score is not None and batch.outputs.shape[1]:
        found.append((SCORE, reference.score, batch.outputs[rows, 0]))
    return found


@every(1.0, "monitoring.judge")
def turn(house: House) -> None:
    """Judge every monitor whose time has come."""
    for row in house.read(lambda s: s.dicts(f"{_MONITORS.replace('*', '*, epoch_us(judged) AS judged_us')}")):
        monitor = monitor_of(row)
        if now_us() - (row["judged_us"] or 0) >= monitor.spec.every_s * SECOND:
            judge(house, monitor)


def judge(house: House, monitor: Monitor) -> None:
    """Judge one window: drift of every feature and of the scores, quality on late labels, then alerts."""
    now = now_us()
    results = house.read(lambda s: _compare(s, monitor, now))
    found = house.read(lambda s: _quality(s, monitor, now))

    def keep(session: Session) -> Context:
        ctx = Context(house, alerts.engine(monitor.tenant), session, now=now)
        session.execute("UPDATE monitor SET judged = make_timestamp(?) WHERE id = ?", [now, monitor.id])
        for one in results:
            session.insert(
                "drift_result", monitor_id=monitor.id, ts_us=now, feature=one.column, psi=one.psi, js=one.js, ks=one.ks_high, w1=one.w1_sigma,
                p_value=one.p_page, n=one.n_live, verdict=one.verdict, method=f"{one.method}; {one.binning}",
            )  # fmt: skip
        if found is not None:
            session.insert("quality_result", monitor_id=monitor.id, ts_us=now, **found)
        _remember(ctx, monitor, results, found)
        alerts.consider(ctx, monitor, results, found)
        return ctx

    ctx = house.store.write(keep)
    house.feed.publish(ctx.events)
    house.touch("drift", monitor.deployment, monitor.tenant)


def window_counts(session: Session, monitor: Monitor, now: int) -> dict[str, Any]:
    """Return the counts of each feature over the monitor's window, by name."""
    since = now - int(monitor.spec.window_s * SECOND)
    sums: dict[str, Any] = {}
    rows = session.rows(
        "SELECT feature, counts FROM drift_bucket WHERE monitor_id = ? AND minute >= make_timestamp(?)",
        [monitor.id, since - since % monitor.bucket_us],
    )
    for feature, counts in rows:
        array = np.asarray(counts, dtype=np.int64)
        sums[feature] = sums[feature] + array if feature in sums else array
    return sums


def _compare(session: Session, monitor: Monitor, now: int) -> list[drift.Drift]:
    policy = drift.Policy(min_rows=monitor.spec.min_rows, page_alpha=monitor.spec.alpha)
    profiles = dict(monitor.reference.features)
    if monitor.reference.score is not None:
        profiles[SCORE] = monitor.reference.score
    sums = window_counts(session, monitor, now)
    return drift.judge(
        [drift.compare(profiles[name], counts, name, policy) for name, counts in sums.items() if name in profiles],
        policy,
    )


def _quality(session: Session, monitor: Monitor, now: int) -> dict[str, Any] | None:
    """Return quality on the labels that have come, else what the scores promise; None without traffic."""
    since = now - int(monitor.spec.window_s * SECOND)
    rows = session.rows(
        """SELECT i.score, l.truth FROM inference i LEFT JOIN label l ON l.deployment_id = i.deployment_id AND l.request_id = i.request_id AND l."row" = i."row"
           WHERE i.deployment_id = ? AND i.ts >= make_timestamp(?) AND NOT i.shadow AND i.status IN (0, 3) AND isfinite(i.score)""",
        [monitor.deployment, since],
    )
    if not rows:
        return None
    score = np.array([row[0] for row in rows], dtype=np.float64)
    truth = np.array([np.nan if row[1] is None else row[1] for row in rows], dtype=np.float64)
    known = ~np.isnan(truth)
    coverage = float(known.mean())
    if known.sum() >= monitor.spec.min_rows:
        right = ((score >= 0.5) == (truth >= 0.5))[known]
        return {
            "n": int(known.sum()),
            "accuracy": float(right.mean()),
            "auc": quality.roc_auc(truth[known], score[known]),
            "coverage": coverage,
            "estimated": False,
        }
    if monitor.reference.calibrator is not None and len(score) >= monitor.spec.min_rows:
        promised = calibration.expect(score, monitor.reference.calibrator)
        return {
            "n": len(score),
            "accuracy": promised.accuracy.value,
            "auc": promised.roc_auc,
            "coverage": coverage,
            "estimated": True,
        }
    return None


def _remember(ctx: Context, monitor: Monitor, results: list[drift.Drift], found: dict[str, Any] | None) -> None:
    """Append the figures to the series, so that one chart draws them like any other curve."""
    points = [(f"{one.column}/psi", one.psi) for one in results] + [(f"{one.column}/js", one.js) for one in results]
    if found is not None and found["accuracy"] is not None:
        points.append(("accuracy", found["accuracy"]))
    if points:
        step = int(ctx.session.value("SELECT count(DISTINCT ts) FROM drift_result WHERE monitor_id = ?", [monitor.id]))
        names, values = zip(*points, strict=True)
        ctx.house.series.append(
            ctx.session, "monitor", monitor.id, list(names), [step] * len(names), [ctx.now] * len(names), list(values)
        )
