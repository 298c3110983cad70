"""Is the canary worse than the stable version? Asked at every look, wrong in at most a share alpha of rollouts.

**What is counted.** A unit is a request, its badness b a number from 0 to 1: it failed or not, it was slower than a
mark or not, the share of its rows that turned out wrong. A look adds up B_c, B_s (badness) and n_c, n_s (units) of
canary and stable since the look before; ρ = n_c/(n_c+n_s). A check may have several *marks*, each with a B_c, B_s.

**The e-value.** A ratio t says "the canary is t times as bad", r is the ratio to be refuted. Each look multiplies

    e(t) by (t/r)^B_c · D^(B_c+B_s),   D = (1−ρ+ρr)/(1−ρ+ρt):

the likelihood ratio of t against r for whose the bad units are. The check's e-value is the even mixture of e(t) over
marks and ratios (Lindon and Malek 2022, arXiv 2011.03567; Lindon et al. 2022, arXiv 2205.14762).

**Why it may be looked at at any time.** Let v_i and u_i be the badness that unit i has at the canary and at stable.
However the units depend on each other, with V = Σv_i ≤ r·U = r·Σu_i in a look and t > r its factor is at most 1 on
average, as long as chance alone decides which units the canary gets:

    E ∏ ≤ ∏ [ρ (tD/r)^v_i + (1−ρ) D^u_i]              which units are the canary's is drawn for each, or
                                                      n_c of them are drawn: negatively associated then
                                                      (Joag-Dev and Proschan 1983), all factors rising
        ≤ exp Σ [ρ v_i (tD/r − 1) + (1−ρ) u_i (D − 1)]   a^b ≤ 1 + b(a−1) for 0 ≤ b ≤ 1, and 1+x ≤ exp x
        = exp [ρ(1−ρ)(t−r)/(1−ρ+ρt) · (V/r − U)] ≤ 1.

With t < r and V ≥ r·U the signs turn twice: the same holds. So the e-value is a supermartingale below its null and
passes 1/α with probability ≤ α, whenever one looks (Ville 1939). Bursts of requests that all fail together, incidents
that come and go, weights that change between looks and late labels break nothing: no unit need be independent of
another. What it needs is that a look has one weight throughout, and that each unit is drawn by itself: where clients
stick to a version the units drawn are the clients, and :mod:`mlops_tui.stats.clients` says what is counted then.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_tui.core.errors import BadInput
from mlops_tui.core.figures import odds
from mlops_tui.stats.clients import Clients, either
from mlops_tui.stats.likelihood import Floats, log_mean, log_ratio

RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""How many times as bad the canary might be: the alternatives that the evidence of harm mixes, evenly."""
EITHER_WAY = (0.5, 0.8, 1.25, 2.0)
"""Alternatives of a change in any direction."""

Verdict = Literal["harm", "safe", "continue"]


class Counts:
    """What each look of a check added, in order; of one rollout, or of many at once.

    Args:
        bad_c: badness of the canary, shape (looks,), or (marks, looks); ``bad_s`` of stable likewise.
        bad_s: of stable.
        n_c: units of the canary, shape (looks,). For many rollouts (rollouts, looks), and marks come before these.
        n_s: units of stable.
        clients: where clients stick to a version, all their requests; units are their first ones then.

    Raises:
        BadInput: a look has more badness than units, or less than none.
    """

    def __init__(
        self, bad_c: ArrayLike, bad_s: ArrayLike, n_c: ArrayLike, n_s: ArrayLike, clients: Clients | None = None
    ) -> None:
        self.n_c, self.n_s = np.asarray(n_c, np.float64), np.asarray(n_s, np.float64)
        self.bad_c, self.bad_s = (self._by_mark(np.asarray(bad, np.float64)) for bad in (bad_c, bad_s))
        self.clients = clients
        for bad, n in ((self.bad_c, self.n_c), (self.bad_s, self.n_s)):
            if (bad < 0).any() or (bad > n * (1 + 1e-9)).any():
                raise BadInput(
                    "a look has impossible counts", f"{bad.tolist()} of {n.tolist()}", "count each unit once"
                )

    @property
    def requests(self) -> Floats:
        """Requests of the canary a look: they say whether enough was seen for a verdict."""
        return self.n_c if self.clients is None else self.clients.n_c

    def _by_mark(self, bad: Floats) -> Floats:
        return bad if bad.ndim > self.n_c.ndim else bad[None]


