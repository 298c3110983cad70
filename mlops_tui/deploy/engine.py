"""The rollout engine: from the state in the store to the next one, by evidence from the inference log.

Every turn begins from the store alone, and every transition is one transaction (event, split), so a killed agent goes
on where it was. Seconds count only while somebody looks: a step's clock begins anew with the agent, and the deadline
counts the seconds in which an agent watched.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec

from mlops_tui.contracts.deploy import StartRollout
from mlops_tui.deploy import looks, rollouts, traffic
from mlops_tui.deploy.reconcile import refusal
from mlops_tui.deploy.traffic import Share, Split
from mlops_tui.door import Caller, Context, House, act, every
from mlops_tui.stats.harm import HarmResult
from mlops_tui.store.session import Session

log = logging.getLogger(__name__)
TURN_S = 0.5
SAVE_S = 5.0
ADVANCING = ("Pending", "Provisioning", "Shifting")
"""States that the deadline ends."""
WORDS = {"error": "model errors", "wrong": "wrong predictions"}
EXPOSED = ("Provisioning", "Shifting", "Paused", "Promoting")
"""States whose split names the canary: servers that refuse it end the rollout."""


class Clock:
    """The seconds of one rollout that this agent has watched.

    Args:
        seq: of the event by which the rollout came into its state; another one begins the clock of a step anew.
    """

    def __init__(self, seq: int) -> None:
        self.seq, self.entered = seq, time.monotonic()
        self.looked = -float("inf")
        self.turned = time.monotonic()
        self.unsaved = 0.0

    def turn(self, seq: int) -> None:
        """Count the time since the last turn; a machine that slept has watched nothing."""
        now = time.monotonic()
        self.unsaved += min(now - self.turned, 10 * TURN_S)
        self.turned = now
        if seq != self.seq:
            self.seq, self.entered = seq, now

    @property
    def here(self) -> float:
        """Seconds in this state."""
        return time.monotonic() - self.entered


_clocks: dict[str, Clock] = {}


@every(TURN_S, "deploy.rollouts")
def turn(house: House) -> None:
    """Move every rollout that can be moved; what one of them meets stops no other."""
    if not rollouts.MOVING.is_set():
        return
    rollouts.MOVING.clear()
    rows = house.read(rollouts.active)
    if rows:
        rollouts.MOVING.set()
    for gone in _clocks.keys() - {row["id"] for row in rows}:
        del _clocks[gone]
    for row in rows:
        try:
            _move(house, row, msgspec.json.decode(row["spec"], type=StartRollout))
        except Exception:
            log.exception("the rollout of %s: it will be tried again", row["deployment"])


def _move(house: House, row: dict[str, Any], spec: StartRollout) -> None:
    clock = _clocks.setdefault(row["id"], Clock(row["seq"]))
    clock.turn(row["seq"])
    state = row["state"]
    if state in EXPOSED and (why := refusal(house, row["deployment_id"])):
        _back(house, row, f"the servers refuse the new version: {why}")
    elif state in ADVANCING and _watched(house, row, clock) > spec.deadline_s:
        _back(house, row, f"not done within {spec.deadline_s:g} s")
    elif state == "Pending":
        _enter(house, row, "Provisioning", -1, 0.0, "the new version is loaded", _split(row, spec, -1))
    elif state == "Provisioning" and _acknowledged(house, row):
        _first_step(house, row, spec)
    elif state in ("Shifting", "Paused"):
        _watch(house, row, spec, clock)
    elif state == "Promoting":
        _settle(house, row, row["canary_no"], "Succeeded", 100.0, f"{row['text']}; the new version has all traffic")
    elif state in ("RollingBack", "Aborting"):
        end = "RolledBack" if state == "RollingBack" else "Aborted"
        _settle(house, row, row["stable_no"], end, 0.0, f"{row['text']}; stable has all traffic")


def _watched(house: House, row: dict[str, Any], clock: Clock) -> float:
    """Return the seconds in which agents watched a rollout; the store hears of them now and then."""
    if clock.unsaved >= SAVE_S:
        added, clock.unsaved = clock.unsaved, 0.0
        row["watched_s"] += added
        house.store.write(
            lambda s: s.execute("UPDATE rollout SET watched_s = watched_s + ? WHERE id = ?", [added, row["id"]])
        )
    return float(row["watched_s"]) + clock.unsaved


def _first_step(house: House, row: dict[str, Any], spec: StartRollout) -> None:
    if spec.strategy == "blue-green":
        _enter(house, row, "Promoting", 0, 100.0, "the new version is ready")
        return
    weight = spec.steps[0] if spec.strategy == "canary" else 0.0
    words = f"{weight:g} % of the traffic" if weight else "a copy of the traffic, answers unused"
    _enter(house, row, "Shifting", 0, weight, f"step 1: {words}", _split(row, spec, 0))


def _watch(house: House, row: dict[str, Any], spec: StartRollout, clock: Clock) -> None:
    """Look when it is time; then stay, go on, or go back. A paused rollout only ever goes back."""
    if not _acknowledged(house, row) or time.monotonic() - clock.looked < spec.look_s:
        return
    clock.looked = time.monotonic()
    results = looks.take(house, row, spec)
    harm = [f"{WORDS[event]}: {result.text}" for event, result in results.items() if result.verdict == "harm"]
    if harm:
        _back(house, row, "; ".join(harm))
    elif row["state"] == "Shifting":
        _consider(house, row, spec, list(results.values()), clock.here >= spec.step_s)


def _consider(house: House, row: dict[str, Any], spec: StartRollout, results: list[HarmResult], waited: bool) -> None:
    """Go on when it was long enough and enough was seen, or at once when the canary is proven safe."""
    enough = all(not result.hold for result in results)
    safe = all(result.verdict == "safe" for result in results)
    if enough and (waited or safe):
        _next_step(house, row, spec, "proven safe" if safe else "no harm seen")
    elif waited and spec.on_no_data == "rollback":
        _back(house, row, next((result.text for result in results if result.hold), "too few rows to judge by"))
    elif waited and spec.on_no_data == "proceed":
        _next_step(house, row, spec, "too few rows to judge by")


def _next_step(house: House, row: dict[str, Any], spec: StartRollout, why: str) -> None:
    step = row["step"] + 1
    if spec.strategy == "shadow" or step >= len(spec.steps):
        _enter(house, row, "Promoting", step, 100.0, why)
        return
    weight = spec.steps[step]
    _enter(house, row, "Shifting", step, weight, f"{why}: step {step + 1}, {weight:g} %", _split(row, spec, step))


def _split(row: dict[str, Any], spec: StartRollout, step: int) -> Split:
    """Return the split of a step; step -1 loads the canary without traffic."""
    weight = spec.steps[step] if step >= 0 and spec.strategy == "canary" else 0.0
    role = "shadow" if spec.strategy == "shadow" and step >= 0 else "canary"
    shares = [
        Share(no=row["stable_no"], role="stable", weight=100.0 - weight),
        Share(no=row["canary_no"], role=role, weight=weight),
    ]
    return Split(shares=shares, lease=weight > 0)


def _acknowledged(house: House, row: dict[str, Any]) -> bool:
    """Tell whether the servers show the split in force."""
    now = house.read(lambda s: traffic.current(s, row["deployment_id"]))
    return now is not None and row["acknowledged"] == now.generation


def _back(house: House, row: dict[str, Any], why: str) -> None:
    """Begin to roll back, with stable's split in the same transaction."""
    _enter(house, row, "RollingBack", row["step"], 0.0, why, traffic.all_to(row["stable_no"]))


def _settle(house: House, row: dict[str, Any], no: int, state: str, weight: float, text: str) -> None:
    """Give one revision everything, then wait until the servers show it."""
    split = traffic.all_to(no)
    now = house.read(lambda s: traffic.current(s, row["deployment_id"]))
    if now is None or now.split != split:
        _change(house, row, lambda ctx: traffic.shift(ctx, row["deployment_id"], split, row["strategy"], row["text"]))
    elif _acknowledged(house, row):
        _enter(house, row, state, row["step"], weight, text)


def _enter(
    house: House, row: dict[str, Any], state: str, step: int, weight: float, text: str, split: Split | None = None
) -> None:
    """Make a transition, with its split if it has one."""

    def change(ctx: Context) -> None:
        if split is not None:
            traffic.shift(ctx, row["deployment_id"], split, row["strategy"], text)
        rollouts.enter(ctx, row, state, step, weight, text)
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
