"""Looks at a rollout's evidence: what canary and stable did, counted once, and what the harm test says of it."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from mlops_tui.contracts.deploy import StartRollout
from mlops_tui.core.clock import now_us
from mlops_tui.door import House
from mlops_tui.serving.segments import MODEL_ERROR, OK
from mlops_tui.stats.harm import HarmResult, HarmSpec, Look, LookLog, analyse
from mlops_tui.store.session import Session


class Totals(NamedTuple):
    """Bad events and units since the rollout began, of canary and stable."""

    bad_c: int = 0
    n_c: int = 0
    bad_s: int = 0
    n_s: int = 0


_OF_BOTH = """deployment_id = $deployment AND ts >= make_timestamp($since) AND revision_no IN ($canary, $stable)
      AND (revision_no <> $canary OR shadow = $shadow)"""
# A failed request is one event, however many rows it had; what stable answered in the canary's place tells nothing
# of stable, which got requests that are not a sample of its own.
_ERRORS = f"""
    SELECT revision_no, count(*) FILTER (status = {MODEL_ERROR}), count(*) FROM inference
    WHERE {_OF_BOTH} AND "row" = 0 AND status IN ({OK}, {MODEL_ERROR}) GROUP BY 1"""
_WRONG = f"""
    SELECT revision_no, count(*) FILTER ((score >= 0.5) <> (truth >= 0.5)), count(*) FROM outcome
    WHERE {_OF_BOTH} AND status = {OK} GROUP BY 1"""
QUERIES = {"error": _ERRORS, "wrong": _WRONG}


def take(house: House, row: dict[str, Any], spec: StartRollout) -> dict[str, HarmResult]:
    """Count, keep what is new as a look, and judge each event over all looks of the rollout.

    Late labels count at the look after they came. A look without news is not kept, so it weighs nothing.

    Args:
        house: the house; only one thread may look at a rollout.
        row: the rollout, as ``rollouts.active`` returns it.
        spec: what was asked for; each of its k events is judged at alpha/k.
    """
    harm = HarmSpec(max_ratio=spec.max_ratio, alpha=spec.alpha / len(spec.events), min_requests=spec.min_requests)
    results: dict[str, HarmResult] = {}
    kept: list[dict[str, Any]] = []
    for event in spec.events:
        now, log = house.read(partial(_seen, row=row, event=event))
        number = len(log.looks)
        before = _total(log)
        if now != before:
            log = LookLog((*log.looks, _since(before, now, number)))
        result = results[event] = analyse(log, harm)
        if now != before:
            kept.append({"event": event, "look": number, **_record(now, result)})
    if kept:
        _keep(house, row, kept)
    return results


def _seen(session: Session, row: dict[str, Any], event: str) -> tuple[Totals, LookLog]:
    return count(session, row, event), earlier(session, row["id"], event)


def count(session: Session, row: dict[str, Any], event: str) -> Totals:
    """Return what canary and stable did since the rollout began."""
    canary, stable = row["canary_no"], row["stable_no"]
    params = {"deployment": row["deployment_id"], "since": row["started_us"], "canary": canary, "stable": stable}
    rows = session.rows(QUERIES[event], {**params, "shadow": row["strategy"] == "shadow"})
    found = {no: (bad, n) for no, bad, n in rows}
    return Totals(*found.get(canary, (0, 0)), *found.get(stable, (0, 0)))


def earlier(session: Session, rollout: str, event: str) -> LookLog:
    """Return the looks so far: the store has totals, the test takes what each look added."""
    looks, before = [], Totals()
    for number, *totals in session.rows(
        """SELECT look, bad_canary, n_canary, bad_stable, n_stable FROM rollout_look
           WHERE rollout_id = ? AND event = ? ORDER BY look""",
        [rollout, event],
    ):
        now = Totals(*totals)
        looks.append(_since(before, now, number))
        before = now
    return LookLog(tuple(looks))


def _since(before: Totals, now: Totals, number: int) -> Look:
    return Look(
        key=str(number),
        bad_c=now.bad_c - before.bad_c,
        bad_s=now.bad_s - before.bad_s,
        n_c=now.n_c - before.n_c,
        n_s=now.n_s - before.n_s,
    )


def _total(log: LookLog) -> Totals:
    bad_c, bad_s, n_c, n_s = (int(total) for total in log.columns().sum(axis=1))
    return Totals(bad_c, n_c, bad_s, n_s)


def _record(now: Totals, result: HarmResult) -> dict[str, Any]:
    return {
        "bad_canary": now.bad_c,
        "n_canary": now.n_c,
        "bad_stable": now.bad_s,
        "n_stable": now.n_s,
        "log_e_harm": result.log_e_harm,
        "log_e_safe": result.log_e_safe,
        "verdict": result.verdict,
    }


def _keep(house: House, row: dict[str, Any], looks: list[dict[str, Any]]) -> None:
    def write(session: Session) -> None:
        for look in looks:
            session.insert("rollout_look", rollout_id=row["id"], step=row["step"], ts_us=now_us(), **look)

    house.store.write(write)
    house.touch("rollout", row["id"], row["tenant"])