class HarmSpec(msgspec.Struct, frozen=True):
    """What counts as harm.

    Args:
        max_ratio: the canary is safe once it is proved to be less than this many times as bad as stable; > 1.
        alpha: share of harmless canaries that may be rolled back, over all looks; with k checks give alpha/k to each.
        min_requests: units that the canary must have before any verdict.
        does: what a bad unit does, in a word for each mark: ``fails``, ``is slower than 12 ms``.
    """

    max_ratio: float = 1.5
    alpha: float = 0.05
    min_requests: int = 200
    does: tuple[str, ...] = ("fails",)

    def __post_init__(self) -> None:
        if not (self.max_ratio > 1 and 0 < self.alpha < 1 and self.min_requests >= 0):
            raise BadInput(
                "the analysis cannot be used",
                f"max_ratio {self.max_ratio}, alpha {self.alpha}, min_requests {self.min_requests}",
                "give max_ratio > 1, alpha between 0 and 1, min_requests ≥ 0",
            )


class HarmResult(msgspec.Struct, frozen=True):
    """The evidence so far. E-values are natural logs; a verdict needs ``log_needed`` = ln(1/alpha).

    ``decided`` is the number of the look that decided; ``hold`` says that the canary has too few units for any
    verdict; ``mark`` is the one with the most evidence, and the counts are those at it; ``ratio`` is how many times as
    often the canary was bad (None while stable never was).
    """

    verdict: Verdict
    text: str
    log_e_harm: float
    log_e_safe: float
    log_needed: float
    hold: bool
    looks: int
    decided: int | None
    mark: int
    bad_c: float
    bad_s: float
    n_c: int
    n_s: int
    ratio: float | None


def log_e(
    bad_c: ArrayLike, bad_s: ArrayLike, n_c: ArrayLike, n_s: ArrayLike, null: float, ratios: tuple[float, ...]
) -> Floats:
    """Return ln e after each look, mixed evenly over the ratios, for many rollouts or marks at once.

    Args:
        bad_c: badness of the canary a look, shape (..., looks); likewise ``bad_s``, ``n_c``, ``n_s``.
        bad_s: badness of stable.
        n_c: units of the canary; a look without units on one side changes nothing.
        n_s: units of stable.
        null: ratio r to be refuted.
        ratios: alternatives t, all above null (harm) or all below it (safety); on both sides only for "equal".

    Returns:
        float64, shape (..., looks).
    """
    canary, stable, units_c, units_s = (np.asarray(x, np.float64) for x in (bad_c, bad_s, n_c, n_s))
    share = units_c / np.maximum(units_c + units_s, 1)
    return log_ratio(canary, stable, share, null, ratios)


def evidence_of_harm(counts: Counts) -> Floats:
    """Return ln e against "no worse than stable at any mark", shape (looks,)."""
    first = log_mean(log_e(counts.bad_c, counts.bad_s, counts.n_c, counts.n_s, 1.0, RATIOS))
    return first if counts.clients is None else either(first, counts.clients)


def evidence_of_safety(counts: Counts, max_ratio: float) -> Floats:
    """Return ln e against "``max_ratio`` times as bad at some mark": each must be refuted, so the least counts.

    Of clients their first requests tell: those are units, whatever became of the others.
    """
    return np.asarray(log_e(counts.bad_c, counts.bad_s, counts.n_c, counts.n_s, max_ratio, (1.0,)).min(axis=0))


