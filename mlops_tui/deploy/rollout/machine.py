"""The states of a rollout, as a table: what the servers show, what is watched, where each leads.

The engine may only make the moves of this table, people only those of ``WORDS``; ``rollouts.enter`` sees to it.
"""

from __future__ import annotations

from typing import NamedTuple

from mlops_tui.contracts.rollout_file import Spec, Step, seconds
from mlops_tui.core.errors import Conflict
from mlops_tui.core.states import spoken
from mlops_tui.deploy.traffic import Share, Split, all_to


class State(NamedTuple):
    """One state.

    Args:
        exposed: the new version is named in the routes, so servers that refuse it end the rollout.
        judged: evidence is looked at, and harm ends it.
        timed: the deadline ends it.
        leads: where the engine may take it by itself.
    """

    exposed: bool
    judged: bool
    timed: bool
    leads: tuple[str, ...]


_STEPS = ("Shadowing", "Shifting", "Holding", "Promoting")
_BACK = ("RollingBack",)
_STEPPING = (*_STEPS, "Paused", *_BACK)

STATES = {
    # state           exposed  judged  timed   leads to                                what it is
    "Pending":      State(False, False, True,  ("Gating", *_BACK)),                  # written down
    "Gating":       State(False, False, True,  ("Provisioning", "Promoting", *_BACK)),  # pinned digest, gates
    "Provisioning": State(True,  False, True,  (*_STEPS, *_BACK)),                   # loaded, previewed, warmed up
    "Shadowing":    State(True,  True,  True,  _STEPPING),                           # a copy of the traffic
    "Shifting":     State(True,  True,  True,  _STEPPING),                           # a share of the traffic
    "Holding":      State(True,  True,  False, ("Paused", *_BACK)),                  # waits for an approval
    "Paused":       State(True,  True,  False, _BACK),                               # a person said stop
    "Promoting":    State(True,  False, False, ("Baking", "Succeeded", *_BACK)),     # all traffic to the new version
    "Baking":       State(True,  True,  False, ("Succeeded", *_BACK)),               # the old one is still loaded
    "RollingBack":  State(False, False, False, ("RolledBack",)),                     # all traffic to stable
    "Aborting":     State(False, False, False, ("Aborted",)),
    "Succeeded":    State(False, False, False, ()),
    "RolledBack":   State(False, False, False, ()),
    "Aborted":      State(False, False, False, ()),
    "Superseded":   State(False, False, False, ()),
}  # fmt: skip

TERMINAL = tuple(name for name, state in STATES.items() if not state.leads)
GOING_BACK = ("RollingBack", "Aborting")
UNDER_WAY = tuple(name for name in STATES if name not in (*TERMINAL, *GOING_BACK))


class Word(NamedTuple):
    """What a person may say: as it is told afterwards, in which states, and where it leads."""

    told: str
    when: tuple[str, ...]
    leads: tuple[str, ...]


WORDS = {
    "pause": Word("paused", ("Shadowing", "Shifting", "Holding"), ("Paused",)),
    "resume": Word("resumed", ("Paused",), _STEPS),
    "approve": Word("approved", ("Holding",), _STEPS),
    "promote": Word("promoted", ("Shadowing", "Shifting", "Holding", "Paused", "Baking"), ("Promoting", "Succeeded")),
    "abort": Word("aborted", UNDER_WAY, ("Aborting",)),
    "rollback": Word("rolled back", UNDER_WAY, ("RollingBack",)),
    "supersede": Word("superseded", tuple(one for one in UNDER_WAY if one != "Baking"), ("Superseded",)),
    "remove": Word("ended", (*UNDER_WAY, *GOING_BACK), ("Aborted",)),
}


def legal(before: str, after: str, word: str = "") -> bool:
    """Tell whether a rollout may go from a state to another, by itself or by a person's word."""
    if word:
        return before in WORDS[word].when and after in WORDS[word].leads
    return after in STATES[before].leads


def refuse_word(word: str, state: str, deployment: str) -> None:
    """Refuse a word that has no place in a state.

    Raises:
        Conflict: it cannot be said now.
    """
    if state not in WORDS[word].when:
        raise Conflict(
            f"the rollout of {deployment} is {spoken(state)}",
            f"it cannot be {WORDS[word].told} now",
            f"mlops rollout status {deployment}",
        )


class Entry(NamedTuple):
    """How a step begins: the state, the new version's weight in per cent, the split and a word for people."""

    state: str
    weight: float
    split: Split
    words: str


def entry(spec: Spec, stable: int, canary: int, step: int) -> Entry:
    """Return how a step begins; step -1 loads the new version, the one after the last gives it everything.

    An approval changes no traffic: what the step before it showed goes on.
    """
    if step >= len(spec.steps):
        return Entry("Promoting", 100.0, promoted(spec, stable, canary), "the new version gets all traffic")
    shown = _shows(spec, step)
    weight = (shown.weight or 0.0) if shown else 0.0
    split = Split(
        shares=[
            Share(no=stable, role="stable", weight=100.0 - weight),
            Share(no=canary, role="shadow" if shown and shown.shadow else "canary", weight=weight),
        ],
        sticky=sticky_of(spec),
        lease=weight > 0,
        lease_s=seconds(spec.orphan.after) if spec.orphan and weight > 0 else None,
    )
    if step < 0:
        return Entry("Provisioning", 0.0, split, "the new version is loaded")
    one = spec.steps[step]
    if one.kind == "approve":
        return Entry("Holding", weight, split, f"step {step + 1}: waits for approval, {one.approve}")
    if one.shadow:
        return Entry("Shadowing", 0.0, split, f"step {step + 1}: a copy of the traffic, answers unused")
    return Entry("Shifting", weight, split, f"step {step + 1}: {weight:g} % of the traffic")


def promoted(spec: Spec, stable: int, canary: int) -> Split:
    """Return the split that gives the new version everything, with the old one loaded as long as it is kept."""
    if not seconds(spec.keep_old):
        return all_to(canary)
    shares = [Share(no=stable, role="stable", weight=0.0), Share(no=canary, role="canary", weight=100.0)]
    return Split(shares=shares, sticky=sticky_of(spec))


def sticky_of(spec: Spec) -> str | None:
    """Return what clients stick by, as routes have it; None when they do not."""
    return spec.sticky if isinstance(spec.sticky, str) and spec.sticky else None


def _shows(spec: Spec, step: int) -> Step | None:
    """Return the step whose traffic is shown in a step."""
    return next((one for one in reversed(spec.steps[: step + 1]) if one.kind != "approve"), None)
