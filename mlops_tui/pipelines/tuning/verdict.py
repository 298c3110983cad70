"""Which candidate wins, and the test that says so.

Candidates are *picked* by the medians of interleaved rounds, among those that keep to the wishes. Picking the best of
many favours whoever was lucky, so the pick is *confirmed* by fresh pairs, measured after the pick, the two of each pair
one right after the other, in alternating order. The test is a one-sided t test on the logarithms of the pairs' ratios
at 1 %; and the gain must be 3 % at least, as what nobody would notice is no reason to change anything. Who is not
confirmed does not win: fp32 stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf, log, sqrt
from statistics import fmean, median, stdev
from typing import NamedTuple

from mlops_tui.pipelines.tuning.measure import Figures
from mlops_tui.serving.models.profile import Setting

PAIRS = 7
LEAST_GAIN = 0.03
ALPHA = 0.01
_T = {2: 6.965, 3: 4.541, 4: 3.747, 5: 3.365, 6: 3.143, 7: 2.998, 8: 2.896, 9: 2.821, 10: 2.764, 11: 2.718}
"""Student's t for 99 % on one side, by degrees of freedom."""
TEST = (
    f"picked on interleaved rounds; confirmed on {PAIRS} fresh pairs, one-sided paired t test on log ratios at "
    f"{ALPHA:.0%}, and a gain of {LEAST_GAIN:.0%} at least"
)
Cost = Callable[[Figures], float]
COSTS: dict[str, Cost] = {
    "latency": lambda figures: figures.p50_ms,
    "throughput": lambda figures: 1 / figures.rate,
    "memory": lambda figures: float(figures.memory),
}
"""What a profile wants little of: median latency, seconds a request under load, bytes."""
WORDS = {"latency": "median latency", "throughput": "requests a second", "memory": "memory"}
_SLOWER = 2.0
"""The memory profile pays at most so many times the default's latency, unless a wish says otherwise."""


class Trial(NamedTuple):
    """A candidate with its measurements; ``loss`` of accuracy is a share, None where nothing was compared."""

    setting: Setting
    runs: list[Figures]
    loss: float | None = None
    size: int = 0

    def value(self, what: Cost) -> float:
        """Return the median of a figure."""
        return median(what(run) for run in self.runs)

    def spread(self, what: Cost) -> float:
        """Return half the range of a figure as a share of its median."""
        values = [what(run) for run in self.runs]
        return (max(values) - min(values)) / 2 / (median(values) or inf)


class Confirmed(NamedTuple):
    """What fresh pairs say: ``gain`` is the share saved (positive: better), ``t`` the statistic, and who wins."""

    gain: float
    t: float
    pairs: int
    wins: bool


def confirm(pairs: Sequence[tuple[float, float]]) -> Confirmed:
    """Test pairs of costs (of who stays, of who wants to win)."""
    ratios = [log(new / old) for old, new in pairs]
    mean, n = fmean(ratios), len(ratios)
    error = stdev(ratios) / sqrt(n)
    t = -mean / error if error else (inf if mean < 0 else -inf if mean > 0 else 0.0)
    gain = 1 - exp(mean)
    return Confirmed(gain, t, n, t > _T[n - 1] and gain >= LEAST_GAIN)


class Wishes(NamedTuple):
    """What a candidate must keep to: limits by figure (p50_ms, p99_ms, memory at most, rate at least), accuracy."""

    profile: str
    limits: Mapping[str, float]
    max_loss: float

    def missed(self, trial: Trial, default: Trial) -> str:
        """Return why a candidate is out; empty when it is not."""
        if any(run.failed for run in trial.runs):
            return "requests failed"
        if trial.loss is not None and trial.loss > self.max_loss:
            return f"loses {trial.loss:.2%} of accuracy"
        for name, limit in self.limits.items():
            value = median(getattr(run, name) for run in trial.runs)
            if value < limit if name == "rate" else value > limit:
                return f"{name} {value:.3g} misses {limit:g}"
        slow = self.profile == "memory" and not self.limits
        if slow and trial.value(COSTS["latency"]) > _SLOWER * default.value(COSTS["latency"]):
            return "twice as slow"
        return ""