def evidence_of_change(counts: Counts) -> Floats:
    """Return ln e against "the same as stable at every mark", shape (looks,)."""
    return log_mean(log_e(counts.bad_c, counts.bad_s, counts.n_c, counts.n_s, 1.0, EITHER_WAY))


def analyse(counts: Counts, spec: HarmSpec) -> HarmResult:
    """Return the verdict on a canary after all its looks.

    ``harm`` once the evidence of harm has passed 1/alpha at a look with enough units, and it stays; else ``safe`` once
    the evidence of safety has; else ``continue``.
    """
    harm, safe = evidence_of_harm(counts), evidence_of_safety(counts, spec.max_ratio)
    needed = math.log(1 / spec.alpha)
    asked = np.cumsum(counts.requests)
    enough = asked >= spec.min_requests
    first_harm, first_safe = _first(enough & (harm > needed)), _first(enough & (safe > needed))
    verdict: Verdict = "harm" if first_harm is not None else "safe" if first_safe is not None else "continue"
    told = _told(counts)
    result = HarmResult(
        verdict=verdict,
        text="",
        log_e_harm=float(harm[-1]) if harm.size else 0.0,
        log_e_safe=float(safe[-1]) if safe.size else 0.0,
        log_needed=needed,
        hold=told.n_c < spec.min_requests,
        looks=counts.n_c.size,
        decided=first_harm if first_harm is not None else first_safe,
        **told._asdict(),
    )
    return msgspec.structs.replace(result, text=_sentence(result, spec, counts.clients is not None))


class _Told(NamedTuple):
    """What tells most: see :class:`HarmResult`."""

    mark: int
    bad_c: float
    bad_s: float
    n_c: int
    n_s: int
    ratio: float | None


def _told(counts: Counts) -> _Told:
    """Return what has the most evidence of harm by now: of requests, also where the evidence is of their clients."""
    seen = counts.clients or counts
    n_c, n_s = int(seen.n_c.sum()), int(seen.n_s.sum())
    evidence = log_e(seen.bad_c, seen.bad_s, seen.n_c, seen.n_s, 1.0, RATIOS)[:, -1:]
    mark = int(np.argmax(evidence)) if evidence.size else 0
    bad_c, bad_s = float(seen.bad_c[mark].sum()), float(seen.bad_s[mark].sum())
    ratio = (bad_c / n_c) / (bad_s / n_s) if n_c and n_s and bad_s else None
    return _Told(mark, bad_c, bad_s, n_c, n_s, ratio)


def _first(hits: NDArray[np.bool_]) -> int | None:
    return int(np.argmax(hits)) if hits.any() else None


def _sentence(result: HarmResult, spec: HarmSpec, by_client: bool) -> str:
    """Say in one sentence why the verdict is what it is."""
    does = spec.does[min(result.mark, len(spec.does) - 1)]
    seen = f"{_count(result.bad_c)} of {result.n_c:,} against {_count(result.bad_s)} of {result.n_s:,}"
    if by_client:
        seen += ", judged client by client"
    if result.verdict == "harm":
        times = f"{result.ratio:.2f} times as often as stable" if result.ratio else "and stable does not"
        return f"harm: the canary {does} {times} ({seen}); decided at look {(result.decided or 0) + 1}"
    if result.verdict == "safe":
        return f"safe: the canary {does} less than {spec.max_ratio:g} times as often as stable ({seen})"
    if result.hold:
        return f"the canary has {result.n_c:,} of the {spec.min_requests:,} rows that a verdict needs"
    return (
        f"continue: neither shown yet ({seen}); evidence of harm {odds(result.log_e_harm)}, "
        f"of safety {odds(result.log_e_safe)}, needed {odds(result.log_needed)}"
    )


def _count(badness: float) -> str:
    return f"{badness:,.0f}" if badness == int(badness) else f"{badness:,.1f}"
