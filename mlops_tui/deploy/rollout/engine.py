"""The rollout engine: from the state in the store to the next one, by the table of states and by evidence.

Every turn begins from the store alone. A transition is one transaction (event, split) before anything follows from it,
and what follows is done by others who read it there: the reconciler writes the routes of the newest split, the data
plane refuses older ones. So a killed agent goes on where it was, and whatever was half done is done again.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from mlops_tui.contracts.rollout_file import Spec, seconds
from mlops_tui.core import faults
from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.deploy import traffic
from mlops_tui.deploy.rollout import checks, clocks, looks, rollouts, warmup
from mlops_tui.deploy.rollout.file import kept
from mlops_tui.deploy.rollout.gating import objection
from mlops_tui.deploy.rollout.machine import STATES, Entry, entry, promoted
from mlops_tui.deploy.targets.reconcile import refusal
from mlops_tui.deploy.traffic import Split
from mlops_tui.door import Caller, Context, House, act, every
from mlops_tui.store.session import Session

log = logging.getLogger(__name__)
TURN_S = 0.5


@every(TURN_S, "deploy.rollouts")
def turn(house: House) -> None:
    """Move every rollout that can be moved; what one of them meets stops no other."""
    if not rollouts.MOVING.is_set():
        return
    rollouts.MOVING.clear()
    rows = house.read(rollouts.active)
    if rows:
        rollouts.MOVING.set()
    clocks.forget({row["id"] for row in rows})
    for row in rows:
        try:
            _move(house, row, kept(row["spec"]))
        except Exception:
            log.exception("the rollout of %s: it will be tried again", row["deployment"])


def _move(house: House, row: dict[str, Any], spec: Spec) -> None:
    """Make the one move that is due, if any."""
    watch = clocks.watch(row["id"])
    watch.turn()
    if watch.unsaved >= clocks.SAVE_S:
        row["watched_s"] = house.store.write(lambda s: clocks.save(s, row["id"]))
    name, state = row["state"], STATES[row["state"]]
    if state.exposed and (why := refusal(house, row["deployment_id"])):
        _back(house, row, f"the servers refuse the new version: {why}")
    elif state.timed and clocks.watched(row) > seconds(spec.deadline):
        _back(house, row, f"not done within {seconds(spec.deadline):g} s")
    elif name in ("Shadowing", "Shifting") and _set_back(house, row):
        _anew(house, row, spec)
    elif state.judged and _looked(house, row, spec, watch):
        return
    elif name in _BY_STATE:
        _BY_STATE[name](house, row, spec)


def _gate(house: House, row: dict[str, Any], spec: Spec) -> None:
    """Let in what was asked for, or say what stands against it."""
    if why := house.read(lambda s: objection(s, row, spec)):
        _back(house, row, why)
    elif spec.strategy == "recreate" and not spec.warmup:
        begin = entry(spec, row["stable_no"], row["canary_no"], len(spec.steps))
        _enter(house, row, begin.state, 0, begin.weight, "the new version takes the place of the old", begin.split)
    else:
        _begin(house, row, entry(spec, row["stable_no"], row["canary_no"], -1), -1)


def _provide(house: House, row: dict[str, Any], spec: Spec) -> None:
    """Wait until the new version is loaded and warm, then take the first step."""
    if not _acknowledged(house, row):
        return
    warm = warmup.done(house, row, spec.warmup or 0)
    if warm is None:
        return
    if warm.failed:
        _back(house, row, f"warming up: {warm.text}")
        return
    first = entry(spec, row["stable_no"], row["canary_no"], 0)
    if spec.strategy == "recreate":
        first = first._replace(words="the new version takes the place of the old")
    why = "the new version is ready" + (f", {warm.text}" if warm.text else "")
    _begin(house, row, first, 0, why)


def _promote(house: House, row: dict[str, Any], spec: Spec) -> None:
    """Wait until the servers show the new version alone; then keep the old one for a while, if that was asked for."""
    split = promoted(spec, row["stable_no"], row["canary_no"])
    if not _shows(house, row, split):
        return
    if keep := seconds(spec.keep_old):
        text = f"{row['text']}; the old version stays loaded for {keep:g} s"
        _enter(house, row, "Baking", row["step"], 100.0, text)
    else:
        _enter(house, row, "Succeeded", row["step"], 100.0, f"{row['text']}; the new version has all traffic")


def _bake(house: House, row: dict[str, Any], spec: Spec) -> None:
    if clocks.here(row) >= seconds(spec.keep_old):
        text = "the new version has all traffic, the old one is unloaded"
        _enter(house, row, "Succeeded", row["step"], 100.0, text, traffic.all_to(row["canary_no"]))


def _settle(state: str) -> Any:
    def settle(house: House, row: dict[str, Any], spec: Spec) -> None:
        """End when the servers show stable alone."""
        if _shows(house, row, traffic.all_to(row["stable_no"])):
            _enter(house, row, state, row["step"], 0.0, f"{row['text']}; stable has all traffic")

    return settle


_BY_STATE: dict[str, Any] = {
    "Pending": lambda house, row, spec: _enter(house, row, "Gating", -1, 0.0, "its version is looked at"),
    "Gating": _gate,
    "Provisioning": _provide,
    "Promoting": _promote,
    "Baking": _bake,
    "RollingBack": _settle("RolledBack"),
    "Aborting": _settle("Aborted"),
}
"""What is done in a state beside looking at evidence."""


def _looked(house: House, row: dict[str, Any], spec: Spec, watch: clocks.Watch) -> bool:
    """Look when it is time, and do what follows; tell whether the rollout moved."""
    if not _acknowledged(house, row) or time.monotonic() - watch.looked < seconds(spec.analysis.every):
        return False
    watch.looked = time.monotonic()
    found = looks.take(house, row, spec)
    faults.point(f"rollout:{row['state']}:looked")
    decision = checks.decide(spec, row["state"], row["step"], found, clocks.here(row))
    if decision.move == "back":
        _harmed(house, row, spec, decision.why)
    elif decision.move == "ask":
        _enter(house, row, "Holding", row["step"], row["weight"], decision.why)
    elif decision.move == "next":
        _begin(
            house, row, entry(spec, row["stable_no"], row["canary_no"], row["step"] + 1), row["step"] + 1, decision.why
        )
    return decision.move != "stay"


def _set_back(house: House, row: dict[str, Any]) -> bool:
    """Tell whether the clock was set to a time before the step began: what comes now would count for no step."""

    def since(session: Session) -> int | None:
        now = traffic.current(session, row["deployment_id"])
        return traffic.since(session, row["deployment_id"], now.generation) if now is not None else None

    began = house.read(since)
    return began is not None and now_us() + SECOND < began


def _anew(house: House, row: dict[str, Any], spec: Spec) -> None:
    """Begin a step again with a split of its own, so that its requests are told apart by the clock as it is now."""
    looks.anew(house, row, spec)
    again = entry(spec, row["stable_no"], row["canary_no"], row["step"])
    text = f"the clock was set back: {again.words}, begun anew"
    _enter(house, row, again.state, row["step"], again.weight, text, again.split)


def _harmed(house: House, row: dict[str, Any], spec: Spec, why: str) -> None:
    """Go back, or give stable all traffic and wait for a person, as was asked for."""
    if spec.on_failure == "pause" and "Paused" in STATES[row["state"]].leads:
        preview = entry(spec, row["stable_no"], row["canary_no"], -1).split
        _enter(house, row, "Paused", row["step"], 0.0, why, preview)
    elif not (spec.on_failure == "pause" and row["state"] == "Paused"):
        _back(house, row, why)


def _begin(house: House, row: dict[str, Any], begin: Entry, step: int, why: str = "") -> None:
    """Begin a step; an approval leaves the traffic as it is."""
    now = house.read(lambda s: traffic.current(s, row["deployment_id"]))
    split = None if now is not None and now.split == begin.split else begin.split
    text = f"{why}: {begin.words}" if why else begin.words
    _enter(house, row, begin.state, step, begin.weight, text, split)


def _shows(house: House, row: dict[str, Any], split: Split) -> bool:
    """Make a split the one in force if it is not, and tell whether the servers show it."""
    now = house.read(lambda s: traffic.current(s, row["deployment_id"]))
    if now is None or now.split != split:
        _change(house, row, lambda ctx: traffic.shift(ctx, row["deployment_id"], split, row["strategy"], row["text"]))
        return False
    return _acknowledged(house, row)


def _acknowledged(house: House, row: dict[str, Any]) -> bool:
    """Tell whether the servers show the split in force."""
    now = house.read(lambda s: traffic.current(s, row["deployment_id"]))
    return now is not None and row["acknowledged"] == now.generation


def _back(house: House, row: dict[str, Any], why: str) -> None:
    """Begin to roll back, with stable's split in the same transaction."""
    _enter(house, row, "RollingBack", row["step"], 0.0, why, traffic.all_to(row["stable_no"]))


def _enter(
    house: House, row: dict[str, Any], state: str, step: int, weight: float, text: str, split: Split | None = None
) -> None:
    """Make a transition, with its split if it has one."""

    def change(ctx: Context) -> None:
        came = traffic.shift(ctx, row["deployment_id"], split, row["strategy"], text) if split is not None else None
        rollouts.enter(ctx, row, state, step, weight, text, generation=came)
        house.guard.note(ctx, "rollout.engine", f"rollout:{row['id']}", state, f"{row['deployment']}: {text}")

    _change(house, row, change)


def _change(house: House, row: dict[str, Any], change: Any) -> None:
    """Make a change in one transaction, unless somebody else has moved the rollout since we looked."""

    def unless_moved(ctx: Context) -> None:
        last = ctx.session.value("SELECT max(seq) FROM rollout_event WHERE rollout_id = ?", [row["id"]])
        if last == row["seq"] and _still_there(ctx.session, row["deployment_id"]):
            change(ctx)

    act(house, Caller("system", -1, row["tenant"], reason="rollout engine", request_id=row["id"]), unless_moved)


def _still_there(session: Session, deployment: str) -> bool:
    return bool(session.value("SELECT removed IS NULL FROM deployment WHERE id = ?", [deployment]))
