"""Looks at a rollout's evidence: what came since the look before, counted once and kept, whoever asks and whenever.

A look is known by (rollout, event, number), belongs to the step whose traffic it brought, and says up to which batch of
predictions or labels it counted; the next one begins there. Both are written as one, so an agent that is killed counts
nothing twice and leaves nothing out, and a look costs what is new, however long a rollout goes on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops_tui.contracts.rollout import Check
from mlops_tui.contracts.rollout_file import Spec
from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import Conflict
from mlops_tui.deploy.rollout import checks
from mlops_tui.deploy.rollout.series import Count, Scale, Series, count, measure, newest, scale, series_of, windows
from mlops_tui.door import House
from mlops_tui.stats.harm import Counts
from mlops_tui.store.session import Session

READ_S = 60.0
"""Seconds that a look may take: one after a long time without an agent has much to count."""


class Log(NamedTuple):
    """The looks at one series so far, in columns: steps (looks,), badness (marks, looks) and units (looks,) added.

    ``upto`` is the last batch that they counted.
    """

    upto: int
    steps: NDArray[np.int64]
    bad_c: NDArray[np.float64]
    n_c: NDArray[np.float64]
    bad_s: NDArray[np.float64]
    n_s: NDArray[np.float64]

    @property
    def counts(self) -> Counts:
        """What the test takes."""
        return Counts(self.bad_c, self.bad_s, self.n_c, self.n_s)

    def plus(self, step: int, new: Count, upto: int) -> Log:
        """Return the log with one look more."""
        return Log(
            upto,
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
    seen = house.read(lambda s: [_newest(s, row, series) for series in series_of(spec)], READ_S)
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
    before, upto = len(log.steps), newest(session, series)
    for step, added in sorted(count(session, row, series, at, windows(session, row), (log.upto, upto)).items()):
        log = log.plus(step, added, upto)
    return Seen(series, at, log, len(log.steps) - before)


def earlier(session: Session, rollout: str, event: str, marks: int = 1) -> Log:
    """Return the looks so far: the store has totals, the test takes what each look added."""
    rows = session.rows(
        """SELECT upto, step, n_canary, n_stable, coalesce(marks_canary, [bad_canary]),
             coalesce(marks_stable, [bad_stable])
           FROM rollout_look WHERE rollout_id = ? AND event = ? ORDER BY look""",
        [rollout, event],
    )
    if not rows:
        nothing = np.zeros((marks, 0))
        return Log(0, np.zeros(0, np.int64), nothing, np.zeros(0), nothing, np.zeros(0))
    upto, steps, n_c, n_s, bad_c, bad_s = (np.array(column) for column in zip(*rows, strict=True))
    return Log(int(upto.max()), steps, _added(bad_c.T), _added(n_c), _added(bad_s.T), _added(n_s))


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
        "upto": log.upto,
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
