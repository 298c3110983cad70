"""From a deployment's curves and a rollout's looks to series that the charts draw, both sides in their colours."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops_tui.contracts.deploy import Deployment
from mlops_tui.contracts.load import CurvePoint, ServedCurves
from mlops_tui.contracts.rollout import Look, Rollout
from mlops_tui.core.clock import MINUTE, SECOND
from mlops_tui.tui.news.door import Door
from mlops_tui.tui.screens.deploy.deploy_lines import series_place
from mlops_tui.tui.screens.deploy.rollout_lines import PLACES
from mlops_tui.tui.widgets.charts import Charts

if TYPE_CHECKING:
    from mlops_tui.tui.drawing.plot import Level
    from mlops_tui.tui.drawing.raster import Series

P95, ERRORS, EVIDENCE, RATE, P50 = NAMES = ("p95 ms", "errors %", "harm e-value", "requests/s", "p50 ms")
"""The charts, what tells most first."""
OF_DEPLOYMENT = (P95, RATE, ERRORS, P50)
POINTS = 80
LAST_MINUTES = 30.0
_BEFORE, _AFTER = 2 * MINUTE, MINUTE
"""How much is shown around a rollout, so that one sees what was usual."""
_CAP = math.log(1e6)


async def draw(door: Door, charts: Charts, found: Deployment, rollout: Rollout | None) -> None:
    """Read the curves and show them: those around a rollout, or of the last half hour."""
    got: ServedCurves = await door.call("deploy.curves", _asked(found, rollout))
    series = curves(got, found, rollout)
    levels: dict[str, list[Level]] = {}
    if rollout is not None and rollout.looks:
        series[EVIDENCE] = evidence(rollout.looks)
        levels[EVIDENCE] = needed(rollout)
    charts.show(series, "clock", levels)


def _asked(found: Deployment, rollout: Rollout | None) -> dict[str, str | int | float]:
    asked: dict[str, str | int | float] = {"deployment": found.name, "points": POINTS}
    if rollout is None:
        return asked | {"minutes": LAST_MINUTES}
    return asked | {"since": rollout.started - _BEFORE, "until": rollout.ended + _AFTER if rollout.ended else 0}


def curves(got: ServedCurves, found: Deployment, rollout: Rollout | None) -> dict[str, list[Series]]:
    """Return the series of each chart, one a revision; of a rollout only its two sides."""
    from mlops_tui.tui.drawing.raster import series

    sides = (rollout.stable, rollout.canary) if rollout else None
    by_revision: dict[str, list[CurvePoint]] = defaultdict(list)
    for point in got.points:
        if sides is None or point.revision in sides:
            by_revision[point.revision].append(point)
    made: dict[str, list[Series]] = {name: [] for name in (P95, ERRORS, RATE, P50)}
    for label, points in by_revision.items():
        place = sides.index(label) if sides else series_place(found, label)
        for name, some in made.items():
            x, y = _told(name, points, got)
            if len(x) > 1:
                some.append(series(label, x, y, place=place))
    return made


def _told(name: str, points: Sequence[CurvePoint], got: ServedCurves) -> tuple[list[float], list[float]]:
    """Return places and values of one chart; where nothing was answered there is a rate of 0, and no latency."""
    found = {one.ts: value for one in points if (value := _value(name, one, got)) is not None}
    if name == RATE:
        answered = {one.ts for one in points}
        between = range(points[0].ts, points[-1].ts, round(got.width_s * SECOND))
        found |= {ts: 0.0 for ts in between if ts not in answered}
    places = sorted(found)
    return [float(ts) for ts in places], [found[ts] for ts in places]


def _value(name: str, one: CurvePoint, got: ServedCurves) -> float | None:
    match name:
        case "p95 ms":
            return one.p95_ms
        case "p50 ms":
            return one.p50_ms
        case "errors %":
            return 100 * one.errors / one.requests if one.requests else None
    # The newest point is not over yet.
    lasted = min(got.width_s, (got.until - one.ts) / SECOND)
    return one.requests / lasted if lasted >= got.width_s / 4 else None


def evidence(looks: Sequence[Look]) -> list[Series]:
    """Return the e-values of harm over time, one line a check, as far as anybody reads their digits."""
    from mlops_tui.tui.drawing.raster import series

    by_event: dict[str, list[Look]] = defaultdict(list)
    for look in reversed(looks):
        by_event[look.event].append(look)
    return [
        series(event, [one.ts for one in some], [math.exp(min(one.log_e_harm, _CAP)) for one in some], place=place)
        for event, some in by_event.items()
        if len(some) > 1
        for place in [PLACES.get(event, 6)]
    ]


def needed(rollout: Rollout) -> list[Level]:
    """Return the line above which the evidence is enough to roll back."""
    from mlops_tui.tui.drawing.plot import Level

    wanted = {round(one.log_needed, 6) for one in rollout.checks if one.kind == "harm"}
    return [Level(math.exp(one), "needed", "fail") for one in sorted(wanted)]
