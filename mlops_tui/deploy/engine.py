"""The rollout engine: from the state in the store to the next one, by evidence from the inference log.

Every turn begins from the store alone, and every transition is one transaction (event, split, look), so a killed agent
goes on where it was. Seconds count only while somebody looks: a step's clock begins anew with the agent.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import msgspec

from mlops_tui.contracts.deploy import StartRollout
from mlops_tui.core.clock import SECOND, now_us
from mlops_tui.deploy import rollouts, traffic
from mlops_tui.deploy.traffic import Share, Split
from mlops_tui.door import Caller, Context, House, every
from mlops_tui.stats.harm import HarmResult, HarmSpec, Look, LookLog, analyse
from mlops_tui.store.session import Session

_clock: dict[tuple[str, int], float] = {}
_looked: dict[str, float] = {}


class Totals(NamedTuple):
    """Bad events and rows so far, of canary and stable."""

    bad_c: int
    n_c: int
    bad_s: int
    n_s: int


@every(0.5, "deploy.rollouts")
def turn(house: House) -> None:
    """Move every rollout that can be moved."""
    for row in house.read(rollouts.active):
        _move(house, row, msgspec.json.decode(row["spec"], type=StartRollout))


def _move(house: House, row: dict[str, Any], spec: StartRollout) -> None:
    state = row["state"]
    if state == "Pending":
        _enter(house, row, "Provisioning", -1, 0.0, "the new version is loaded", _split(row, spec, -1))
    elif state == "Provisioning" and _acknowledged(house, row):
        _first_step(house, row, spec)
    elif state == "Shifting":
        _shifting(house, row, spec)
    elif state == "Promoting":
        _settle(house, row, traffic.all_to(row["canary_no"]), "Succeeded", 100.0, "the new version has all traffic")
    elif state in ("RollingBack", "Aborting"):
        end = "RolledBack" if state == "RollingBack" else "Aborted"
        _settle(house, row, traffic.all_to(row["stable_no"]), end, 0.0, "the stable version has all traffic")
    if (
        state not in ("RollingBack", "Aborting", "Promoting")
        and now_us() - row["started_us"] > spec.deadline_s * SECOND
    ):
        _enter(house, row, "RollingBack", row["step"], 0.0, f"not done within {spec.deadline_s:g} s")


def _first_step(house: House, row: dict[str, Any], spec: StartRollout) -> None:
    if spec.strategy == "blue-green":
        _enter(house, row, "Promoting", 0, 100.0, "the new version is ready: all traffic moves at once")
        return
    weight = spec.steps[0] if spec.strategy == "canary" else 0.0
    words = f"{weight:g} % of the traffic" if weight else "a copy of the traffic, answers unused"
    _enter(house, row, "Shifting", 0, weight, f"step 1: {words}", _split(row, spec, 0))


def _shifting(house: House, row: dict[str, Any], spec: StartRollout) -> None:
    """Look when it is time; then stay, go on, or go back."""
    if not _acknowledged(house, row):
        return
    began = _clock.setdefault((row["id"], row["step"]), time.monotonic())
    if time.monotonic() - _looked.get(row["id"], 0.0) < spec.look_s:
        return
    _looked[row["id"]] = time.monotonic()
    results = look(house, row, spec)
    harm = next((result for result in results.values() if result.verdict == "harm"), None)
    if harm is not None:
        _enter(house, row, "RollingBack", row["step"], 0.0, harm.text)
        return
    waited = time.monotonic() - began >= spec.step_s
    enough = all(not result.hold for result in results.values())
    safe = all(result.verdict == "safe" for result in results.values())
    if waited and not enough and spec.on_no_data == "rollback":
        _enter(house, row, "RollingBack", row["step"], 0.0, "too few rows to judge by")
    elif (waited and (enough or spec.on_no_data == "proceed")) or (enough and safe):
        _next_step(house, row, spec, "proven safe" if safe else "no harm seen")


def _next_step(house: House, row: dict[str, Any], spec: StartRollout, why: str) -> None:
    step = row["step"] + 1
    if spec.strategy == "shadow" or step >= len(spec.steps):
        _enter(house, row, "Promoting", step, 100.0, f"{why}: all traffic")
    else:
        _enter(
            house,
            row,
            "Shifting",
            step,
            spec.steps[step],
            f"{why}: step {step + 1}, {spec.steps[step]:g} %",
            _split(row, spec, step),
        )


def look(house: House, row: dict[str, Any], spec: StartRollout) -> dict[str, HarmResult]:
    """Count, keep the look, and judge each event over all looks of the rollout."""
    harm = HarmSpec(max_ratio=spec.max_ratio, alpha=spec.alpha / len(spec.events), min_requests=spec.min_requests)

    def keep(session: Session) -> dict[str, HarmResult]:
        results = {}
        for event in spec.events:
            before, number, log = _so_far(session, row["id"], event)
            now = count(session, row, event)
            log = log.add(
                Look(
                    f"{row['step']}.{number}",
                    now.bad_c - before.bad_c,
                    now.bad_s - before.bad_s,
                    now.n_c - before.n_c,
                    now.n_s - before.n_s,
                )
            )
            result = results[event] = analyse(log, harm)
            session.insert(
                "rollout_look", rollout_id=row["id"], step=row["step"], look=number, event=event, ts_us=now_us(), bad_canary=now.bad_c, n_canary=now.n_c,
                bad_stable=now.bad_s, n_stable=now.n_s, log_e_harm=result.log_e_harm, log_e_safe=result.log_e_safe, verdict=result.verdict,
            )  # fmt: skip
        return results

    found = house.store.write(keep)
    house.touch("rollout", row["id"], row["tenant"])
    return found


def _so_far(session: Session, rollout: str, event: str) -> tuple[Totals, int, LookLog]:
    """Return the totals of the last look, the next look's number, and the looks as increments."""
    log, before, number = LookLog(), Totals(0, 0, 0, 0), 0
    for step, look_no, *totals in session.rows(
        "SELECT step, look, bad_canary, n_canary, bad_stable, n_stable FROM rollout_look WHERE rollout_id = ? AND event = ? ORDER BY look",
        [rollout, event],
    ):
        now = Totals(*totals)
        log = log.add(
            Look(
                f"{step}.{look_no}",
                now.bad_c - before.bad_c,
                now.bad_s - before.bad_s,
                now.n_c - before.n_c,
                now.n_s - before.n_s,
            )
        )
        before, number = now, look_no + 1
    return before, number, log


