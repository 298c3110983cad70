"""Looks at a rollout's evidence: what came since the look before, counted once and kept, whoever asks and whenever.

A look is known by (rollout, event, number), belongs to the step whose traffic it brought, and says up to which batch of
predictions or labels it counted; the next one begins there. Both are written as one, so an agent that is killed counts
nothing twice and leaves nothing out, and a look costs what is new, however long a rollout goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops_tui.contracts.rollout import Check
from mlops_tui.contracts.rollout_file import Spec
from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import Conflict
from mlops_tui.deploy.rollout import checks, clients
from mlops_tui.deploy.rollout.machine import sticky_of
from mlops_tui.deploy.rollout.series import (
    Count,
    Scale,
    Series,
    Window,
    count,
    measure,
    newest,
    scale,
    series_of,
    windows,
)
from mlops_tui.door import House
from mlops_tui.serving.traffic.sticky import by_id
from mlops_tui.stats.clients import Clients, due
from mlops_tui.stats.harm import Counts
from mlops_tui.store.session import Session

ANEW = "anew"
"""The verdict of a look that counts nothing, but that everything before it is over."""
READ_S = 60.0
"""Seconds that a look may take: one after a long time without an agent has much to count."""


class Log(NamedTuple):
    """The looks at one series so far, in columns: steps (looks,), badness (marks, looks) and units (looks,) added.

    ``upto`` is the last batch that they counted, ``begins`` the one after which the clock is the same as now. Where
    clients stick to a version, ``first_c`` and ``first_s`` have their first requests, units above badness (1 + marks,
    looks), and ``log_e`` ln e of all their requests at the looks that asked for it, NaN at others (looks,).
    """

    upto: int
    steps: NDArray[np.int64]
    bad_c: NDArray[np.float64]
    n_c: NDArray[np.float64]
    bad_s: NDArray[np.float64]
    n_s: NDArray[np.float64]
    first_c: NDArray[np.float64] | None = None
    first_s: NDArray[np.float64] | None = None
    log_e: NDArray[np.float64] | None = None
    begins: int = 0

    @property
    def counts(self) -> Counts:
        """What the test takes."""
        every = (self.bad_c, self.bad_s, self.n_c, self.n_s)
        if self.first_c is None or self.first_s is None or self.log_e is None:
            return Counts(*every)
        clients = Clients(self.log_e, *every)
        return Counts(self.first_c[1:], self.first_s[1:], self.first_c[0], self.first_s[0], clients)

    def plus(self, step: int, new: Count, upto: int) -> Log:
        """Return the log with one look more."""
        more = {}
        if self.first_c is not None and self.first_s is not None and self.log_e is not None:
            first = new.first or new  # where both answer each request, requests are the units
            more = {
                "first_c": np.column_stack([self.first_c, [first.n_c, *first.bad_c]]),
                "first_s": np.column_stack([self.first_s, [first.n_s, *first.bad_s]]),
                "log_e": np.append(self.log_e, np.nan),
            }
        return Log(
            upto,
            np.append(self.steps, step),
            np.column_stack([self.bad_c, new.bad_c]),
            np.append(self.n_c, new.n_c),
            np.column_stack([self.bad_s, new.bad_s]),
            np.append(self.n_s, new.n_s),
            **more,
            begins=self.begins,
        )

    def due(self, within: Sequence[Window], least: int) -> bool:
        """Tell whether it is time to ask for all requests of each client, ``least`` of the canary before the first."""
        weights = {window.step: window.weight / 100 for window in within if window.drawn}
        drawn = np.array([weights.get(int(step), 0.0) for step in self.steps])
        asked = np.cumsum((self.n_c + self.n_s) * (drawn > 0))
        before = asked[~np.isnan(self.log_e)].max(initial=0.0) if self.log_e is not None else 0.0
        expected = ((self.n_c + self.n_s) * drawn).sum()
        return bool(expected >= least) and due(float(asked[-1]), float(before))


class Seen(NamedTuple):
    """A series with its marks and looks, how many of the looks are new, and the clients that these counted."""

    series: Series
    at: Scale | None
    log: Log
    new: int
    clients: dict[str, NDArray[Any]]


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
    seen = house.read(lambda s: [_newest(s, row, series, spec) for series in series_of(spec)], READ_S)
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
        seen[series.name] = (at, earlier(session, row["id"], series.name, _marks(at), by_client(spec)).counts)
    return checks.judged(spec, row["step"], seen)


def anew(house: House, row: dict[str, Any], spec: Spec) -> None:
    """Leave out what has come so far and was not counted: the clock was set back since, it cannot be told whose it is.

    Args:
        house: the house.
        row: the rollout, as ``rollouts.active`` returns it.
        spec: what was asked for.
    """

    def nothing(session: Session, series: Series) -> Seen:
        at, sticky = scale(session, row, series), by_client(spec)
        log = earlier(session, row["id"], series.name, _marks(at), sticky)
        zeros = np.zeros(_marks(at))
        return Seen(series, at, log.plus(row["step"], Count(zeros, 0, zeros, 0), newest(session, series)), 1, {})

    fresh = house.read(lambda s: [nothing(s, series) for series in series_of(spec)], READ_S)
    _keep(house, row, fresh, [], ANEW)


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


def by_client(spec: Spec) -> bool:
    """Tell whether clients stick to a version, so that they are what is counted and not their requests."""
    said = sticky_of(spec)
    return said is not None and not by_id(said)


def _newest(session: Session, row: dict[str, Any], series: Series, spec: Spec) -> Seen:
    """Return the looks at a series, with one more for each step that brought something."""
    at, sticky = scale(session, row, series), by_client(spec)
    log = earlier(session, row["id"], series.name, _marks(at), sticky)
    if at is None:
        return Seen(series, None, log, 0, {})
    before, upto = len(log.steps), newest(session, series)
    shown, batches = windows(session, row), (log.upto, upto)
    found = clients.count(session, row, series, at, shown, batches) if sticky else clients.Counted([], {})
    plain = [window for window in shown if not (sticky and window.drawn)]
    looks = [*found.looks, *count(session, row, series, at, plain, batches).items()]
    for step, added in sorted(looks, key=lambda look: look[0]):
        log = log.plus(step, added, upto)
    if log.log_e is not None and looks and log.due(shown, spec.analysis.min_requests):
        log.log_e[-1] = clients.log_e(session, row, series, at, shown, (log.begins, upto))
    return Seen(series, at, log, len(log.steps) - before, found.seen)


def earlier(session: Session, rollout: str, event: str, marks: int = 1, sticky: bool = False) -> Log:
    """Return the looks so far: the store has totals, the test takes what each look added.

    Args:
        session: of the store.
        rollout: its id.
        event: name of the series.
        marks: how many it has.
        sticky: clients are counted.
    """
    rows = session.rows(
        f"""SELECT upto, step, n_canary, n_stable, coalesce(marks_canary, [bad_canary]),
             coalesce(marks_stable, [bad_stable]), first_canary, first_stable, coalesce(log_e_clients, 'NaN'::DOUBLE),
             CASE WHEN verdict = '{ANEW}' THEN upto ELSE 0 END
           FROM rollout_look WHERE rollout_id = ? AND event = ? ORDER BY look""",
        [rollout, event],
    )
    if not rows:
        nothing, none, first = np.zeros((marks, 0)), np.zeros(0), np.zeros((1 + marks, 0))
        empty = Log(0, np.zeros(0, np.int64), nothing, none, nothing, none)
        return empty._replace(first_c=first, first_s=first, log_e=none) if sticky else empty
    upto, steps, n_c, n_s, bad_c, bad_s, *by_client = (np.array(column) for column in zip(*rows, strict=True))
    first_c, first_s, log_e, begins = by_client
    log = Log(int(upto.max()), steps, _added(bad_c.T), _added(n_c), _added(bad_s.T), _added(n_s))
    if sticky:
        log = log._replace(first_c=_added(first_c.T), first_s=_added(first_s.T), log_e=log_e)
    return log._replace(begins=int(begins.max()))


def _added(totals: NDArray[Any]) -> NDArray[np.float64]:
    return np.diff(totals.astype(np.float64), axis=-1, prepend=0.0)


def _marks(at: Scale | None) -> int:
    return max(1, len(at.marks)) if at else 1


def _keep(house: House, row: dict[str, Any], fresh: list[Seen], found: list[Check], said: str = "") -> None:
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
                session.insert(
                    "rollout_look", rollout_id=row["id"], look=look, ts_us=now, **_record(one, look, found, said)
                )
            clients.keep(session, row["id"], one.series, one.clients)

    house.store.write(write)
    house.touch("rollout", row["id"], row["tenant"])


def _record(seen: Seen, look: int, found: list[Check], said: str) -> dict[str, Any]:
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
        "first_canary": None if log.first_c is None else log.first_c[:, upto].sum(axis=1).tolist(),
        "first_stable": None if log.first_s is None else log.first_s[:, upto].sum(axis=1).tolist(),
        "log_e_clients": None if log.log_e is None or isnan(log.log_e[look]) else float(log.log_e[look]),
        "marks_canary": bad_c,
        "marks_stable": bad_s,
        "log_e_harm": check.log_e_harm if check else 0.0,
        "log_e_safe": check.log_e_safe if check else 0.0,
        "verdict": said or (check.verdict if check else "continue"),
    }
