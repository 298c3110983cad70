"""Judging: every so often the counts of a window become a verdict on each feature, and on how good the answers were."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from mlops_tui.core.clock import DAY, SECOND, now_us
from mlops_tui.door import Context, House, act, every
from mlops_tui.monitoring import alerts, brought, counting, performance
from mlops_tui.monitoring.reference import Monitor, monitor_of
from mlops_tui.stats import drift
from mlops_tui.store.session import Session

log = logging.getLogger(__name__)
Others = dict[str, dict[str, float]]
"""What plugins' statistics say, by feature and name."""
HISTORY = 24
"""Judgements that a feature remembers."""
KEPT_US = DAY
"""Buckets older than this, and than any window, are dropped."""
_WATCHED = "FROM monitor m JOIN deployment d ON d.id = m.deployment_id WHERE m.removed IS NULL"
_ROWS = f"SELECT m.*, epoch_us(m.judged) AS judged_us, d.name {_WATCHED}"
_TIMES = f"""
    SELECT m.id, m.tenant, m.deployment_id, d.name, d.removed IS NOT NULL AS gone,
           coalesce(epoch_us(m.judged), 0) AS judged_us, (m.spec->>'every_s')::DOUBLE AS every_s {_WATCHED}"""
_TRAFFIC = ("inference", "label")
_STILL_S = 60.0
_still: dict[str, tuple[tuple[int, ...], float]] = {}
"""Monitors whose window was empty when they were judged: the state of the traffic then, and until when that holds."""


@every(1.0, "monitoring.judge")
def turn(house: House) -> None:
    """Judge every monitor whose time has come; what one of them meets stops no other."""
    topics = ("monitor", "deploy", "drift")
    for row in house.memo.get(("monitoring.judge",), topics, lambda: house.read(lambda s: s.dicts(_TIMES))):
        try:
            if row["gone"]:
                _retire(house, row)
            elif _due(house, row) and (found := house.read(partial(find, deployment=row["deployment_id"]))):
                judge(house, monitor_of(found))
        except Exception:
            log.exception("the monitor of %s: it will be tried again", row["name"])


def _due(house: House, row: dict[str, Any]) -> bool:
    """Tell whether a judgement could say something new: time has gone by, and the window is not as empty as before."""
    if now_us() - row["judged_us"] < row["every_s"] * SECOND:
        return False
    version, until = _still.get(row["id"], ((), 0.0))
    return version != house.feed.version(_TRAFFIC) or time.monotonic() > until


def find(session: Session, deployment: str) -> dict[str, Any] | None:
    """Return the row of the monitor of a deployment (its id), for :func:`monitor_of`."""
    return session.dict(f"{_ROWS} AND m.deployment_id = ?", [deployment])


def judge(house: House, monitor: Monitor) -> None:
    """Judge one window: drift of every feature and of the scores, quality, then alerts."""
    traffic = house.feed.version(_TRAFFIC)
    counting.catch_up(house, monitor)
    now = now_us()
    sums = house.read(lambda s: counting.window(s, monitor, now))
    results = _compare(monitor, sums)
    others = brought.measure(brought.statistics(house.home), monitor.reference.profiles, sums)
    found = house.read(lambda s: performance.measure(s, monitor, now))

    def keep(ctx: Context) -> None:
        session, ctx.now = ctx.session, now
        if results:
            _keep_drift(session, monitor, results, others, now)
        if found is not None:
            session.insert("quality_result", monitor_id=monitor.id, ts_us=now, **found)
        _remember(ctx, monitor, results, others, found)
        alarms = alerts.consider(ctx, monitor, results, found)
        session.execute(
            "UPDATE monitor SET judged = make_timestamp(?), alarms = ? WHERE id = ?",
            [now, msgspec.json.encode(alarms).decode(), monitor.id],
        )

    act(house, alerts.engine(monitor.tenant), keep)
    house.touch("drift", monitor.deployment, monitor.tenant)
    _still.pop(monitor.id, None)
    if not sums and found is None:
        _still[monitor.id] = traffic, time.monotonic() + _STILL_S


def _compare(monitor: Monitor, sums: dict[str, Any]) -> list[drift.Drift]:
    policy = drift.Policy(min_rows=monitor.spec.min_rows, page_alpha=monitor.spec.alpha)
    profiles = monitor.reference.profiles
    return drift.judge([drift.compare(profiles[name], counts, name, policy) for name, counts in sums.items()], policy)


def _keep_drift(session: Session, monitor: Monitor, results: Sequence[drift.Drift], others: Others, now: int) -> None:
    """Write a judgement; each row carries the scores before it, so that nobody looks through all of them."""
    before = dict(
        session.rows(
            """SELECT r.feature, r.history FROM drift_result r JOIN monitor m ON m.id = r.monitor_id
               WHERE r.monitor_id = ? AND r.ts = m.resulted""",
            [monitor.id],
        )
    )
    lines = [
        (
            monitor.id,
            now,
            one.column,
            one.psi,
            one.js,
            one.ks_high,
            one.w1_sigma,
            one.p_page,
            one.n_live,
            one.verdict,
            f"{one.method}; {one.binning}",
            [*before.get(one.column, []), one.js][-HISTORY:],
            msgspec.json.encode(others[one.column]).decode(),
        )
        for one in results
    ]
    places = ", ".join(["(?, make_timestamp(?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"] * len(lines))
    session.execute(
        f"""INSERT INTO drift_result
            (monitor_id, ts, feature, psi, js, ks, w1, p_value, n, verdict, method, history, others)
            VALUES {places}""",
        [value for line in lines for value in line],
    )
    oldest = now - max(KEPT_US, 2 * monitor.window_us)
    session.execute(
        "DELETE FROM drift_bucket WHERE monitor_id = ? AND minute < make_timestamp(?)", [monitor.id, oldest]
    )
    session.execute("UPDATE monitor SET resulted = make_timestamp(?) WHERE id = ?", [now, monitor.id])


def _remember(
    ctx: Context, monitor: Monitor, results: Sequence[drift.Drift], others: Others, found: dict[str, Any] | None
) -> None:
    """Append the figures to the series, so that one chart draws them like any other curve."""
    points = [(f"{one.column}/{kind}", value) for one in results for kind, value in (("psi", one.psi), ("js", one.js))]
    points += [(f"{feature}/{name}", value) for feature, told in others.items() for name, value in told.items()]
    if found is not None and found["accuracy"] is not None:
        points.append(("accuracy", found["accuracy"]))
    if points:
        names, values = zip(*points, strict=True)
        step = ctx.now // SECOND
        stamps = [ctx.now] * len(names)
        ctx.house.series.append(
            ctx.session, "monitor", monitor.id, list(names), [step] * len(names), stamps, list(values)
        )


def _retire(house: House, row: dict[str, Any]) -> None:
    """End the monitor of a deployment that was removed, and its alerts with it."""
    act(house, alerts.engine(row["tenant"]), lambda ctx: retire(ctx, row["id"], row["name"]))


def retire(ctx: Context, monitor: str, name: str) -> None:
    """End a monitor; nobody would see its alerts calm down."""
    ctx.session.execute("UPDATE monitor SET removed = make_timestamp(?) WHERE id = ?", [ctx.now, monitor])
    for rule in alerts.WATCHED:
        alerts.resolve(ctx, rule, name, "it is not watched any more")
