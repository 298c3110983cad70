"""Is the canary worse than the stable version? Asked at every look, wrong in at most a share alpha of rollouts.

A look counts the bad events and rows of both sides since the look before. Weights may change between looks, looks may
come at any time, and the answer may be acted upon at once (Lindon et al. 2022, arXiv 2205.14762; Lindon and Malek
2022, arXiv 2011.03567).
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_tui.core.errors import BadInput, Conflict

RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""How many times as often the canary might fail: the alternatives that the evidence of harm mixes, evenly."""

Verdict = Literal["harm", "safe", "continue"]


class Look(msgspec.Struct, frozen=True):
    """Bad events and rows of canary (c) and stable (s) *since the look before*; ``key`` names the look for good."""

    key: str
    bad_c: int
    bad_s: int
    n_c: int
    n_s: int

    def __post_init__(self) -> None:
        if not (0 <= self.bad_c <= self.n_c and 0 <= self.bad_s <= self.n_s):
            raise BadInput(
                f"look {self.key} has impossible counts",
                f"{self.bad_c} bad of {self.n_c} for the canary, {self.bad_s} bad of {self.n_s} for stable",
                "count bad events among the rows of the same look",
            )


class HarmSpec(msgspec.Struct, frozen=True):
    """What counts as harm.

    Args:
        max_ratio: the canary is safe once it is proved to fail less than this many times as often as stable; > 1.
        alpha: share of harmless canaries that may be rolled back, over all looks; with k events give alpha/k to each.
        min_requests: rows that the canary must have answered before any verdict.
    """

    max_ratio: float = 1.5
    alpha: float = 0.05
    min_requests: int = 200

    def __post_init__(self) -> None:
        if not (self.max_ratio > 1 and 0 < self.alpha < 1 and self.min_requests >= 0):
            raise BadInput(
                "the analysis cannot be used",
                f"max_ratio {self.max_ratio}, alpha {self.alpha}, min_requests {self.min_requests}",
                "give max_ratio > 1, alpha between 0 and 1, min_requests ≥ 0",
            )


class LookLog(msgspec.Struct, frozen=True):
    """The looks of one step, each counted once: the whole state of an analysis, to be stored and taken up again."""

    looks: tuple[Look, ...] = ()

    def add(self, look: Look) -> LookLog:
        """Return the log with one look more; a look that is there already changes nothing.

        Raises:
            Conflict: a look of that key is there with other counts.
        """
        for seen in self.looks:
            if seen.key == look.key:
                if seen != look:
                    raise Conflict(f"look {look.key} was already counted", f"as {seen}, now {look}", "use a new key")
                return self
        return LookLog((*self.looks, look))

    def columns(self) -> NDArray[np.int64]:
        """Return bad_c, bad_s, n_c, n_s as int64, shape (4, looks)."""
        rows = [(look.bad_c, look.bad_s, look.n_c, look.n_s) for look in self.looks]
        return np.array(rows, np.int64).reshape(-1, 4).T


class HarmResult(msgspec.Struct, frozen=True):
    """The evidence so far. E-values are natural logs; a verdict needs ``log_needed`` = ln(1/alpha).

    ``path_harm`` and ``path_safe`` give the log e-value after each look; ``decided`` is the key of the look that
    decided; ``hold`` says that the canary has too few rows for any verdict; ``ratio`` is how many times as often the
    canary failed (None while stable has no bad event).
    """

    verdict: Verdict
    text: str
    log_e_harm: float
    log_e_safe: float
    log_needed: float
    hold: bool
    looks: int
    decided: str | None
    bad_c: int
    bad_s: int
    n_c: int
    n_s: int
    rate_c: float | None
    rate_s: float | None
    ratio: float | None
    path_harm: tuple[float, ...]
    path_safe: tuple[float, ...]


