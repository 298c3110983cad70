"""Rollouts as the store has them: found, listed, shown, and moved from state to state."""

from __future__ import annotations

import threading
from typing import Any

from mlops_tui.contracts import rollout as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.rollout_file import Spec, seconds
from mlops_tui.core import faults
from mlops_tui.core.errors import Conflict, NotFound
from mlops_tui.core.ids import matches
from mlops_tui.deploy.find import labels_of
from mlops_tui.deploy.rollout import checks, clocks, looks, mirror
from mlops_tui.deploy.rollout.file import kept
from mlops_tui.deploy.rollout.machine import STATES, TERMINAL, legal
from mlops_tui.deploy.toggles.holding import holding
from mlops_tui.door import Context
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

KEPT_LOOKS = 200
MOVING = threading.Event()
"""Set while a rollout may be under way, so that nobody looks for one all the time."""
MOVING.set()
_LAST = """(SELECT * FROM rollout_event QUALIFY row_number() OVER (PARTITION BY rollout_id ORDER BY seq DESC) = 1)"""
_ROWS = f"""
    SELECT r.*, epoch_us(r.started) AS started_us, d.name AS deployment, d.acknowledged,
           e.seq, e.state, e.step, e.weight, e.text, epoch_us(e.ts) AS since, coalesce(e.watched_s, 0) AS entered_s
    FROM rollout r JOIN deployment d ON d.id = r.deployment_id JOIN {_LAST} e ON e.rollout_id = r.id"""

lists(
    Listing(
        noun="rollout",
        source=f"""rollout r JOIN deployment d ON d.id = r.deployment_id JOIN {_LAST} e ON e.rollout_id = r.id
            JOIN revision s ON s.deployment_id = d.id AND s.no = r.stable_no
            JOIN revision c ON c.deployment_id = d.id AND c.no = r.canary_no""",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="change", label="change"),
            Column(name="deployment", label="deployment"),
            Column(name="strategy", label="strategy"),
            Column(name="state", label="state", kind="status"),
            Column(name="weight", label="weight", kind="float", unit="%"),
            Column(name="started", label="started", kind="time"),
            Column(name="actor", label="by"),
            Column(name="text", label="why"),
        ],
        expressions={
            "id": "r.id",
            "change": "s.label || ' → ' || c.label",
            "deployment": "d.name",
            "strategy": "r.strategy",
            "state": "e.state",
            "weight": "e.weight",
            "started": "epoch_us(r.started)",
            "actor": "r.actor",
            "text": "e.text",
        },
        sort="-started",
        tenant="r.tenant",
    )
)


def active(session: Session, deployment: str | None = None) -> list[dict[str, Any]]:
    """Return rollouts that are not over, with their newest state, oldest first.

    Each row has the columns of ``rollout``, ``started_us``, the deployment's name as ``deployment`` and what its
    servers have ``acknowledged``; of the newest event seq, state, step, weight, text, ``since`` (µs) and ``entered_s``,
    how long agents had watched by then.
    """
    over = ", ".join(f"'{state}'" for state in TERMINAL)
    return session.dicts(
        f"""{_ROWS} WHERE e.state NOT IN ({over}) AND d.removed IS NULL
            AND (? IS NULL OR r.deployment_id = ?) ORDER BY r.started""",
        [deployment, deployment],
    )


def find(session: Session, tenant: str, typed: str) -> dict[str, Any]:
    """Return the rollout that a person means, as :func:`active` does: by id, or the newest of a deployment.

    Raises:
        NotFound: there is none.
    """
    for row in session.dicts(f"{_ROWS} WHERE r.tenant = ? ORDER BY r.started DESC", [tenant]):
        if row["deployment"] == typed or matches(row["id"], typed):
            return row
    raise NotFound(f"there is no rollout {typed!r}", "", "mlops rollout list shows them")


def newest(session: Session, deployment: str) -> dict[str, Any] | None:
    """Return the rollout of a deployment that was started last, as :func:`active` does."""
    return session.dict(f"{_ROWS} WHERE r.deployment_id = ? ORDER BY r.started DESC LIMIT 1", [deployment])


