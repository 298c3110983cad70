"""A rollout's checks: each judged at its share of alpha, and what follows from all of them together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from mlops_tui.contracts.rollout import Check
from mlops_tui.contracts.rollout_file import Drift, Harm, Limit, Spec, seconds
from mlops_tui.core.figures import odds
from mlops_tui.deploy.rollout.series import ENOUGH_TO_SCALE, MS, Scale, of_harm, of_limit
from mlops_tui.stats import harm, threshold
from mlops_tui.stats.harm import Counts, HarmSpec

WORDS = {"error": "model errors", "wrong": "wrong predictions", "latency": "latency", "score": "drift of the score"}
Found = Mapping[str, tuple[Scale | None, Counts]]


def judged(spec: Spec, step: int, found: Found) -> list[Check]:
    """Return how every check stands after its looks.

    Every check that may roll back is judged at alpha divided by their number, so all together keep alpha (Bonferroni:
    nothing is asked of how errors, latency and labels hang together).

    Args:
        spec: what was asked for.
        step: the step at which the rollout stands; it may have a ``min_requests`` of its own.
        found: marks and counts by the name of the series.
    """
    analysis, alpha = spec.analysis, share_of_alpha(spec)
    least = _least(spec, step)
    checks = [_harm(one, *found[of_harm(one).name], alpha, least) for one in analysis.harm]
    checks += [_limit(one, found[of_limit(one).name][1], alpha, least) for one in analysis.limits]
    if analysis.drift:
        own = alpha if analysis.drift.then == "rollback" else analysis.alpha
        checks.append(_drift(analysis.drift, *found["score"], own, least))
    return checks


def share_of_alpha(spec: Spec) -> float:
    """Return the alpha at which each check is judged that may roll back."""
    drifts = spec.analysis.drift is not None and spec.analysis.drift.then == "rollback"
    return spec.analysis.alpha / max(1, len(spec.analysis.harm) + len(spec.analysis.limits) + drifts)


def _least(spec: Spec, step: int) -> int:
    own = spec.steps[step].min_requests if 0 <= step < len(spec.steps) else None
    return own or spec.analysis.min_requests


def _harm(check: Harm, at: Scale | None, counts: Counts, alpha: float, least: int) -> Check:
    if at is None:
        return _unknown("harm", check.event, alpha)
    series = of_harm(check)
    does = tuple(f"is slower than {series.of_canary(mark) / MS:.3g} ms" for mark in at.marks) or (_does(check.event),)
    told = harm.analyse(counts, HarmSpec(max_ratio=check.max_ratio, alpha=alpha, min_requests=least, does=does))
    return Check(
        kind="harm",
        event=check.event,
        verdict=told.verdict,
        text=told.text,
        log_e_harm=told.log_e_harm,
        log_e_safe=told.log_e_safe,
        log_needed=told.log_needed,
        bad_canary=told.bad_c,
        n_canary=told.n_c,
        bad_stable=told.bad_s,
        n_stable=told.n_s,
        hold=told.hold,
        mark=told.mark,
    )


def _limit(check: Limit, counts: Counts, alpha: float, least: int) -> Check:
    told = threshold.analyse(counts, threshold.ThresholdSpec(check.max_share, alpha=alpha, min_requests=least))
    return Check(
        kind="limit",
        event=of_limit(check).name,
        verdict=told.verdict,
        text=told.text,
        log_e_harm=0.0,
        log_e_safe=0.0,
        log_needed=math.log(1 / alpha),
        bad_canary=told.bad,
        n_canary=told.n,
        bad_stable=float(counts.bad_s[0].sum()),
        n_stable=int(counts.n_s.sum()),
        hold=told.hold,
    )


def _drift(check: Drift, at: Scale | None, counts: Counts, alpha: float, least: int) -> Check:
    """Judge a change of the scores: it must be shown, and be as great as somebody cares for."""
    if at is None:
        return _unknown("drift", "score", alpha)
    path = harm.evidence_of_change(counts)
    n_c, n_s = int(counts.n_c.sum()), int(counts.n_s.sum())
    gaps = np.abs(counts.bad_c.sum(axis=1) / max(1, n_c) - counts.bad_s.sum(axis=1) / max(1, n_s))
    mark = int(np.argmax(gaps))
    needed, most = math.log(1 / alpha), float(path.max(initial=0.0))
    drifts = counts.requests.sum() >= least and most > needed and gaps[mark] >= check.max
    above = f"{counts.bad_c[mark].sum() / max(1, n_c):.1%} of the scores are above {at.marks[mark]:.3g}"
    against = f"{counts.bad_s[mark].sum() / max(1, n_s):.1%} of stable's"
    word = "drift" if drifts else "continue"
    return Check(
        kind="drift",
        event="score",
        verdict=word,
        text=f"{word}: {above}, {against}; distance {gaps[mark]:.3f} of {check.max:g}, evidence {odds(most)}, "
        f"needed {odds(needed)}",
        log_e_harm=float(path[-1]) if path.size else 0.0,
        log_e_safe=0.0,
        log_needed=needed,
        bad_canary=float(counts.bad_c[mark].sum()),
        n_canary=n_c,
        bad_stable=float(counts.bad_s[mark].sum()),
        n_stable=n_s,
        hold=False,
        mark=mark,
    )


def _unknown(kind: str, event: str, alpha: float) -> Check:
    text = f"stable has answered fewer than {ENOUGH_TO_SCALE} requests, too few to compare with"
    return Check(
        kind=kind,
        event=event,
        verdict="continue",
        text=text,
        log_e_harm=0.0,
        log_e_safe=0.0,
        log_needed=math.log(1 / alpha),
        bad_canary=0.0,
        n_canary=0,
        bad_stable=0.0,
        n_stable=0,
        hold=kind == "harm",
    )


def _does(event: str) -> str:
    return "is wrong" if event == "wrong" else "fails"


class Decision(NamedTuple):
    """What follows: the ``move`` and the sentence why."""

    move: Literal["stay", "next", "ask", "back"]
    why: str


def decide(spec: Spec, state: str, step: int, checks: Sequence[Check], waited: float) -> Decision:
    """Say whether a rollout stays, goes on, asks a person first, or goes back.

    Args:
        spec: what was asked for.
        state: where it stands.
        step: likewise.
        checks: how they stand.
        waited: watched seconds in this state.
    """
    if harmful := [one for one in checks if _ends(spec, one)]:
        return Decision("back", "; ".join(f"{WORDS.get(one.event, one.event)}: {one.text}" for one in harmful))
    if state not in ("Shadowing", "Shifting"):
        return Decision("stay", _waits(spec, state, step))
    went = _goes_on(spec, step, checks, waited)
    if went.move == "next" and (drift := next((one for one in checks if _asks(spec, one)), None)):
        return Decision("ask", f"{WORDS[drift.event]}: {drift.text}")
    return went


def _ends(spec: Spec, check: Check) -> bool:
    drift = spec.analysis.drift
    return check.verdict == "harm" or (check.verdict == "drift" and drift is not None and drift.then == "rollback")


def _asks(spec: Spec, check: Check) -> bool:
    drift = spec.analysis.drift
    return check.verdict == "drift" and drift is not None and drift.then == "hold"


def _goes_on(spec: Spec, step: int, checks: Sequence[Check], waited: float) -> Decision:
    """Go on when it was long enough and enough was seen, or at once when the version is proven safe."""
    one = spec.steps[step]
    least = seconds(one.max if one.until else one.for_)
    starving = next((check for check in checks if check.hold), None)
    proofs = [check for check in checks if check.kind != "drift"]
    if not starving and proofs and all(check.verdict == "safe" for check in proofs):
        return Decision("next", "proven safe")
    if waited < least:
        return Decision("stay", _not_yet(one.until is not None, least - waited, proofs, starving))
    if not starving:
        return Decision("next", "no harm seen")
    if spec.analysis.on_no_data == "rollback":
        return Decision("back", starving.text)
    if spec.analysis.on_no_data == "proceed":
        return Decision("next", "too few rows to judge by")
    return Decision("stay", f"{WORDS.get(starving.event, starving.event)}: {starving.text}")


def _not_yet(proof: bool, left: float, checks: Sequence[Check], starving: Check | None) -> str:
    if starving and proof:
        return f"{WORDS.get(starving.event, starving.event)}: {starving.text}"
    if proof and (open_ := [one for one in checks if one.verdict != "safe"]):
        worst = min(open_, key=lambda one: one.log_e_safe)
        return (
            f"waits for proof of safety, {left:.0f} s at most; {WORDS.get(worst.event, worst.event)}: evidence of "
            f"safety {odds(worst.log_e_safe)}, needed {odds(worst.log_needed)}"
        )
    most = max(checks, key=lambda one: one.log_e_harm, default=None)
    seen = (
        f"; most evidence of harm: {WORDS.get(most.event, most.event)} {odds(most.log_e_harm)}, "
        f"needed {odds(most.log_needed)}"
        if most
        else ""
    )
    return f"{left:.0f} s left of this step{seen}"


def _waits(spec: Spec, state: str, step: int) -> str:
    if state == "Holding":
        asked = spec.steps[step].approve if 0 <= step < len(spec.steps) else ""
        return "waits for approval" + (f": {asked}" if asked else "") + " · mlops rollout approve"
    if state == "Paused":
        return "paused; harm still ends it · mlops rollout resume"
    if state == "Baking":
        return "the new version has all traffic; the old one is still loaded, one rollback away"
    return ""
