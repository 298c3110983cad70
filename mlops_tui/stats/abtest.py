"""Two arms compared at every look: who is better, whether it matters, or how much more it takes to know."""

from __future__ import annotations

from typing import Literal

import msgspec

from mlops_tui.core.errors import BadInput
from mlops_tui.stats import power, sequential
from mlops_tui.stats.arms import Arm, fixed, p_better
from mlops_tui.stats.estimate import Estimate

Verdict = Literal["b_better", "a_better", "no_difference", "needs_more_data", "invalid_split"]


class Plan(msgspec.Struct, frozen=True):
    """What the comparison must tell.

    Args:
        margin: difference of means that would matter, in the metric's unit; > 0.
        alpha: chance of ever naming a better arm when there is none.
        share_b: B's planned share of the traffic.
        tuning: units of both arms at which the interval is tightest: near the expected end.
        min_units: units an arm before any verdict; the interval is asymptotic.
        split_alpha: p-value of the split below which the assignment counts as broken.
    """

    margin: float
    alpha: float = 0.05
    share_b: float = 0.5
    tuning: float = sequential.TUNING
    min_units: int = 100
    split_alpha: float = 0.01

    def __post_init__(self) -> None:
        if not (self.margin > 0 and 0 < self.alpha < 1 and 0 < self.share_b < 1 and self.tuning > 0):
            raise BadInput(
                "the comparison cannot be run so",
                f"margin {self.margin}, alpha {self.alpha}, share of B {self.share_b}, tuning {self.tuning}",
                "give margin and tuning above 0, alpha and the share between 0 and 1",
            )


class Comparison(msgspec.Struct, frozen=True):
    """One look. Every figure but ``p_fixed`` may be acted upon at any look.

    Args:
        difference: mean(B) − mean(A) with its confidence sequence, in the metric's unit; ``lift`` relative to A.
        p_value: always valid; ``p_fixed`` is valid for one look only, shown to the one who peeks.
        p_better: probability that B's rate is higher (even priors); None unless the metric is binary.
        split_p: p-value that the exposures follow the planned shares.
        needed: further units (both arms) until a verdict if the difference stays as it is; None when there is one.
        needed_at_most: further units after which there must be a verdict, whatever the difference turns out to be.
    """

    verdict: Verdict
    text: str
    difference: Estimate
    lift: Estimate
    p_value: float
    p_fixed: float | None
    p_better: float | None
    split_p: float
    needed: int | None
    needed_at_most: int | None
    n_a: int
    n_b: int
    mean_a: float | None
    mean_b: float | None


def compare(a: Arm, b: Arm, plan: Plan, exposures: tuple[int, int] | None = None) -> Comparison:
    """Return the verdict on two arms at this look.

    ``invalid_split`` when the exposures don't follow the plan; else ``b_better`` or ``a_better`` when the confidence
    sequence leaves out 0; else ``no_difference`` when it lies within ±margin; else ``needs_more_data``.

    Args:
        a: the control's metric so far.
        b: the treatment's.
        plan: what it must tell.
        exposures: units assigned to A and B so far, with or without a metric yet; default: those with one.
    """
    shares = (1 - plan.share_b, plan.share_b)
    split_p = sequential.split_p_value(exposures or (a.n, b.n), shares)
    gap = sequential.difference(a, b, plan.alpha, plan.tuning)
    verdict = _verdict(a, b, gap, split_p, plan)
    needed, at_most = _needed(a, b, plan) if verdict == "needs_more_data" else (None, None)
    result = Comparison(
        verdict=verdict,
        text="",
        difference=gap,
        lift=sequential.lift(a, b, plan.alpha, plan.tuning),
        p_value=sequential.p_value(a, b, plan.alpha, plan.tuning),
        p_fixed=fixed(a, b, 1 - plan.alpha).p_value if min(a.n, b.n) > 1 else None,
        p_better=p_better(a, b),
        split_p=split_p,
        needed=needed,
        needed_at_most=at_most,
        n_a=a.n,
        n_b=b.n,
        mean_a=a.mean if a.n else None,
        mean_b=b.mean if b.n else None,
    )
    return msgspec.structs.replace(result, text=_sentence(result, plan))


def _verdict(a: Arm, b: Arm, gap: Estimate, split_p: float, plan: Plan) -> Verdict:
    if split_p < plan.split_alpha:
        return "invalid_split"
    if min(a.n, b.n) < max(2, plan.min_units) or gap.low is None or gap.high is None:
        return "needs_more_data"
    if gap.low > 0:
        return "b_better"
    if gap.high < 0:
        return "a_better"
    return "no_difference" if -plan.margin < gap.low and gap.high < plan.margin else "needs_more_data"


def _needed(a: Arm, b: Arm, plan: Plan) -> tuple[int | None, int | None]:
    """Return further units until a verdict: projected, and at most.

    With half width h there is a verdict as soon as h < |gap| (one is better) or h < margin − |gap| (no difference);
    one of these holds at the latest when h < margin/2.
    """
    least = max(max(2, plan.min_units) - a.n, 0) + max(max(2, plan.min_units) - b.n, 0)
    if min(a.n, b.n) < 2:
        return least, None
    spread = power.unit_variance(a.variance, b.variance, plan.share_b)
    if spread == 0:
        return least, least
    gap, have = abs(b.mean - a.mean), a.n + b.n
    projected = power.units_until(max(gap, plan.margin - gap), spread, plan.alpha, plan.tuning)
    surely = power.units_until(plan.margin / 2, spread, plan.alpha, plan.tuning)
    return max(least, projected - have, 1), max(least, surely - have, 1)


def _sentence(result: Comparison, plan: Plan) -> str:
    """Say in one sentence why the verdict is what it is."""
    gap = result.difference
    if result.verdict == "invalid_split":
        return (
            f"invalid split: the exposures do not follow the plan of {plan.share_b:.0%} for B "
            f"(p {result.split_p:.2g}); mend the assignment and start again"
        )
    if gap.value is None or gap.low is None or gap.high is None:
        return f"needs more data: {result.n_a:,} units in A, {result.n_b:,} in B"
    seen = f"B − A = {gap.value:+.4g} [{gap.low:+.4g}, {gap.high:+.4g}]"
    if result.verdict in ("b_better", "a_better"):
        small = ", by less than would matter" if max(abs(gap.low), abs(gap.high)) < plan.margin else ""
        return f"ready: {result.verdict[0].upper()} is better{small}, {seen}, p {result.p_value:.2g} at any look"
    if result.verdict == "no_difference":
        return f"no difference that matters: {seen} lies within ±{plan.margin:g}"
    more = "" if result.needed is None else f", about {result.needed:,} units more as things stand"
    most = "" if result.needed_at_most is None else f", {result.needed_at_most:,} at most"
    return f"needs more data: {seen}{more}{most}"
