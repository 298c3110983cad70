"""What is counted of a rollout's requests: how bad each was, at the canary and at stable, under one weight at a time.

A request's badness is 0 or 1 for ``error``, ``latency`` (at several marks) and ``score`` (above several marks), and
the share of its wrong rows for ``wrong``. Requests count for the step whose traffic they were part of: from the moment
when the servers were seen to show its split until the next one was written. What came in between counts for neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops_tui.contracts.rollout_file import Harm, Limit, Spec
from mlops_tui.serving.record.segments import MODEL_ERROR, OK
from mlops_tui.store.session import Session

QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)
"""Where latencies are compared: stable's own quantiles."""
CUTS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Where scores are compared."""
ENOUGH_TO_SCALE = 100
NEWEST = 20_000
"""Requests of stable from which its quantiles are taken, the newest before anything is counted."""
MS = 1000.0


class Series(NamedTuple):
    """One thing that is counted.

    Args:
        name: what looks are kept under.
        column: whose values are held against the marks; empty: a request is bad or it is not.
        harm: for latency, what canary may be slower by.
        marks: fixed ones; empty: quantiles of stable at ``shares``.
        shares: see marks.
    """

    name: str
    column: str = ""
    harm: Harm | None = None
    marks: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def table(self) -> str:
        """Where its requests are; their batches are numbered by ``seq``, in the order in which they were committed."""
        return "outcome" if self.name == "wrong" else "inference"

    @property
    def scaled(self) -> bool:
        """Tell whether stable must be known before anything can be counted."""
        return bool(self.shares)

    def of_canary(self, mark: float) -> float:
        """Return the canary's mark beside one of stable's."""
        return mark if self.harm is None else mark * self.harm.max_slowdown + self.harm.slack_ms * MS


class Scale(NamedTuple):
    """Marks in the column's unit, and since when requests count."""

    marks: tuple[float, ...]
    since: int


class Window(NamedTuple):
    """A time in which the servers showed one step's split, in µs; ``until`` is far ahead while they still do.

    In a ``shadow`` window the canary's answers to copies count, else those that clients got; ``weight`` is the
    canary's, in per cent.
    """

    step: int
    since: int
    until: int
    shadow: bool
    weight: float = 0.0

    @property
    def drawn(self) -> bool:
        """Tell whether the router drew who is whose: not when both answer, or the canary alone."""
        return not self.shadow and 0 < self.weight < 100


class Count(NamedTuple):
    """What batches brought to one step: badness at each mark and units of canary (c) and stable (s).

    Where clients stick to a version, ``first`` has the first requests of those whom chance drew.
    """

    bad_c: NDArray[np.float64]
    n_c: int
    bad_s: NDArray[np.float64]
    n_s: int
    first: Count | None = None


def series_of(spec: Spec) -> list[Series]:
    """Return what must be counted for a rollout's checks."""
    found: dict[str, Series] = {one.event: of_harm(one) for one in spec.analysis.harm}
    for limit in map(of_limit, spec.analysis.limits):
        found.setdefault(limit.name, limit)
    if spec.analysis.drift:
        found["score"] = Series("score", "score", shares=CUTS)
    return list(found.values())


def of_harm(check: Harm) -> Series:
    """Return the series of a comparison with stable."""
    if check.event == "latency":
        return Series("latency", "latency", harm=check, shares=QUANTILES)
    return Series(check.event)


def of_limit(check: Limit) -> Series:
    """Return the series of an absolute limit."""
    if check.event == "latency":
        return Series(f"latency>{check.above_ms:g}ms", "latency", marks=(check.above_ms * MS,))
    return Series(check.event)


def windows(session: Session, row: dict[str, Any]) -> list[Window]:
    """Return the times in which the servers showed a step of a rollout, oldest first.

    A clock that was set back goes through the same times twice: they belong to the step that has them now.
    """
    rows = session.rows(
        """
        SELECT e.step, epoch_us(a.ts),
          (SELECT epoch_us(min(t.ts)) FROM traffic_event t
           WHERE t.deployment_id = $deployment AND t.seq > e.generation), e.state = 'Shadowing', e.weight
        FROM rollout_event e
        JOIN (SELECT generation, min(ts) AS ts FROM traffic_ack WHERE deployment_id = $deployment GROUP BY 1) a
          USING (generation)
        WHERE e.rollout_id = $rollout AND e.state IN ('Shadowing', 'Shifting', 'Promoting') ORDER BY e.seq
        """,
        {"deployment": row["deployment_id"], "rollout": row["id"]},
    )
    found: list[Window] = []
    later = 2**62
    for step, since, until, shadow, weight in reversed(rows):
        found.append(Window(step, since, min(later, 2**62 if until is None else until), shadow, weight))
        later = min(later, since)
    return [window for window in reversed(found) if window.since < window.until]


def scale(session: Session, row: dict[str, Any], series: Series) -> Scale | None:
    """Return the marks of a series as they were fixed; None when they were not yet."""
    if not series.scaled:
        return Scale(series.marks, 0)
    found = session.row(
        "SELECT marks, epoch_us(since) FROM rollout_scale WHERE rollout_id = ? AND event = ?", [row["id"], series.name]
    )
    return Scale(tuple(found[0]), found[1]) if found else None


