"""Is the canary worse, where clients stick to a version? Asked of clients, as chance drew them and not their requests.

Errors of one client hang together. A version that happened to get the few clients who make most errors looks worse at
every look, so requests that are counted one by one prove nothing (measured: with 200 clients of whom 5 % fail often a
third of all harmless canaries would be rolled back). Two things are counted instead, each with half of alpha:

**A client's first request** of a step: how bad it was, of the clients that were not known to be the canary's. When the
step began chance drew their version (anew, given where they had been seen: a step that raises the weight from w to w'
brings each client of stable over with the chance (w'−w)/(1−w)), so these are units as in :mod:`mlops_tui.stats.harm`,
and what is said there holds, for the sum of all clients. Clients that were last seen in another step are another look.

**The first bad request that a client meets in a step**, whichever it is: only that counts, and only for clients that
met none on the canary in an earlier step. ρ is not counted but known: the chance with which the router drew them, given
the step in which they last met one on stable. Let T_i be when client i meets its first bad request, were it stable's.
If no client meets one sooner on the canary, then however often it asks and however clients differ or fail together,
let the canary's clients meet theirs at T_i too: this only brings their factors tD > 1 forward, and enlarges them, as D
falls with the weight. In the order of the T_i whose each such client is, is drawn with the known chance ρ, so each
factor is 1 on average: the e-value lies below a martingale all the time, and passes 1/α with probability ≤ α whenever
one looks (Ville 1939). The marks of one check meet bad requests in orders of their own, so they share alpha
(Bonferroni) instead of being mixed.

The first says little of 2,000 clients at 1 % errors, but what it says is of the sum over clients and stays true when
all have met an error; the second uses nearly every request while errors are rare. Comparing times to the first event
at every look is the idea of the anytime-valid logrank test (ter Schure et al. 2020, arXiv 2011.06931); arguing by the
chance of each assignment alone, with outcomes that come when they come, that of design-based inference (Lindon and
Kallus 2026, arXiv 2603.25971). What both need: that the router drew clients independently of each other (it hashes
their keys), and that nobody ends a step by what single clients met.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from mlops_tui.core.errors import BadInput
from mlops_tui.stats.likelihood import Floats, log_ratio


class Clients:
    """What each look of a check found of whole clients, beside their first requests.

    Args:
        met_c: clients of the canary that met their first bad request of the step, shape (marks, looks), or with
            rollouts between; ``met_s`` of stable likewise.
        met_s: of stable.
        chance: with which such a client was drawn for the canary, shape (looks,); NaN in looks that know no clients.
        requests: of the canary, whoever sent them, shape (looks,).

    Raises:
        BadInput: a chance is none.
    """

    def __init__(self, met_c: ArrayLike, met_s: ArrayLike, chance: ArrayLike, requests: ArrayLike) -> None:
        self.chance = np.nan_to_num(np.asarray(chance, np.float64))
        self.requests = np.asarray(requests, np.float64)
        self.met_c, self.met_s = np.asarray(met_c, np.float64), np.asarray(met_s, np.float64)
        if ((self.chance < 0) | (self.chance >= 1)).any():
            raise BadInput("a look has an impossible chance", f"{self.chance.tolist()}", "give shares of 1")

    def log_e(self, null: float, ratios: tuple[float, ...]) -> Floats:
        """Return ln e of each mark after each look, shape (marks, looks)."""
        return log_ratio(self.met_c, self.met_s, self.chance, null, ratios)

    def expected(self, mark: int) -> float:
        """Return how many of the canary's clients would have met one if it were as bad as stable."""
        return float((self.met_s[mark] * self.chance / (1 - self.chance)).sum())


def either(first: Floats, met: Floats) -> Floats:
    """Return ln e of first requests (looks,) and of clients (marks, looks) together: each part has its share of alpha.

    The largest of several e-values in orders of their own, each times its share: it passes 1/α with probability ≤ α.
    """
    return np.asarray(np.maximum(first, met.max(axis=0) - math.log(len(met))) - math.log(2))
