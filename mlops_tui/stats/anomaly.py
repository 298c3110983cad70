"""From a noisy series to an alarm that comes once and goes once.

Both rules are pure state machines: ``step(state, rule, value)`` gives the next state, which is stored between samples.
Samples come at a fixed interval, so times are counted in samples. A missing value (None or not finite) changes nothing
but ``nodata``: it neither raises an alarm nor ends one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from mlops_tui.core.errors import BadInput

MAD_TO_SIGMA = 1.482602218505602
"""Median absolute deviation to standard deviation of a normal distribution: 1/Φ⁻¹(¾)."""


class KofN(msgspec.Struct, frozen=True):
    """Alarm when k of the last n samples are beyond ``level``.

    It is over after ``clear_after`` samples in a row within ``clear``. ``clear`` below ``level`` watches for high
    values, ``clear`` above it for low ones; equal: high ones.
    """

    level: float
    clear: float
    k: int = 3
    n: int = 5
    clear_after: int = 15

    def __post_init__(self) -> None:
        if not (1 <= self.k <= self.n and self.clear_after >= 1):
            raise BadInput("the rule cannot be used", f"k {self.k} of n {self.n}, clear after {self.clear_after}")


class Ewma(msgspec.Struct, frozen=True):
    """Alarm when the moving average of standardised samples is beyond ``fire`` of its own standard deviations.

    It is over after ``clear_after`` samples in a row with the average within ``clear``. A single sample counts at most
    ``clip`` standard deviations, so one outlier is no alarm.

    Args:
        mean: of the healthy series; likewise ``sd`` > 0: see ``baseline``.
        weight: of the newest sample, in (0, 1].
        fire: in standard deviations of the average, sd·√(weight/(2−weight)) (Roberts 1959).
        clear: likewise, below ``fire``.
        clip: in standard deviations of a sample.
        clear_after: samples.
        both: low averages alarm as well.
    """

    mean: float
    sd: float
    weight: float = 0.2
    fire: float = 4.5
    clear: float = 2.0
    clip: float = 4.0
    clear_after: int = 15
    both: bool = False

    def __post_init__(self) -> None:
        if not (self.sd > 0 and 0 < self.weight <= 1 and self.clear <= self.fire and self.clear_after >= 1):
            raise BadInput(
                "the rule cannot be used",
                f"sd {self.sd}, weight {self.weight}, fire {self.fire}, clear {self.clear}",
                "give sd > 0, weight in (0, 1] and clear ≤ fire",
            )


class State(msgspec.Struct, frozen=True):
    """What is known after a sample.

    Args:
        alarm: it is on.
        nodata: the newest sample was missing.
        calm: samples in a row within the clearing bound while the alarm was on.
        recent: for k of n: which of the last n samples were beyond the level, oldest first.
        average: for EWMA: of the standardised samples.
        changed: the newest sample switched the alarm on or off.
    """

    alarm: bool = False
    nodata: bool = False
    calm: int = 0
    recent: tuple[bool, ...] = ()
    average: float = 0.0
    changed: bool = False


Rule = KofN | Ewma


def step(state: State, rule: Rule, value: float | None) -> State:
    """Return the state after one sample more."""
    if value is None or not math.isfinite(value):
        return msgspec.structs.replace(state, nodata=True, changed=False)
    if isinstance(rule, KofN):
        sign = -1 if rule.clear > rule.level else 1
        recent = (*state.recent, sign * value > sign * rule.level)[-rule.n :]
        seen = msgspec.structs.replace(state, recent=recent)
        return _switch(seen, sum(recent) >= rule.k, sign * value <= sign * rule.clear, rule.clear_after)
    deviation = max(-rule.clip, min(rule.clip, (value - rule.mean) / rule.sd))
    average = (1 - rule.weight) * state.average + rule.weight * deviation
    height = (abs(average) if rule.both else average) / math.sqrt(rule.weight / (2 - rule.weight))
    seen = msgspec.structs.replace(state, average=average)
    return _switch(seen, height > rule.fire, height < rule.clear, rule.clear_after)


def baseline(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation of a healthy series, robustly: median and 1.4826·MAD (Hampel 1974).

    Where more than half of the values are equal the MAD is 0; the plain standard deviation stands in.

    Raises:
        BadInput: no finite value, or all are equal.
    """
    x = np.asarray(values, np.float64)
    x = x[np.isfinite(x)]
    middle = float(np.median(x)) if x.size else 0.0
    sd = MAD_TO_SIGMA * float(np.median(np.abs(x - middle))) if x.size else 0.0
    sd = sd or (float(x.std()) if x.size else 0.0)
    if sd == 0:
        raise BadInput("a baseline needs values that vary", f"{x.size} finite values")
    return middle, sd


def _switch(seen: State, beyond: bool, calm: bool, clear_after: int) -> State:
    """Turn the alarm on when the signal is beyond, off after enough calm samples in a row."""
    if not seen.alarm:
        return msgspec.structs.replace(seen, alarm=beyond, nodata=False, calm=0, changed=beyond)
    streak = seen.calm + 1 if calm else 0
    over = streak >= clear_after
    recent = () if over else seen.recent
    return msgspec.structs.replace(
        seen, alarm=not over, nodata=False, calm=0 if over else streak, recent=recent, changed=over
    )