def measure(session: Session, row: dict[str, Any], series: Series, now: int) -> Scale | None:
    """Return marks from what stable did before the first window, else before now; None when that is too little.

    They come from requests that are not counted, so nothing that is compared had a say in them.
    """
    for since in dict.fromkeys([*(window.since for window in windows(session, row)[:1]), now]):
        marks, n = session.row(
            f"""SELECT quantile_cont(x, {list(series.shares)}), count(*) FROM (
                  SELECT {series.column}::DOUBLE AS x FROM inference
                  WHERE deployment_id = ? AND revision_no = ? AND NOT shadow AND status = {OK} AND "row" = 0
                    AND ts < make_timestamp(?) AND isfinite(x) ORDER BY ts DESC LIMIT {NEWEST})""",
            [row["deployment_id"], row["stable_no"], since],
        ) or (None, 0)
        if n >= ENOUGH_TO_SCALE:
            return Scale(tuple(sorted({float(mark) for mark in marks})), since)
    return None


_OURS = """deployment_id = $deployment AND ts >= make_timestamp($since) AND revision_no IN ($canary, $stable)
      AND (revision_no = $canary OR NOT shadow) AND NOT chosen AND seq <= $upto"""
_REQUESTS = f"""
    SELECT revision_no, shadow, ts, seq, client, {{bad}} FROM inference
    WHERE {_OURS} AND seq > $after AND "row" = 0 AND status IN ({OK}, {MODEL_ERROR})"""
# A failed request is one event, however many rows it had; what stable answered in the canary's place tells nothing
# of stable, which got requests that are not a sample of its own.
_ANSWERED = f"""
    SELECT revision_no, shadow, ts, seq, client, {{bad}} FROM inference
    WHERE {_OURS} AND seq > $after AND "row" = 0 AND status = {OK}"""
_LABELLED = f"""
    WITH new AS (SELECT * FROM outcome WHERE {_OURS} AND status = {OK} AND seq > $after),
         first AS (SELECT revision_no, shadow, request, min(seq) AS seq FROM new GROUP BY ALL),
         known AS (SELECT revision_no, shadow, request FROM outcome SEMI JOIN first USING (revision_no, shadow, request)
                   WHERE {_OURS} AND status = {OK} AND seq <= $after)
    SELECT revision_no, shadow, min(ts) AS ts, seq, any_value(client) AS client,
      avg(((score >= 0.5) <> (truth >= 0.5))::INTEGER) AS b0
    FROM new SEMI JOIN first USING (revision_no, shadow, request, seq)
    ANTI JOIN known USING (revision_no, shadow, request)
    GROUP BY revision_no, shadow, request, seq"""
# Rows of a request go to one version together, so they are one unit; rows that are labelled later than its first have
# no say any more, or the request would count in two looks.


def newest(session: Session, series: Series) -> int:
    """Return the last batch that was committed."""
    return int(session.value(f"SELECT max(seq) FROM {series.table}") or 0)


def count(
    session: Session, row: dict[str, Any], series: Series, at: Scale, within: Sequence[Window], batches: tuple[int, int]
) -> dict[int, Count]:
    """Return what batches brought to each step that was shown.

    Args:
        session: of the store.
        row: the rollout, as ``rollouts.active`` returns it.
        series: what is counted.
        at: its marks.
        within: the windows of the rollout's steps.
        batches: the last batch that was counted before, and the last one to count.
    """
    if not within or batches[0] >= batches[1]:
        return {}
    marks = max(1, len(at.marks))
    sums = ", ".join(f"sum(b{i})::DOUBLE" for i in range(marks))
    found = session.rows(
        f"""
        WITH w AS (SELECT unnest($steps) AS step, unnest($begins) AS begins, unnest($ends) AS ends,
                     unnest($copies) AS copies),
             u AS ({units(series, at)})
        SELECT step, revision_no, count(*), {sums} FROM u
        JOIN w ON epoch_us(u.ts) >= w.begins AND epoch_us(u.ts) < w.ends AND (revision_no = $stable OR shadow = copies)
        GROUP BY ALL
        """,
        {**questions(row, at, within, batches), "copies": [window.shadow for window in within]},
    )
    seen = {(step, no): (np.array(sums), int(n)) for step, no, n, *sums in found}
    nothing = (np.zeros(marks), 0)
    counted = {}
    for step in {step for step, _ in seen}:
        (bad_c, n_c), (bad_s, n_s) = (seen.get((step, row[side]), nothing) for side in ("canary_no", "stable_no"))
        counted[step] = Count(bad_c, n_c, bad_s, n_s)
    return counted


def questions(
    row: dict[str, Any], at: Scale, within: Sequence[Window], batches: tuple[int, int], since: int | None = None
) -> dict[str, Any]:
    """Return the parameters of a query of units; they count ``since`` the earliest window, or as given."""
    return {
        "deployment": row["deployment_id"],
        "canary": row["canary_no"],
        "stable": row["stable_no"],
        "since": max(at.since, min(one.since for one in within) if since is None else since),
        "after": batches[0],
        "upto": batches[1],
        "steps": [window.step for window in within],
        "begins": [window.since for window in within],
        "ends": [window.until for window in within],
    }


def units(series: Series, at: Scale) -> str:
    """Return the query of a series' requests, with whose they are and how bad at each mark."""
    if series.name == "wrong":
        return _LABELLED
    if not series.column:
        return _REQUESTS.format(bad=f"(status = {MODEL_ERROR})::INTEGER AS b0")
    beyond = "({column} > CASE WHEN revision_no = $canary THEN {canary!r} ELSE {stable!r} END)::INTEGER AS b{i}"
    bad = [
        beyond.format(column=series.column, canary=series.of_canary(mark), stable=mark, i=i)
        for i, mark in enumerate(at.marks)
    ]
    return _ANSWERED.format(bad=", ".join(bad))