Fresh = Callable[[Setting, Setting], Confirmed]


class Chosen(NamedTuple):
    """The verdict: who is served, why, what was confirmed, and whether it keeps to the wishes."""

    setting: Setting
    text: str
    steps: list[tuple[Setting, Setting, Confirmed]]
    keeps: bool


def choose(trials: Sequence[Trial], wishes: Wishes, fresh: Fresh) -> Chosen:
    """Pick, confirm and say why.

    First the best settings of fp32 against the default, then the best other precision against what holds by then: an
    int8 model does not win by its threads.

    Args:
        trials: every candidate; the first is the default.
        wishes: what it must keep to.
        fresh: measures two settings anew, in pairs.
    """
    default, cost = trials[0], COSTS[wishes.profile]
    kept = [trial for trial in trials if not wishes.missed(trial, default)]
    if not kept:
        nearest = min(trials, key=lambda trial: trial.value(cost))
        return Chosen(default.setting, f"nobody keeps to the wishes; {nearest.setting.name} comes nearest", [], False)
    plain = [trial for trial in kept if trial.setting.precision == "fp32"]
    holds = default if default in kept else min(plain or kept, key=lambda trial: trial.value(cost))
    steps: list[tuple[Setting, Setting, Confirmed]] = []
    for group in (plain, [trial for trial in kept if trial.setting.precision != "fp32"]):
        best = _pick(group, cost) if group else holds
        if best is not holds and best.value(cost) < holds.value(cost):
            verdict = fresh(holds.setting, best.setting)
            steps.append((holds.setting, best.setting, verdict))
            holds = best if verdict.wins else holds
    return Chosen(holds.setting, _why(holds, default, steps, wishes.profile), steps, True)


def _pick(group: Sequence[Trial], cost: Cost) -> Trial:
    """Return the best candidate, or of those that are hardly worse the one that takes least of the machine."""
    least = min(trial.value(cost) for trial in group)
    near = [trial for trial in group if trial.value(cost) <= least * (1 + LEAST_GAIN)]
    return min(near, key=lambda trial: (trial.setting.workers * trial.setting.threads, trial.value(cost)))


def _why(holds: Trial, default: Trial, steps: Sequence[tuple[Setting, Setting, Confirmed]], profile: str) -> str:
    what = WORDS[profile]
    lost = [f"{new.name}: {_said(verdict)}" for _, new, verdict in steps if not verdict.wins]
    won = [f"{new.name} beats {old.name}: {_said(verdict)}" for old, new, verdict in steps if verdict.wins]
    stays = "fp32 stays" if holds.setting.precision == "fp32" else f"{holds.setting.precision} wins"
    if holds.setting == default.setting:
        tried = f"; nearest was {'; '.join(lost)}" if lost else "; no candidate had a better median"
        return f"{stays} as served by default: nothing is shown to be better in {what}{tried}"
    return f"{stays}, in {what}: " + "; ".join([*won, *lost] or ["only it keeps to the wishes"])


def _said(verdict: Confirmed) -> str:
    return f"{verdict.gain:+.1%} (t {verdict.t:.1f}, {'confirmed' if verdict.wins else 'within the noise'})"


def pareto(trials: Sequence[Trial]) -> set[Setting]:
    """Return the candidates that no other beats.

    One beats another when it is hardly worse in latency, throughput, memory and accuracy, and better in one of them.
    """

    def costs(trial: Trial) -> tuple[float, ...]:
        # Accuracy as what is kept of it, so that a loss of nothing and one of hardly anything are near each other.
        return (*(trial.value(cost) for cost in COSTS.values()), 1 + max(0.0, trial.loss or 0.0))

    def beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
        near = 1 + LEAST_GAIN
        return all(x <= y * near for x, y in zip(a, b, strict=True)) and any(
            x * near < y for x, y in zip(a, b, strict=True)
        )

    found = [(trial.setting, costs(trial)) for trial in trials]
    return {setting for setting, own in found if not any(beats(other, own) for _, other in found)}
