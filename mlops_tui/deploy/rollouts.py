"""Rollouts as the store has them: found, listed, shown, and moved from state to state."""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from mlops_tui.contracts import deploy as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.core.errors import NotFound
from mlops_tui.core.ids import matches
from mlops_tui.deploy.find import labels_of
from mlops_tui.door import Context
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

TERMINAL = ("Succeeded", "RolledBack", "Aborted", "Superseded")
KEPT_LOOKS = 200
MOVING = threading.Event()
"""Set while a rollout may be under way, so that nobody looks for one all the time."""
MOVING.set()
_LAST = """(SELECT * FROM rollout_event QUALIFY row_number() OVER (PARTITION BY rollout_id ORDER BY seq DESC) = 1)"""
_ROWS = f"""
    SELECT r.*, epoch_us(r.started) AS started_us, d.name AS deployment, d.acknowledged,
           e.seq, e.state, e.step, e.weight, e.text, epoch_us(e.ts) AS since
    FROM rollout r JOIN deployment d ON d.id = r.deployment_id JOIN {_LAST} e ON e.rollout_id = r.id"""

lists(
    Listing(
        noun="rollout",
        source=f"""rollout r JOIN deployment d ON d.id = r.deployment_id JOIN {_LAST} e ON e.rollout_id = r.id
            JOIN revision s ON s.deployment_id = d.id AND s.no = r.stable_no
            JOIN revision c ON c.deployment_id = d.id AND c.no = r.canary_no""",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="deployment", label="deployment"),
            Column(name="strategy", label="strategy"),
            Column(name="change", label="change"),
            Column(name="state", label="state", kind="status"),
            Column(name="weight", label="weight", kind="float", unit="%"),
            Column(name="started", label="started", kind="time"),
            Column(name="actor", label="by"),
            Column(name="text", label="why"),
        ],
        expressions={
            "id": "r.id",
            "deployment": "d.name",
            "strategy": "r.strategy",
            "change": "s.label || ' → ' || c.label",
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
    servers have ``acknowledged``; of the newest event seq, state, step, weight, text and ``since`` (µs).
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


def enter(ctx: Context, rollout: dict[str, Any], state: str, step: int, weight: float, text: str) -> None:
    """Write a transition down and tell everyone."""
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
    )
    ctx.emit("rollout", rollout["id"], state.lower(), f"{rollout['deployment']}: {text}", f"rollout:{rollout['id']}")
    ctx.after.append(MOVING.set)
    ctx.wake("deploy.rollouts")


def shown(session: Session, row: dict[str, Any]) -> contract.Rollout:
    """Return a rollout with its evidence and timeline."""
    looks = session.dicts(
        f"""SELECT * EXCLUDE (rollout_id) REPLACE (epoch_us(ts) AS ts) FROM rollout_look
            WHERE rollout_id = ? ORDER BY look DESC, event LIMIT {KEPT_LOOKS}""",
        [row["id"]],
    )
    events = session.dicts(
        """SELECT epoch_us(ts) AS ts, state, step, weight, text, actor FROM rollout_event
           WHERE rollout_id = ? ORDER BY seq""",
        [row["id"]],
    )
    labels = labels_of(session, row["deployment_id"])
    return contract.Rollout(
        id=row["id"],
        deployment=row["deployment"],
        strategy=row["strategy"],
        state=row["state"],
        step=row["step"],
        steps=msgspec.json.decode(row["spec"], type=contract.StartRollout).steps,
        stable=labels[row["stable_no"]],
        canary=labels[row["canary_no"]],
        started=row["started_us"],
        ended=row["since"] if row["state"] in TERMINAL else None,
        actor=row["actor"],
        text=row["text"],
        looks=[contract.Look(**look) for look in looks],
        events=[contract.RolloutEvent(**event) for event in events],
    )
