"""How busy deployments are: their counters, looked at every second and remembered for a minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlops_tui.contracts import load as contract
from mlops_tui.contracts.deploy import OneDeployment
from mlops_tui.core.clock import now_us
from mlops_tui.deploy.find import find_deployment
from mlops_tui.door import Context, House, every, implements
from mlops_tui.serving.deployment import COUNTERS, read_state
from mlops_tui.serving.record.counters import Count, Counters, Gauge, Slot
from mlops_tui.spool.usage import tree

KEPT_S = 60
OVER_S = 5.0
"""Seconds over which a rate is told: long enough to be calm, short enough to be now."""
LEAST_S = 0.5
"""Two samples that are nearer to each other tell no rate."""
TOPIC = "traffic"
"""Of the touch that says that a deployment has answered something since the last look."""
_COUNTED = (Count.OK, Count.MODEL_ERROR, Count.CLIENT_ERROR, Count.FALLBACK)


class Sample(NamedTuple):
    """The counters at a moment (monotonic seconds): a column a revision, by its id."""

    at: float
    columns: Mapping[str, tuple[int, ...]]


_samples: dict[str, deque[Sample]] = {}


@every(1.0, "deploy.load")
def turn(house: House) -> None:
    """Look at the counters of every deployment, and say which of them have moved."""
    rows = house.memo.get(
        ("deploy.load",),
        ("deploy",),
        lambda: house.read(lambda s: s.dicts("SELECT id, tenant FROM deployment WHERE removed IS NULL")),
    )
    for gone in _samples.keys() - {row["id"] for row in rows}:
        del _samples[gone]
    for row in rows:
        seen = sample(house.home.deployments / row["id"])
        if seen is None:
            continue
        kept = _samples.setdefault(row["id"], deque(maxlen=KEPT_S))
        moved = not kept or kept[-1].columns != seen.columns
        kept.append(seen)
        if moved and house.feed.readers:
            house.touch(TOPIC, row["id"], row["tenant"])


def sample(folder: Path) -> Sample | None:
    """Return what a deployment's counters say now; None before it has any."""
    counters = Counters.seen(folder / COUNTERS)
    if counters is None:
        return None
    return Sample(time.monotonic(), {ident: tuple(counters.column(at)) for at, ident, _ in _known(folder)})


def _known(folder: Path) -> list[tuple[int, str, str]]:
    return [(int(at), str(ident), str(label)) for at, ident, label in read_state(folder).get("columns", ())]


@implements(contract.load)
def load(ctx: Context, request: OneDeployment) -> contract.Load:
    """Show how busy a deployment is."""
    row = find_deployment(ctx.session, ctx.tenant, request.deployment)
    folder = ctx.home.deployments / row["id"]
    now = sample(folder)
    before = _earlier(row["id"], now)
    over = now.at - before.at if now and before else 0.0
    workers, gauges = _workers(folder)
    known = [(ident, label) for _, ident, label in _known(folder) if ident] if now else []
    revisions = [_revision(label, ident, now, before) for ident, label in known if now]
    memory = [one.memory for one in workers if one.memory is not None]
    return contract.Load(
        deployment=row["name"],
        ts=now_us(),
        over_s=over,
        requests_s=sum(one.requests_s or 0.0 for one in revisions) if over else None,
        rows_s=_rate(_sum(now, Count.ROWS), _sum(before, Count.ROWS), over),
        connections=gauges[Gauge.CONNECTIONS],
        memory=sum(memory) if memory else None,
        restarts=gauges[Gauge.RESTARTS],
        turned_away=gauges[Gauge.TURNED_AWAY],
        logged_rows=gauges[Gauge.LOG_ROWS],
        dropped_rows=gauges[Gauge.LOG_DROPPED_ROWS],
        workers=workers,
        revisions=revisions,
    )


def _earlier(deployment: str, now: Sample | None) -> Sample | None:
    """Return the kept sample that lies about ``OVER_S`` before now, or the oldest there is."""
    kept = [one for one in _samples.get(deployment, ()) if now and now.at - one.at >= LEAST_S]
    return next((one for one in reversed(kept) if now and now.at - one.at >= OVER_S), kept[0] if kept else None)


def _revision(label: str, ident: str, now: Sample, before: Sample | None) -> contract.RevisionLoad:
    column = now.columns.get(ident) or (0,) * len(Count)
    earlier = before.columns.get(ident) if before else None
    over = now.at - before.at if before else 0.0

    def rate(*counts: Count) -> float | None:
        return _rate(sum(column[c] for c in counts), sum((earlier or column)[c] for c in counts), over)

    return contract.RevisionLoad(
        revision=label,
        requests=sum(column[c] for c in _COUNTED),
        model_errors=column[Count.MODEL_ERROR],
        client_errors=column[Count.CLIENT_ERROR],
        fallbacks=column[Count.FALLBACK],
        rows=column[Count.ROWS],
        requests_s=rate(*_COUNTED),
        errors_s=rate(Count.MODEL_ERROR),
    )


def _sum(of: Sample | None, count: Count) -> int:
    return sum(column[count] for column in of.columns.values()) if of else 0


def _rate(now: int, before: int, over: float) -> float | None:
    """Return what was added a second; a column that was given to another revision begins at nothing."""
    return max(0, now - before) / over if over else None


def _workers(folder: Path) -> tuple[list[contract.Worker], dict[Gauge, int]]:
    """Return the workers as the supervisor last told of them, and the gauges of all together."""
    counters = Counters.seen(folder / COUNTERS)
    if counters is None:
        return [], dict.fromkeys(Gauge, 0)
    slots = counters.slots
    workers = [_worker(told, slots) for told in read_state(folder).get("workers", ())]
    gauges = {gauge: counters.total(gauge) for gauge in Gauge}
    return workers, gauges | {Gauge.CONNECTIONS: sum(one.connections for one in workers)}


def _worker(told: Mapping[str, Any], slots: Sequence[Slot]) -> contract.Worker:
    slot, pid = told["slot"], told["process"]["pid"] if told["process"] else None
    here = told["ready"] and slot < len(slots)
    return contract.Worker(
        slot=slot,
        pid=pid,
        ready=bool(told["ready"]),
        memory=_memory(pid),
        connections=slots[slot][Gauge.CONNECTIONS] if here else 0,
        restarts=told["restarts"],
    )


def _memory(pid: int | None) -> int | None:
    if pid is None:
        return None
    return sum(one.memory for one in tree(pid).values()) or None