_ERRORS = """
    SELECT revision_no, count(*) FILTER (WHERE status >= 2), count(*) FROM inference
    WHERE deployment_id = ? AND ts >= make_timestamp(?) AND revision_no IN (?, ?) AND (revision_no <> ? OR shadow = ?) GROUP BY 1"""
_WRONG = """
    SELECT i.revision_no, count(*) FILTER (WHERE (i.score >= 0.5) <> (l.truth >= 0.5)), count(*)
    FROM inference i JOIN label l ON l.deployment_id = i.deployment_id AND l.request_id = i.request_id AND l."row" = i."row"
    WHERE i.deployment_id = ? AND i.ts >= make_timestamp(?) AND i.revision_no IN (?, ?) AND (i.revision_no <> ? OR i.shadow = ?)
      AND i.status IN (0, 3) AND isfinite(i.score) GROUP BY 1"""


def count(session: Session, row: dict[str, Any], event: str) -> Totals:
    """Return what canary and stable did since the rollout began; never less than at an earlier look."""
    canary, stable = row["canary_no"], row["stable_no"]
    params = [row["deployment_id"], row["started_us"], canary, stable, canary, row["strategy"] == "shadow"]
    found = {no: (bad, n) for no, bad, n in session.rows(_WRONG if event == "wrong" else _ERRORS, params)}
    return Totals(*found.get(canary, (0, 0)), *found.get(stable, (0, 0)))


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
    return now is not None and row["acknowledged"] >= now.generation


def _settle(house: House, row: dict[str, Any], split: Split, state: str, weight: float, text: str) -> None:
    """Make the last split, then wait until the servers show it."""
    now = house.read(lambda s: traffic.current(s, row["deployment_id"]))
    if now is None or now.split != split:
        _shift(house, row, split, text)
    elif row["acknowledged"] >= now.generation:
        _enter(house, row, state, row["step"], weight, text)


def _shift(house: House, row: dict[str, Any], split: Split, reason: str) -> None:
    def work(session: Session) -> Context:
        ctx = Context(house, _engine(row), session)
        traffic.shift(ctx, row["deployment_id"], split, row["strategy"], reason)
        return ctx

    _publish(house, house.store.write(work))


def _enter(
    house: House, row: dict[str, Any], state: str, step: int, weight: float, text: str, split: Split | None = None
) -> None:
    """Make a transition unless somebody else has made one since we looked."""

    def work(session: Session) -> Context:
        ctx = Context(house, _engine(row), session)
        last = session.value(
            "SELECT state FROM rollout_event WHERE rollout_id = ? ORDER BY seq DESC LIMIT 1", [row["id"]]
        )
        if last == row["state"]:
            if split is not None:
                traffic.shift(ctx, row["deployment_id"], split, row["strategy"], text)
            rollouts.enter(ctx, row, state, step, weight, text)
            house.guard.note(ctx, "rollout.engine", f"rollout:{row['id']}", state, f"{row['deployment']}: {text}")
        return ctx

    _publish(house, house.store.write(work))


def _engine(row: dict[str, Any]) -> Caller:
    return Caller("system", -1, row["tenant"], reason="rollout engine", request_id=row["id"])


def _publish(house: House, ctx: Context) -> None:
    house.feed.publish(ctx.events)
    for step in ctx.after:
        step()
