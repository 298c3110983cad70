"""What a planned rollout would see: played some times over beforehand, judged by the test that will judge it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mlops_tui.stats.clients import Clients, due, log_e
from mlops_tui.stats.harm import Counts, evidence_of_harm
from mlops_tui.stats.likelihood import Floats

DRAWS = 200
CROWD = 200
"""Clients that are played, at most: more of them only see more."""
CLIENT_DRAWS = 40


class Ahead(NamedTuple):
    """A rollout as it is planned, a stretch of time after another.

    Args:
        requests: expected of both sides in each stretch, shape (stretches,).
        shares: the canary's share of them, likewise; stretches of one share follow each other.
        alpha: of the check.
        least: requests of the canary before any verdict.
    """

    requests: Floats
    shares: Floats
    alpha: float
    least: int


class Foresight(NamedTuple):
    """Share of the played rollouts that were rolled back, and the stretch by which half of these were; None: none."""

    share: float
    stretch: int | None


def foresee(ahead: Ahead, stable: float, canary: float, clients: int | None = None, seed: int = 0) -> Foresight:
    """Return how often harm would be seen, and by when.

    Args:
        ahead: the plan.
        stable: share of its requests that are bad.
        canary: likewise.
        clients: where they stick, how many there are; they ask alike often and err alike.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    counts = _of_requests(ahead, stable, canary, rng) if clients is None else _of(ahead, stable, canary, clients, rng)
    enough = np.cumsum(counts.requests, axis=-1) >= ahead.least
    back = enough & (evidence_of_harm(counts) > math.log(1 / ahead.alpha))
    caught = back.any(axis=-1)
    return Foresight(float(caught.mean()), int(np.median(back[caught].argmax(axis=-1))) if caught.any() else None)


def _of_requests(ahead: Ahead, stable: float, canary: float, rng: np.random.Generator) -> Counts:
    n = rng.poisson(ahead.requests, (DRAWS, len(ahead.requests)))
    n_c = rng.binomial(n, ahead.shares)
    return Counts(rng.binomial(n_c, canary), rng.binomial(n - n_c, stable), n_c, n - n_c)


def _of(ahead: Ahead, stable: float, canary: float, clients: int, rng: np.random.Generator) -> Counts:
    """Return what is counted of clients; their first requests, which say little of few, are left out."""
    weights = np.unique(ahead.shares)
    size = (CLIENT_DRAWS, min(clients, CROWD))
    place = rng.random(size)
    came = np.searchsorted(weights, place, side="right")
    bad, asked = np.zeros((*size, len(weights))), np.zeros((*size, len(weights)))
    sides: list[tuple[Floats, ...]] = []
    found, before = [], 0.0
    for stretch, (requests, share) in enumerate(zip(ahead.requests, ahead.shares, strict=True)):
        step, there = int(np.searchsorted(weights, share)), place < share
        n = rng.poisson(requests / size[1], size)
        met = rng.binomial(n, np.where(there, canary, stable))
        bad[..., step] += met
        asked[..., step] += n
        sides.append(tuple((of * side).sum(axis=-1) for of in (met, n) for side in (there, ~there)))
        total = float(ahead.requests[: stretch + 1].sum())
        if float((ahead.requests * ahead.shares)[: stretch + 1].sum()) >= ahead.least and due(total, before):
            before, shown = total, step + 1
            found.append(log_e(bad[..., :shown], asked[..., :shown], weights[:shown], np.minimum(came, shown)))
        else:
            found.append(np.full(size[0], np.nan))
    bad_c, bad_s, n_c, n_s = (np.stack(of, axis=-1) for of in zip(*sides, strict=True))
    nothing: ArrayLike = np.zeros_like(n_c)
    return Counts(
        nothing, nothing, nothing, nothing, Clients(np.stack(found, axis=-1), bad_c[None], bad_s[None], n_c, n_s)
    )
