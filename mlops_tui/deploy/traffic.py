"""How traffic is shared: the newest ``traffic_event`` is what the servers must show, its seq is the generation."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.core.ids import uuid7
from mlops_tui.deploy.package import tuned
from mlops_tui.door import Context
from mlops_tui.store.session import Session

TESTED = ("A", "B")
"""Roles of a split that belongs to an A/B test."""


class Share(msgspec.Struct, kw_only=True):
    """One revision's part: its number, role (stable, canary, shadow, A, B) and weight in per cent."""

    no: int
    role: str
    weight: float


class Split(msgspec.Struct, kw_only=True):
    """The whole split. ``lease`` says that the agent must renew it, or the stable revision takes all.

    ``lease_s`` is how long it lasts; None: as long as the setting ``deploy.lease_s`` says.
    """

    shares: list[Share]
    sticky: str | None = None
    lease: bool = False
    lease_s: float | None = None

    @property
    def stable(self) -> int:
        """The revision that answers for the others: the stable one, or A."""
        return next((share.no for share in self.shares if share.role in ("stable", "A")), self.shares[0].no)

    @property
    def tested(self) -> bool:
        """Tell whether an A/B test shares the traffic."""
        return any(share.role in TESTED for share in self.shares)


class Traffic(msgspec.Struct, kw_only=True):
    """A split with its generation and how it came about."""

    generation: int
    split: Split
    strategy: str


def current(session: Session, deployment: str) -> Traffic | None:
    """Return the split in force, or None before the first."""
    found = _events(session, "deployment_id = ? ORDER BY seq DESC LIMIT 1", deployment)
    return found[0] if found else None


def stable_before(session: Session, deployment: str, generation: int) -> int | None:
    """Return the stable revision of the split before a generation; None when that was the first."""
    found = _events(session, "deployment_id = ? AND seq < ? ORDER BY seq DESC LIMIT 1", deployment, generation)
    return found[0].split.stable if found else None


def before_stable(session: Session, deployment: str) -> int | None:
    """Return the revision that a rollback leads to; None when there is none.

    The stable revisions are a stack, and each rollback took one off: a second rollback goes further back, never
    forward to what was rolled back.
    """
    stack: list[int] = []
    for one in _events(session, "deployment_id = ? ORDER BY seq", deployment):
        if one.split.tested:
            continue
        no = one.split.stable
        while one.strategy == "rollback" and stack and stack[-1] != no:
            stack.pop()
        if not stack or stack[-1] != no:
            stack.append(no)
    return stack[-2] if len(stack) > 1 else None


def _events(session: Session, where: str, *params: Any) -> list[Traffic]:
    rows = session.rows(f"SELECT seq, split, strategy FROM traffic_event WHERE {where}", list(params))
    return [
        Traffic(generation=seq, split=msgspec.json.decode(split, type=Split), strategy=strategy)
        for seq, split, strategy in rows
    ]


def shift(ctx: Context, deployment: str, split: Split, strategy: str, reason: str) -> int:
    """Make a new split the one in force and return its generation; the servers follow within a second."""
    generation = ctx.next("traffic_event")
    ctx.session.insert(
        "traffic_event",
        seq=generation,
        deployment_id=deployment,
        split=msgspec.json.encode(split).decode(),
        strategy=strategy,
        actor=ctx.caller.name,
        reason=reason,
        ts_us=ctx.now,
    )
    ctx.after.append(lambda: ctx.house.touch("deploy", deployment, ctx.tenant))
    ctx.wake("deploy.reconcile")
    return generation


def all_to(no: int) -> Split:
    """Return the split that gives one revision everything."""
    return Split(shares=[Share(no=no, role="stable", weight=100.0)])


def since(session: Session, deployment: str, generation: int) -> int | None:
    """Return when the servers were first seen to show a split, in µs; None while they have not."""
    found: int | None = session.value(
        "SELECT epoch_us(min(ts)) FROM traffic_ack WHERE deployment_id = ? AND generation = ?", [deployment, generation]
    )
    return found


def add_revision(ctx: Context, deployment: str, version: dict[str, Any]) -> int:
    """Return the deployment's revision number of a model version, making it when it is new there.

    Args:
        ctx: the call.
        deployment: id of the deployment.
        version: row of the version, as the registry resolves it.
    """
    known = ctx.session.value(
        "SELECT no FROM revision WHERE deployment_id = ? AND version_id = ?", [deployment, version["id"]]
    )
    if known is not None:
        return int(known)
    labels = dict(ctx.session.rows("SELECT label, no FROM revision WHERE deployment_id = ?", [deployment]))
    no, label = max(labels.values(), default=0) + 1, f"v{version['version']}"
    ctx.session.insert(
        "revision",
        id=uuid7(),
        deployment_id=deployment,
        no=no,
        version_id=version["id"],
        label=f"{version['model']}-{label}" if label in labels else label,
        variant=tuned.variant_for(ctx.session, deployment, version["digest"]),
        created_us=ctx.now,
    )
    ctx.link(f"deployment:{deployment}", "serves", f"model_version:{version['id']}")
    return no
