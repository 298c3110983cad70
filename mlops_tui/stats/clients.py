"""Is the canary worse, where clients stick to a version? Asked of clients, as chance drew them and not their requests.

Errors of one client hang together. A version that happened to get the few clients who make most errors looks worse at
every look, so requests that are counted one by one prove nothing (measured: with 200 clients of whom 5 % fail often a
third of all harmless canaries would be rolled back). Two things are asked instead, each with its share of alpha:

**A client's first request** of a step: how bad it was, of the clients that were not known to be the canary's. When the
step began chance drew their version (anew, given where they had been seen: a step that raises the weight from w to w'
brings each client of stable over with the chance (w'−w)/(1−w)), so these are units as in :mod:`mlops_tui.stats.harm`,
and what is said there holds, for the sum of all clients. Clients that were last seen in another step are another look.

**All requests of each client**, before and after it came to the canary, beside the clients who came at other steps or
not at all: a stepped-wedge trial (Hussey and Hughes 2007), tested by nothing but the draw (Lindon and Kallus 2026,
arXiv 2603.25971). Chance gave each client the step c from which on it is the canary's, with the known chance p_c. Let
Y_k of N_k requests be its bad ones at the weight k. A model says how likely they were for each c: at a rate that is the
client's own, drawn from Gamma(a, a), times what clients before it met at that weight, times t on the canary. Of it

    L(c) = t^Y_c · (a + E_s + t·E_c)^−(a+Y),   E_k = N_k · (bad ÷ requests of the clients before it at k),

is left, where Y_c, E_c are summed over the canary's weights and E_s over stable's. The factor of a client is
L(its own c) ÷ Σ p_c·L(c), e their product, mixed evenly over t, a and the marks.

If a client's requests were as bad on either side, its Y are the same whatever c chance drew: the factor is 1 on average
given all clients before it, which is all that E and the model know. Requests that are less bad on the canary only make
it smaller: take them away weight by weight, from the last to the first. Clients that came by then have all the same Y,
and Σ p_c·L(c) of these, as a part of the whole, rises with each bad request at this weight (t·(a+E_s+t·E_c) of any
that came later is at least that of any that came by then); of the others nothing changes. So e is ≤ 1 on average for
every version that does no client harm, **however clients differ, fail together or in bursts**, and whatever goes wrong
on both sides: the model only decides how much is seen. But it is so at each time, not for the largest of all times. So
it is looked at seldom, whenever an eighth more requests have come, and the j-th time counts with the share ``share(j)``
of alpha: shares add up to 1 (Bonferroni).

What both need: that the router drew clients independently of each other (it hashes their keys), and that nobody ends a
step by what single clients met. The second takes it that clients ask either version as often. Where they do not (a loop
that asks again at once) it errs by little, as it weighs bad requests by requests: versions half as fast to ten times as
fast were simulated, see ``tests.benchmarks rollout_simulation``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from mlops_tui.stats.likelihood import Floats, log_mean

RATIOS = (1.5, 2.0, 4.0, 10.0)
"""How many times as bad the canary might be."""
SHAPES = (0.1, 3.0, 100.0)
"""How alike clients might be: the smaller, the more of them never fail while few fail often."""
FIRST, ALL = 0.1, 0.9
"""Shares of alpha: of first requests, and of all requests of each client."""
GROWTH = 1.125
_PRIOR_BAD, _PRIOR_ASKED = 0.5, 50.0
_LATER = 5
_SHARES = 1 / sum(1 / (j + _LATER) ** 2 for j in range(1, 100_000))


class Clients:
    """What each look found of whole clients, beside their first requests; rollouts may come before looks.

    Args:
        log_e: ln e of all their requests at the looks that asked for it, NaN at others, shape (looks,).
        bad_c: bad requests of the canary, shape (marks, looks); ``bad_s`` of stable likewise.
        bad_s: of stable.
        n_c: requests of the canary, shape (looks,); ``n_s`` of stable likewise.
        n_s: of stable.
    """

    def __init__(self, log_e: ArrayLike, bad_c: ArrayLike, bad_s: ArrayLike, n_c: ArrayLike, n_s: ArrayLike) -> None:
        self.log_e, self.bad_c, self.bad_s, self.n_c, self.n_s = (
            np.asarray(one, np.float64) for one in (log_e, bad_c, bad_s, n_c, n_s)
        )

    def evidence(self) -> Floats:
        """Return ln e, each time that it was asked for at its share; between two of these the earlier one counts."""
        asked = ~np.isnan(self.log_e)
        times = np.cumsum(asked, axis=-1)
        worth = np.where(asked, self.log_e + np.log(share(np.maximum(times, 1))), -np.inf)
        last = np.maximum.accumulate(np.where(asked, np.arange(asked.shape[-1]), -1), axis=-1)
        found = np.take_along_axis(worth, np.maximum(last, 0), axis=-1)
        return np.where(last < 0, -np.inf, found)


def share(time: ArrayLike) -> Floats:
    """Return the share of alpha of the j-th time that clients are asked for, j ≥ 1."""
    return np.asarray(_SHARES / (np.asarray(time, np.float64) + _LATER) ** 2)


def due(asked: float, before: float) -> bool:
    """Tell whether it is time to ask again: an eighth more requests than ``before`` have come, 0 for the first time.

    Args:
        asked: requests of both sides so far: how many come does not depend on whom chance drew.
        before: requests when it was asked last.
    """
    return asked >= GROWTH * before


def log_e(bad: ArrayLike, asked: ArrayLike, weights: ArrayLike, came: ArrayLike) -> Floats:
    """Return ln e of all requests of each client, mixed over ratios and shapes.

    Args:
        bad: bad requests of each client at each weight, shape (..., clients, weights), in an order of clients that has
            nothing to do with where they were; whatever stands before (marks, rollouts) is by itself.
        asked: requests, alike.
        weights: shares of the traffic that the canary had, rising, shape (weights,).
        came: the number of the first weight at which a client is the canary's, shape (..., clients); as many as there
            are weights: none of these.

    Returns:
        float64, shape (...).
    """
    y, n = np.asarray(bad, np.float64), np.asarray(asked, np.float64)
    chance = np.diff([0.0, *np.asarray(weights, np.float64), 1.0])
    own = np.asarray(came, np.int64)[..., None]
    rate = (np.cumsum(y, -2) - y + _PRIOR_BAD) / (np.cumsum(n, -2) - n + _PRIOR_ASKED)
    expected = n * rate
    total, both = (one.sum(-1, keepdims=True) for one in (y, expected))
    canary, of_canary = _from_each(y), _from_each(expected)
    own = np.broadcast_to(own, (*y.shape[:-1], 1))
    paths = []
    for t in RATIOS:
        under = both + (t - 1) * of_canary
        for a in SHAPES:
            likely = canary * math.log(t) - (a + total) * np.log(a + under)
            likely -= likely.max(axis=-1, keepdims=True)
            mine = np.take_along_axis(likely, own, axis=-1)[..., 0]
            paths.append((mine - np.log((np.exp(likely) * chance).sum(-1))).sum(-1))
    return log_mean(np.array(paths))


def _from_each(counts: Floats) -> Floats:
    """Return the sums over the weights from each one on, and over none: shape (..., weights + 1)."""
    rest = np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]
    return np.concatenate([rest, np.zeros((*counts.shape[:-1], 1))], axis=-1)


def either(first: Floats, clients: Clients) -> Floats:
    """Return ln e of first requests and of clients together, shape (looks,): each has its share of alpha."""
    return np.asarray(np.maximum(first + math.log(FIRST), clients.evidence() + math.log(ALL)))
