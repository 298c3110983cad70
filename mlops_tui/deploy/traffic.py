"""How traffic is shared: the newest row of ``traffic_event`` is what the servers must show; its seq is the generation."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.door import Context
from mlops_tui.store.session import Session


class Share(msgspec.Struct, kw_only=True):
    """One revision's part: its number, role (stable, canary, shadow, A, B) and weight in per cent."""

    no: int
    role: str
    weight: float


class Split(msgspec.Struct, kw_only=True):
    """The whole split. ``lease`` says that it must be renewed by the agent, or the first share takes all."""

    shares: list[Share]
    sticky: str | None = None
    lease: bool = False


class Traffic(msgspec.Struct, kw_only=True):
    """A split with its generation and how it came about."""

    generation: int
    split: Split
    strategy: str


def current(session: Session, deployment: str) -> Traffic | None:
    """Return the split in force, or None before the first."""
    row = session.row(
        "SELECT seq, split, strategy FROM traffic_event WHERE deployment_id = ? ORDER BY seq DESC LIMIT 1", [deployment]
    )
    return Traffic(generation=row[0], split=msgspec.json.decode(row[1], type=Split), strategy=row[2]) if row else None


def shift(ctx: Context, deployment: str, split: Split, strategy: str, reason: str) -> int:
    """Make a new split the one in force and return its generation; the servers follow within a second."""
    generation = ctx.next("traffic_event")
    ctx.session.insert(
        "traffic_event", seq=generation, deployment_id=deployment, split=msgspec.json.encode(split).decode(), strategy=strategy,
        actor=ctx.caller.name, reason=reason, ts_us=ctx.now,
    )  # fmt: skip
    ctx.wake("deploy.reconcile")
    return generation


def all_to(no: int) -> Split:
    """Return the split that gives one revision everything."""
    return Split(shares=[Share(no=no, role="stable", weight=100.0)])


def stable_no(traffic: Traffic) -> int:
    """Return the revision that is stable (or A) in a split."""
    return next(
        (share.no for share in traffic.split.shares if share.role in ("stable", "A")), traffic.split.shares[0].no
    )


def add_revision(ctx: Context, deployment: str, version: dict[str, Any]) -> int:
    """Return the deployment's revision number of a model version, making it when it is new there.

    Args:
        ctx: the call.
        deployment: id of the deployment.
        version: row of the version, as the registry resolves it.
    """
    from mlops_tui.core.ids import uuid7

    known = ctx.session.value(
        "SELECT no FROM revision WHERE deployment_id = ? AND version_id = ?", [deployment, version["id"]]
    )
    if known is not None:
        return int(known)
    no = int(ctx.session.value("SELECT coalesce(max(no), 0) + 1 FROM revision WHERE deployment_id = ?", [deployment]))
    ctx.session.insert(
        "revision",
        id=uuid7(),
        deployment_id=deployment,
        no=no,
        version_id=version["id"],
        label=f"v{version['version']}",
        created_us=ctx.now,
    )
    ctx.link(f"deployment:{deployment}", "serves", f"model_version:{version['id']}")
    return no
