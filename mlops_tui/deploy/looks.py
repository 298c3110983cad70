"""Looks at a rollout's evidence: what came since the look before, counted once and kept, whoever asks and whenever.

A look is known by (rollout, event, number) and belongs to the step whose traffic it brought; the store has totals, so
what a look added is the difference to the one before, and an agent that is killed counts nothing twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops_tui.contracts.rollout import Check
from mlops_tui.contracts.rollout_file import Spec
from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import Conflict
from mlops_tui.deploy import checks
from mlops_tui.deploy.series import Count, Scale, Series, count, measure, scale, series_of, windows
from mlops_tui.door import House
from mlops_tui.stats.harm import Counts
from mlops_tui.store.session import Session


class Log(NamedTuple):
    """The looks at one series so far, in columns: steps (looks,), badness (marks, looks) and units (looks,) added."""

    steps: NDArray[np.int64]
    bad_c: NDArray[np.float64]
    n_c: NDArray[np.float64]
    bad_s: NDArray[np.float64]
    n_s: NDArray[np.float64]

    @property
    def counts(self) -> Counts:
        """What the test takes."""
        return Counts(self.bad_c, self.bad_s, self.n_c, self.n_s)

    def of_step(self, step: int) -> Count:
        """Return what the looks have counted of a step."""
        mine = self.steps == step
        bad_c, bad_s = self.bad_c[:, mine].sum(axis=1), self.bad_s[:, mine].sum(axis=1)
        return Count(bad_c, int(self.n_c[mine].sum()), bad_s, int(self.n_s[mine].sum()))

    def plus(self, step: int, new: Count) -> Log:
        """Return the log with one look more."""
        return Log(
            np.append(self.steps, step),
            np.column_stack([self.bad_c, new.bad_c]),
            np.append(self.n_c, new.n_c),
            np.column_stack([self.bad_s, new.bad_s]),
            np.append(self.n_s, new.n_s),
        )


class Seen(NamedTuple):
    """A series with its marks and looks, and how many of the looks are new."""

    series: Series
    at: Scale | None
    log: Log
    new: int


def take(house: House, row: dict[str, Any], spec: Spec) -> list[Check]:
    """Count, keep what is new as looks, and judge every check over all looks of the rollout.

    Late labels count at the look after they came, for the step in which their requests were answered. A look without
    news is not kept, so it weighs nothing.

    Args:
        house: the house; only one thread may look at a rollout.
        row: the rollout, as ``rollouts.active`` returns it.
        spec: what was asked for.
    """
    _fix_scales(house, row, spec)
    seen = house.read(lambda s: [_newest(s, row, series) for series in series_of(spec)])
    found = checks.judged(spec, row["step"], {one.series.name: (one.at, one.log.counts) for one in seen})
    fresh = [one for one in seen if one.new]
    if fresh:
        _keep(house, row, fresh, found)
    return found


def judged(session: Session, row: dict[str, Any], spec: Spec) -> list[Check]:
    """Return how every check stands by the looks that were taken."""
    seen = {}
    for series in series_of(spec):
        at = scale(session, row, series)
        seen[series.name] = (at, earlier(session, row["id"], series.name, _marks(at)).counts)
    return checks.judged(spec, row["step"], seen)


def _fix_scales(house: House, row: dict[str, Any], spec: Spec) -> None:
    """Fix the marks of the series that have none yet, once stable is known well enough."""
    now = now_us()

    def found(session: Session) -> dict[str, Scale]:
        new = [one for one in series_of(spec) if scale(session, row, one) is None]
        return {one.name: at for one in new if (at := measure(session, row, one, now)) is not None}

    def write(session: Session) -> None:
        for event, at in fixed.items():
            session.insert("rollout_scale", rollout_id=row["id"], event=event, since_us=at.since, marks=list(at.marks))

    if fixed := house.read(found):
        house.store.write(write)


def _newest(session: Session, row: dict[str, Any], series: Series) -> Seen:
    """Return the looks at a series, with one more for each step that brought something."""
    at = scale(session, row, series)
    log = earlier(session, row["id"], series.name, _marks(at))
    if at is None:
        return Seen(series, None, log, 0)
    new = 0
    for step, total in sorted(count(session, row, series, at, windows(session, row)).items()):
        added = _less(total, log.of_step(step))
        if added.n_c + added.n_s > 0:
            log, new = log.plus(step, added), new + 1
    return Seen(series, at, log, new)


def _less(total: Count, before: Count) -> Count:
    """Return what was added; rows that were deleted meanwhile take nothing away."""
    n_c, n_s = max(0, total.n_c - before.n_c), max(0, total.n_s - before.n_s)
    return Count(np.clip(total.bad_c - before.bad_c, 0, n_c), n_c, np.clip(total.bad_s - before.bad_s, 0, n_s), n_s)


def earlier(session: Session, rollout: str, event: str, marks: int = 1) -> Log:
    """Return the looks so far: the store has totals, the test takes what each look added."""
    rows = session.rows(
        """SELECT step, n_canary, n_stable, coalesce(marks_canary, [bad_canary]), coalesce(marks_stable, [bad_stable])
           FROM rollout_look WHERE rollout_id = ? AND event = ? ORDER BY look""",
        [rollout, event],
    )
    if not rows:
        nothing = np.zeros((marks, 0))
        return Log(np.zeros(0, np.int64), nothing, np.zeros(0), nothing, np.zeros(0))
    steps, n_c, n_s, bad_c, bad_s = (np.array(column) for column in zip(*rows, strict=True))
    return Log(steps, _added(bad_c.T), _added(n_c), _added(bad_s.T), _added(n_s))


def _added(totals: NDArray[Any]) -> NDArray[np.float64]:
    return np.diff(totals.astype(np.float64), axis=-1, prepend=0.0)


def _marks(at: Scale | None) -> int:
    return max(1, len(at.marks)) if at else 1


def _keep(house: House, row: dict[str, Any], fresh: list[Seen], found: list[Check]) -> None:
    """Write new looks down, all or none; each number is given once."""
    now = now_us()

    def write(session: Session) -> None:
        for one in fresh:
            known = session.value(
                "SELECT count(*) FROM rollout_look WHERE rollout_id = ? AND event = ?", [row["id"], one.series.name]
            )
            if known != len(one.log.steps) - one.new:
                raise Conflict(f"a look at {one.series.name} was already counted", "another agent looks, too")
            for look in range(known, len(one.log.steps)):
                session.insert("rollout_look", rollout_id=row["id"], look=look, ts_us=now, **_record(one, look, found))

    house.store.write(write)
    house.touch("rollout", row["id"], row["tenant"])


def _record(seen: Seen, look: int, found: list[Check]) -> dict[str, Any]:
    """Return a look as it is kept: totals so far, and what the check of that name said at it."""
    check = next((one for one in found if one.event == seen.series.name), None)
    log, upto = seen.log, slice(look + 1)
    bad_c, bad_s = (bad[:, upto].sum(axis=1).tolist() for bad in (log.bad_c, log.bad_s))
    mark = check.mark if check else 0
    return {
        "step": int(log.steps[look]),
        "event": seen.series.name,
        "bad_canary": bad_c[mark],
        "n_canary": int(log.n_c[upto].sum()),
        "bad_stable": bad_s[mark],
        "n_stable": int(log.n_s[upto].sum()),
        "marks_canary": bad_c,
        "marks_stable": bad_s,
        "log_e_harm": check.log_e_harm if check else 0.0,
        "log_e_safe": check.log_e_safe if check else 0.0,
        "verdict": check.verdict if check else "continue",
    }