def enter(
    ctx: Context,
    rollout: dict[str, Any],
    state: str,
    step: int,
    weight: float,
    text: str,
    *,
    word: str = "",
    generation: int | None = None,
) -> None:
    """Write a transition down and tell everyone.

    This is the intent: whatever follows from it (routes, loads, drains) is read from here and can be done again.

    Args:
        ctx: the call, whose transaction it is part of.
        rollout: its row.
        state: to enter.
        step: where it stands then.
        weight: of the new version, in per cent.
        text: why.
        word: what a person said; empty: the engine moves it.
        generation: the split that comes with it; None: the one in force stays.

    Raises:
        Conflict: the table of states has no such move.
    """
    before = ctx.session.value(
        "SELECT state FROM rollout_event WHERE rollout_id = ? ORDER BY seq DESC LIMIT 1", [rollout["id"]]
    )
    if before is not None and not legal(before, state, word):
        raise Conflict(f"the rollout of {rollout['deployment']} is {before}", f"it cannot become {state}")
    faults.point(f"rollout:{state}:before")
    ctx.session.insert(
        "rollout_event",
        seq=ctx.next("rollout_event"),
        rollout_id=rollout["id"],
        state=state,
        step=step,
        weight=weight,
        text=text,
        actor=ctx.caller.name,
        ts_us=ctx.now,
        generation=generation,
        watched_s=clocks.save(ctx.session, rollout["id"]),
    )
    ctx.emit("rollout", rollout["id"], state.lower(), f"{rollout['deployment']}: {text}", f"rollout:{rollout['id']}")
    ctx.after.append(lambda: faults.point(f"rollout:{state}:after"))
    ctx.after.append(MOVING.set)
    ctx.wake("deploy.rollouts")


def shown(session: Session, row: dict[str, Any]) -> contract.Rollout:
    """Return a rollout with its evidence and timeline."""
    spec = kept(row["spec"])
    newest = session.dicts(
        f"""SELECT {", ".join(contract.Look.__struct_fields__).replace("ts,", "epoch_us(ts) AS ts,")} FROM rollout_look
            WHERE rollout_id = ? ORDER BY look DESC, event LIMIT {KEPT_LOOKS}""",
        [row["id"]],
    )
    events = session.dicts(
        """SELECT epoch_us(ts) AS ts, state, step, weight, text, actor FROM rollout_event
           WHERE rollout_id = ? ORDER BY seq""",
        [row["id"]],
    )
    labels = labels_of(session, row["deployment_id"])
    stand = looks.judged(session, row, spec)
    return contract.Rollout(
        id=row["id"],
        deployment=row["deployment"],
        strategy=row["strategy"],
        state=row["state"],
        step=row["step"],
        steps=[contract.StepShown(kind=one.kind, weight=one.weight or 0.0, text=one.text) for one in spec.steps],
        stable=labels[row["stable_no"]],
        canary=labels[row["canary_no"]],
        digest=spec.digest,
        started=row["started_us"],
        ended=row["since"] if row["state"] in TERMINAL else None,
        actor=row["actor"],
        text=row["text"],
        why=_why(row, spec, stand, _held(session, row, labels[row["canary_no"]])),
        watched_s=clocks.watched(row),
        deadline_s=seconds(spec.deadline),
        looks=[contract.Look(**look) for look in newest],
        checks=stand,
        events=[contract.RolloutEvent(**event) for event in events],
        compared=mirror.compared(session, row, spec),
        sees=row["sees"],
    )


def _held(session: Session, row: dict[str, Any], canary: str) -> str:
    """Say which toggles keep a rollout from its requests, while it waits for them."""
    if row["state"] not in ("Shadowing", "Shifting"):
        return ""
    return holding(session, row["tenant"], row["deployment"], canary, row["state"] == "Shadowing")


def _why(row: dict[str, Any], spec: Spec, stand: list[contract.Check], held: str) -> str:
    """Say in a sentence why a rollout stands where it does."""
    if STATES[row["state"]].judged:
        why = checks.decide(spec, row["state"], row["step"], stand, clocks.here(row)).why
        return "; ".join(filter(None, (why, held)))
    return str(row["text"])