def log_e(
    bad_c: ArrayLike, bad_s: ArrayLike, n_c: ArrayLike, n_s: ArrayLike, null: float, ratios: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return the natural log of the e-value after each look, for many rollouts at once.

    With ρ = n_c/(n_c+n_s) of a look, a bad event is the canary's with probability ρt/(ρt+1−ρ) when the canary fails t
    times as often. Each ratio t collects its likelihood ratio against ``null`` over the looks; the e-value is their
    even mixture. As log(1+u) ≤ u, one look multiplies it by at most 1 on average for any error rate as long as the
    canary's is ≤ null times stable's (for ratios above null; ≥ for ratios below), so by Ville's inequality it ever
    passes 1/α with probability ≤ α. Looks without rows on one side change nothing.

    Args:
        bad_c: bad events of the canary a look, shape (..., looks); likewise ``bad_s``, ``n_c``, ``n_s``.
        bad_s: bad events of stable.
        n_c: rows of the canary.
        n_s: rows of stable.
        null: ratio of failure rates to be refuted.
        ratios: alternatives, all above null (harm) or all below it (safety).

    Returns:
        float64, shape (..., looks).
    """
    canary, stable, rows_c, rows_s = (np.asarray(x, np.float64) for x in (bad_c, bad_s, n_c, n_s))
    share = rows_c / np.maximum(rows_c + rows_s, 1)
    events = canary + stable
    sums = []
    for ratio in ratios:
        tilt = np.log(share * null + 1 - share) - np.log(share * ratio + 1 - share)
        sums.append(np.cumsum(canary * math.log(ratio / null) + events * tilt, axis=-1))
    stack = np.array(sums)
    top = stack.max(axis=0)
    return np.asarray(top + np.log(np.exp(stack - top).mean(axis=0)))


def analyse(log: LookLog, spec: HarmSpec) -> HarmResult:
    """Return the verdict on a canary after all its looks.

    ``harm`` once the evidence against "no worse than stable" has passed 1/alpha at a look with enough rows, and it
    stays; else ``safe`` once the evidence against "max_ratio times as bad or worse" has; else ``continue``.
    """
    counts = log.columns()
    c_bad, s_bad, c_rows, s_rows = counts
    harm = log_e(c_bad, s_bad, c_rows, s_rows, null=1.0, ratios=RATIOS)
    safe = log_e(c_bad, s_bad, c_rows, s_rows, null=spec.max_ratio, ratios=(1.0,))
    needed = math.log(1 / spec.alpha)
    enough = np.cumsum(c_rows) >= spec.min_requests
    first_harm, first_safe = _first(enough & (harm > needed)), _first(enough & (safe > needed))
    verdict: Verdict = "harm" if first_harm is not None else "safe" if first_safe is not None else "continue"
    at = first_harm if first_harm is not None else first_safe
    bad_c, bad_s, n_c, n_s = (int(total) for total in counts.sum(axis=1))
    rate_c, rate_s = bad_c / n_c if n_c else None, bad_s / n_s if n_s else None
    ratio = rate_c / rate_s if rate_c is not None and rate_s else None
    result = HarmResult(
        verdict=verdict,
        text="",
        log_e_harm=float(harm[-1]) if harm.size else 0.0,
        log_e_safe=float(safe[-1]) if safe.size else 0.0,
        log_needed=needed,
        hold=n_c < spec.min_requests,
        looks=len(log.looks),
        decided=None if at is None else log.looks[at].key,
        bad_c=bad_c,
        bad_s=bad_s,
        n_c=n_c,
        n_s=n_s,
        rate_c=rate_c,
        rate_s=rate_s,
        ratio=ratio,
        path_harm=tuple(harm.tolist()),
        path_safe=tuple(safe.tolist()),
    )
    return msgspec.structs.replace(result, text=_sentence(result, spec))


def _first(hits: NDArray[np.bool_]) -> int | None:
    return int(np.argmax(hits)) if hits.any() else None


def _sentence(result: HarmResult, spec: HarmSpec) -> str:
    """Say in one sentence why the verdict is what it is."""
    seen = f"{result.bad_c:,} of {result.n_c:,} against {result.bad_s:,} of {result.n_s:,}"
    if result.verdict == "harm":
        times = f"{result.ratio:.2f} times as often as stable" if result.ratio else "and stable does not"
        return f"harm: the canary fails {times} ({seen}); decided at look {result.decided}"
    if result.verdict == "safe":
        return f"safe: the canary fails less than {spec.max_ratio:g} times as often as stable ({seen})"
    if result.hold:
        return f"hold: the canary has {result.n_c:,} of the {spec.min_requests:,} rows that a verdict needs"
    return (
        f"continue: neither shown yet ({seen}); evidence of harm {_odds(result.log_e_harm)}, "
        f"of safety {_odds(result.log_e_safe)}, needed {_odds(result.log_needed)}"
    )


def _odds(log_value: float) -> str:
    """Write an e-value as people read it: ``20``, ``0.4``, ``1e+12``."""
    return f"{math.exp(min(log_value, 700)):.3g}"
