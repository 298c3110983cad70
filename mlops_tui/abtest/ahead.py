"""How many units an A/B test needs, and how long that takes, said before it begins: from the last day's labels."""

from __future__ import annotations

from typing import NamedTuple

from mlops_tui.contracts.monitor import StartAb
from mlops_tui.core.clock import DAY, SECOND
from mlops_tui.core.figures import duration
from mlops_tui.serving.record.segments import OK
from mlops_tui.stats import power
from mlops_tui.store.session import Session

POWER = 0.8
ENOUGH = 100
"""Labelled requests below which nothing is taken from them."""
ANY = 0.25
"""The greatest variance of a unit that is right or wrong."""


class Labelled(NamedTuple):
    """What labels tell: the variance of a request's being right, and requests a second; None: not known."""

    variance: float = ANY
    rate: float | None = None


def needs(session: Session, deployment: str, request: StartAb, clients: bool, now: int) -> str:
    """Return how many units of both arms it takes to find a difference of the margin, and until there is a verdict.

    Args:
        session: where labels are looked up.
        deployment: its id.
        request: the test; its margin counts.
        clients: a unit is a client, else a request.
        now: µs.
    """
    known, share = _labelled(session, deployment, now), request.split / 100
    spread = power.unit_variance(known.variance, known.variance, share)
    likely = power.sequential_size(request.margin, known.variance, known.variance, request.alpha, POWER, share)
    most = power.units_until(request.margin / 2, spread, request.alpha)
    if clients:
        return f"about {likely:,} clients with labels where B is {request.margin:g} better, {most:,} at most"
    told = f"about {likely:,} labelled requests where B is {request.margin:g} better, {most:,} at most"
    if known.rate is None:
        return told
    soon, last = (duration(SECOND * (power.duration_s(n, known.rate) or 0.0)) for n in (likely, most))
    return f"{told}: {soon} and {last} at {known.rate:.3g}/s, as in the last day"


def _labelled(session: Session, deployment: str, now: int) -> Labelled:
    n, right, since = session.row(
        f"""SELECT count(*), avg(x), epoch_us(min(ts)) FROM (
              SELECT min(ts) AS ts, avg(((score >= 0.5) = (truth >= 0.5))::INTEGER) AS x FROM outcome
              WHERE deployment_id = ? AND ts >= make_timestamp(?) AND status = {OK} GROUP BY request)""",
        [deployment, now - DAY],
    ) or (0, None, None)
    if n < ENOUGH:
        return Labelled()
    # Where all were right so far, the next may be wrong.
    return Labelled(max(right * (1 - right), 1 / n), n / max(1.0, (now - since) / SECOND))
