"""Requests, errors and latencies of revisions over time: sums of the inference log, taken up where they were left.

A screen that looks at a rollout asks every second. What was summed for it is kept for a while, and the next question
reads only the rows that came since.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from mlops_tui.contracts import load as contract
from mlops_tui.core.clock import MINUTE, SECOND
from mlops_tui.core.errors import BadInput
from mlops_tui.deploy.find import find_deployment, labels_of
from mlops_tui.deploy.rollout.evidence import SLOT, SLOTS, Figures, quantile_ms
from mlops_tui.door import Context, implements
from mlops_tui.serving.record.segments import CLIENT_ERROR, MODEL_ERROR
from mlops_tui.store.session import Session

WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400)
"""How long a point may be: lengths at whose ends a clock strikes."""
KEPT = 16
"""Sums that are kept, those asked for last."""

_NEW = f"""
    SELECT revision_no, epoch_us(ts) // $width AS at, {SLOT} AS slot, count(*) FILTER (status = {MODEL_ERROR}),
           count(*), max(seq)
    FROM inference
    WHERE seq > $mark AND ts >= make_timestamp($since) AND ts < make_timestamp($until) AND deployment_id = $deployment
      AND "row" = 0 AND status <> {CLIENT_ERROR} AND revision_no > 0 GROUP BY ALL"""


class Sums:
    """Figures by revision and stretch of time, of one deployment and one length of time."""

    def __init__(self, deployment: str, width: int, since: int) -> None:
        self.deployment, self.width, self.since, self.mark = deployment, width, since, 0
        self.found: dict[tuple[int, int], Figures] = {}
        self.guard = threading.Lock()

    def bring_up(self, session: Session, since: int, until: int) -> None:
        """Add the rows that came since the last time, and forget what lies before ``since``."""
        ask = {"width": self.width, "mark": self.mark, "since": self.since, "until": until}
        for no, at, slot, errors, requests, seq in session.rows(_NEW, {**ask, "deployment": self.deployment}):
            counts = np.zeros(SLOTS, np.int64)
            counts[slot] = requests
            key, added = (no, at), Figures(requests, errors, counts)
            self.found[key] = self.found[key].plus(added) if key in self.found else added
            self.mark = max(self.mark, seq)
        for key in [key for key in self.found if key[1] * self.width < since]:
            del self.found[key]


class _Span(NamedTuple):
    """The time that is asked for, and how long its points are; all in µs."""

    since: int
    until: int
    width: int


_kept: OrderedDict[tuple[Any, ...], Sums] = OrderedDict()
_guard = threading.Lock()


@implements(contract.curves)
def curves(ctx: Context, request: contract.CurvesRequest) -> contract.ServedCurves:
    """Sum up what a deployment's revisions did."""
    row = find_deployment(ctx.session, ctx.tenant, request.deployment)
    span = _span(request, ctx.now)
    sums = _sums(row["id"], span, bool(request.since), request.until)
    with sums.guard:
        sums.bring_up(ctx.session, span.since, request.until or 2**62)
        found = sorted(sums.found.items(), key=lambda one: (one[0][1], one[0][0]))
    labels = labels_of(ctx.session, row["id"])
    return contract.ServedCurves(
        deployment=row["name"],
        since=span.since,
        until=span.until,
        width_s=span.width / SECOND,
        points=[
            contract.CurvePoint(
                ts=at * span.width,
                revision=labels.get(no, f"#{no}"),
                requests=one.requests,
                errors=one.errors,
                p50_ms=quantile_ms(one.latency, 0.5),
                p95_ms=quantile_ms(one.latency, 0.95),
            )
            for (no, at), one in found
        ],
    )


def _span(request: contract.CurvesRequest, now: int) -> _Span:
    until = request.until or now
    since = request.since or until - round(request.minutes * MINUTE)
    if since >= until:
        raise BadInput("the curves would end before they begin", "", "--since earlier than --until")
    least = (until - since) / request.points
    width = next((w * SECOND for w in WIDTHS_S if w * SECOND >= least), WIDTHS_S[-1] * SECOND)
    return _Span(since // width * width, until, width)


def _sums(deployment: str, span: _Span, fixed: bool, until: int) -> Sums:
    """Return the sums that were kept for such a question, or new ones.

    Those of a time that moves on are found again by its length; they hold no row from before they were begun.
    """
    key = (deployment, span.width, span.since if fixed else (span.until - span.since) // span.width, until)
    with _guard:
        sums = _kept.get(key)
        if sums is None:
            sums = _kept[key] = Sums(deployment, span.width, span.since)
        _kept.move_to_end(key)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return sums
