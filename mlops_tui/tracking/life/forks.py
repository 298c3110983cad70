"""Forks: a run that begins as another one was at some step, with its history so far and its parameters.

The history is copied, so that every reader of the new run sees one whole curve and the two live apart: deleting or
resuming either changes nothing of the other. What the machine did (``system/…``) and files are not taken along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mlops_tui.door import Context, House, prepares
from mlops_tui.spool.reader import Points
from mlops_tui.spool.records import Start
from mlops_tui.spool.usage import PREFIX
from mlops_tui.store.session import Session
from mlops_tui.tracking.runs.contents import headlines, put_params, put_tags

FORKED, TAG = "forked_from", "mlops.fork"
_catching: set[str] = set()
"""Runs whose start waits for another run's files: two that name each other do not wait for each other."""
_HISTORY = """
SELECT step, epoch_us(ts) AS ts, value FROM point WHERE sid = $sid AND ($step IS NULL OR step <= $step)
"""


class Fork(NamedTuple):
    """Where a run begins: another run (its whole id), and the last step of it that counts; None: all of it."""

    run: str
    step: int | None

    def __str__(self) -> str:
        return self.run if self.step is None else f"{self.run}@{self.step}"


@prepares("start")
def catch_up(house: House, owner: str, records: list[Start]) -> None:
    """Have taken in what the run that is forked has written until now."""
    for parent in {record.run.fork for record in records if record.run and record.run.fork}:
        if parent == owner or parent in _catching or house.ingestor is None:
            continue
        _catching.add(owner)
        try:
            house.ingestor.catch_up(parent)
        finally:
            _catching.discard(owner)


def carry(ctx: Context, run: str, fork: Fork, params: Mapping[str, str]) -> int:
    """Give a run the beginning that it has from another; a second time nothing happens.

    Args:
        ctx: the transaction.
        run: the new run.
        fork: where it begins.
        params: what it is given itself; these parameters are not taken from the other.

    Returns:
        how many points it has from there.
    """
    session, edge = ctx.session, [f"run:{run}", f"run:{fork.run}"]
    if session.row("SELECT 1 FROM link WHERE src = ? AND dst = ? AND rel = ?", [*edge, FORKED]):
        return 0
    put_tags(ctx, run, [(ctx.now, {TAG: str(fork)})])
    known = session.row(
        "SELECT p.name FROM run p JOIN run c ON c.tenant = p.tenant WHERE p.id = ? AND c.id = ?", [fork.run, run]
    )
    if known is None:
        ctx.emit("run", run, "forked", f"there is no run {fork.run} whose history it could have", edge[0])
        return 0
    ctx.link(edge[0], FORKED, edge[1])
    theirs = session.rows("SELECT key, value FROM param WHERE run = ? ORDER BY rowid", [fork.run])
    put_params(ctx, run, [(ctx.now, {key: value for key, value in theirs if key not in params})])
    taken = sum(_copy(ctx, run, sid, key, fork.step) for sid, key in history_of(session, fork.run))
    ctx.emit("run", run, "forked", f"begins with {taken:,} values of {known[0]}", edge[0])
    return taken


def history_of(session: Session, run: str) -> list[tuple[int, str]]:
    """Return id and name of the series that a fork takes along."""
    return session.rows(
        "SELECT sid, key FROM series WHERE scope = 'run' AND owner = ? AND NOT starts_with(key, ?) ORDER BY key",
        [run, PREFIX],
    )


def _copy(ctx: Context, run: str, sid: int, key: str, step: int | None) -> int:
    found = ctx.session.columns(_HISTORY, {"sid": sid, "step": step})
    columns = [np.asarray(found[name]) for name in ("step", "ts", "value")]
    which = np.zeros(len(columns[0]), np.int32)
    if len(which):
        ctx.house.series.append_series(ctx.session, "run", [(run, key)], which, *columns)
        headlines(ctx, {run: Points([key], which, *columns)})
    return len(which)
