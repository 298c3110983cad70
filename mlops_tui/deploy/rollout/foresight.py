"""What a rollout can see, said before it begins: from the requests that its deployment has had, by its own steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops_tui.contracts.rollout_file import Spec, Step, seconds
from mlops_tui.core.figures import duration
from mlops_tui.deploy.rollout.checks import share_of_alpha
from mlops_tui.deploy.rollout.looks import by_client
from mlops_tui.serving.record.segments import MODEL_ERROR, OK
from mlops_tui.stats.foresight import Ahead, Foresight, foresee
from mlops_tui.store.session import Session

HOUR_S, LEAST_S = 3600.0, 60.0
"""Traffic is taken from the last hour, and from no less than a minute."""
ENOUGH = 100
"""Requests below which nothing is said."""
WORTH = 0.01
"""Harm that is spoken of: doubled errors, and no fewer than one in a hundred."""
STRETCHES = 12
"""Stretches in which a step is played; it is looked at more often, and sees a little more."""
USUAL_CLIENTS = 200
"""Spoken of where clients stick and the log does not know yet how many there are."""
WANTED = 0.95
_LONGER = (4, 16, 64)


class Traffic(NamedTuple):
    """Requests a second, the share of them that fail, and how many clients there are; None: not known."""

    rate: float
    errors: float
    clients: int | None


class Said(NamedTuple):
    """What a rollout will see, in a sentence, and what to do where that is too little; either may be empty."""

    text: str = ""
    warning: str = ""


def foretold(session: Session, deployment: str, spec: Spec, now: int) -> Said:
    """Return what the steps of a rollout will see of errors, were traffic as in the last hour."""
    if not _shown(spec) or all(one.event != "error" for one in spec.analysis.harm):
        return Said()
    traffic = _traffic(session, deployment, now)
    if traffic is None:
        return Said("not known: too few requests in the last hour to tell")
    harm = min(1.0, max(2 * traffic.errors, WORTH))
    clients = (traffic.clients or USUAL_CLIENTS) if by_client(spec) else None
    seen = foresee(_ahead(spec, traffic.rate), traffic.errors, harm, clients)
    return Said(_text(spec, traffic, harm, clients, seen), _warning(spec, traffic, harm, clients, seen))


def _traffic(session: Session, deployment: str, now: int) -> Traffic | None:
    """Return what the last hour brought to a deployment."""
    n, bad, since, clients = session.row(
        f"""SELECT count(*), count(*) FILTER (status = {MODEL_ERROR}), epoch_us(min(ts)),
              count(DISTINCT client) FILTER (client > 0)
            FROM inference WHERE deployment_id = ? AND ts >= make_timestamp(?) AND ts <= make_timestamp(?)
              AND "row" = 0 AND NOT shadow AND NOT chosen AND status IN ({OK}, {MODEL_ERROR})""",
        [deployment, now - int(HOUR_S * 1e6), now],
    ) or (0, 0, None, 0)
    if n < ENOUGH:
        return None
    return Traffic(n / max(LEAST_S, (now - since) / 1e6), bad / n, clients or None)


def _ahead(spec: Spec, rate: float, longer: float = 1.0) -> Ahead:
    """Return the steps with their traffic; of a shadow both sides answer each request."""
    shown = _shown(spec)
    lengths = longer * _lengths(spec)
    twice = np.repeat([2.0 if step.shadow else 1.0 for step in shown], STRETCHES)
    shares = np.repeat([0.5 if step.shadow else (step.weight or 0.0) / 100 for step in shown], STRETCHES)
    return Ahead(rate * lengths * twice, shares, share_of_alpha(spec), spec.analysis.min_requests)


def _text(spec: Spec, traffic: Traffic, harm: float, clients: int | None, seen: Foresight) -> str:
    words = f"errors of {100 * harm:.3g} % where stable has {100 * traffic.errors:.2g} %"
    crowd = f" of {clients:,} clients" if clients else ""
    crowd += " (so many are assumed)" if clients and traffic.clients is None else ""
    found = f"{words}, at {traffic.rate:.3g} requests/s{crowd}: in {seen.share:.0%} of such rollouts"
    return found if seen.stretch is None else f"{found}, half of these within {_after(spec, seen.stretch)}"


def _warning(spec: Spec, traffic: Traffic, harm: float, clients: int | None, seen: Foresight) -> str:
    """Return that the steps are over before harm would show, and how long they would have to be."""
    if seen.share >= 0.5:
        return ""
    told = f"its steps end before much harm would show: errors of {100 * harm:.3g} % would be seen in {seen.share:.0%}"
    for longer in _LONGER:
        more = foresee(_ahead(spec, traffic.rate, longer), traffic.errors, harm, clients)
        if more.share >= WANTED:
            return f"{told}; with steps {longer} times as long in {more.share:.0%}"
    return f"{told}; it wants more requests, or until: proven_safe"


def _after(spec: Spec, stretch: int) -> str:
    """Return how long it takes until a stretch is over."""
    return duration(1e6 * float(_lengths(spec)[: stretch + 1].sum()))


def _shown(spec: Spec) -> list[Step]:
    """Return the steps that show something; of a shadow both sides answer all clients, which is no draw."""
    return [step for step in spec.steps if step.kind == "weight" or (step.shadow and not by_client(spec))]


def _lengths(spec: Spec) -> NDArray[np.float64]:
    """Return the seconds of each stretch; a step that waits for a proof may take its longest."""
    return np.repeat([seconds(step.max if step.until else step.for_) for step in _shown(spec)], STRETCHES) / STRETCHES
