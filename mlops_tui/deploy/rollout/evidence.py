"""Evidence: each prediction joined to its truth once, and the figures of each revision, kept as rows come in.

Predictions and labels arrive in any order and from several files. What is new on either side meets all that is known
on the other, so whoever judges (rollouts, A/B tests, monitors) reads a narrow table and joins nothing.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np

from mlops_tui.door import House, every
from mlops_tui.serving.record.segments import CLIENT_ERROR, FALLBACK, MODEL_ERROR, OK
from mlops_tui.store.session import Session

AT_ONCE = 200_000
"""Rows of each side that one turn takes, to the end of their batch."""
OCTAVE = 8
SLOTS = 200
"""Latencies are counted in eighths of an octave up to 2²⁵ µs (33 s): a quantile is right within 5 %."""
READ_S = 60.0
NEWS = threading.Event()
"""Set when a batch was committed; an agent that comes up does not know and looks."""
NEWS.set()


class Marks(NamedTuple):
    """The last batch of predictions and of labels that was taken."""

    inference: int
    label: int


class Figures(NamedTuple):
    """Requests, model errors and latency counts of a revision."""

    requests: int
    errors: int
    latency: Any

    def plus(self, other: Figures) -> Figures:
        """Return the figures of both together."""
        return Figures(self.requests + other.requests, self.errors + other.errors, self.latency + other.latency)


class News(NamedTuple):
    """What one turn found: outcomes as columns, and what is added to the figures of each revision."""

    marks: Marks
    outcomes: list[dict[str, Any]]
    totals: dict[tuple[str, int], Figures]


@every(0.5, "deploy.evidence")
def turn(house: House) -> None:
    """Take what is new, some at a time, until nothing is; without news this costs nothing."""
    if not NEWS.is_set():
        return
    NEWS.clear()
    try:
        while not house.leaving.is_set() and (news := house.read(_news, READ_S)) is not None:
            _keep(house, news)
    except BaseException:
        NEWS.set()
        raise


def _news(session: Session) -> News | None:
    """Read what came since the marks; None when nothing did."""
    before = Marks(*(session.row("SELECT inference, label FROM tally") or (0, 0)))
    after = Marks(reach(session, "inference", before.inference), reach(session, "label", before.label))
    if after == before:
        return None
    predicted = {"i": before.inference, "i_end": after.inference}
    outcomes = []
    if after.inference > before.inference:
        outcomes.append(session.columns(_EARLY, {**predicted, "l": before.label}))
    if after.label > before.label:
        outcomes.append(session.columns(_LATE, {"i_end": after.inference, "l": before.label, "l_end": after.label}))
    return News(after, outcomes, _totals(session, predicted))


def reach(session: Session, table: str, mark: int) -> int:
    """Return the last batch after a mark, or as many whole batches as hold about ``AT_ONCE`` rows."""
    newest = f"SELECT seq FROM {table} WHERE seq > ? ORDER BY seq LIMIT {AT_ONCE}"
    found = session.value(f"SELECT max(seq) FROM ({newest})", [mark])
    return mark if found is None else int(found)


_SAME = """l.deployment_id = i.deployment_id AND l.request_id = i.request_id AND l."row" = i."row\""""
_JUDGED = f"i.status IN ({OK}, {FALLBACK}) AND isfinite(i.score)"
_SHOWN = """i.deployment_id, i.revision_no, i.shadow, i.status, epoch_us(i.ts) AS ts_us, i.score,
    i.chosen, i.client, hash(i.request_id) AS request"""
_LATE = f"""
    WITH first AS (SELECT deployment_id, request_id, "row", arg_min(truth, (seq, ts)) AS truth, min(ts) AS known
                   FROM label WHERE seq > $l AND seq <= $l_end GROUP BY ALL),
         l AS (SELECT * FROM first i WHERE NOT EXISTS (SELECT 1 FROM label l WHERE l.seq <= $l AND {_SAME}))
    SELECT {_SHOWN}, epoch_us(l.known) AS known_us, l.truth FROM inference i JOIN l ON {_SAME}
    WHERE i.seq <= $i_end AND {_JUDGED}"""
"""New labels, the first of each row and none that says again what was known, with all predictions."""
_EARLY = f"""
    WITH i AS (SELECT *, row_number() OVER () AS rid FROM inference i WHERE seq > $i AND seq <= $i_end AND {_JUDGED}),
         l AS (SELECT i.rid, arg_min(l.truth, (l.seq, l.ts)) AS truth, min(l.ts) AS known
               FROM i JOIN label l ON {_SAME} WHERE l.seq <= $l GROUP BY ALL)
    SELECT {_SHOWN}, epoch_us(l.known) AS known_us, l.truth FROM i JOIN l ON l.rid = i.rid"""
"""New predictions with the labels that were there before them."""
SLOT = f"least({SLOTS - 1}, 1 + floor(log2(greatest(latency, 1)) * {OCTAVE}))::INTEGER"
"""The slot of a latency, in SQL."""
_TOTALS = f"""
    SELECT deployment_id, revision_no, {SLOT},
           count(*) FILTER (status = {MODEL_ERROR}), count(*)
    FROM inference
    WHERE seq > $i AND seq <= $i_end AND "row" = 0 AND status <> {CLIENT_ERROR} AND revision_no > 0 GROUP BY ALL"""


def _totals(session: Session, at: dict[str, int]) -> dict[tuple[str, int], Figures]:
    """Return what the new predictions add to each revision's figures."""
    found: dict[tuple[str, int], Figures] = {}
    for deployment, no, slot, errors, requests in session.rows(_TOTALS, at):
        counts = np.zeros(SLOTS, np.int64)
        counts[slot] = requests
        seen = Figures(requests, errors, counts)
        found[deployment, no] = found[deployment, no].plus(seen) if (deployment, no) in found else seen
    return found


def _keep(house: House, news: News) -> None:
    """Write what a turn found and how far it came, as one."""

    def write(session: Session) -> None:
        for outcomes in news.outcomes:
            seq = np.full(len(outcomes["request"]), sum(news.marks))  # either mark has moved, so it is a new number
            session.insert_columns("outcome", {**outcomes, "seq": seq})
        for (deployment, no), added in news.totals.items():
            _add(session, deployment, no, added)
        session.execute("DELETE FROM tally")
        session.insert("tally", inference=news.marks.inference, label=news.marks.label)

    house.store.write(write)
    for deployment in {str(name) for one in news.outcomes for name in set(one["deployment_id"])}:
        house.touch("label", deployment)


def _add(session: Session, deployment: str, no: int, added: Figures) -> None:
    here = "deployment_id = ? AND revision_no = ?"
    row = session.row(f"SELECT requests, errors, latency FROM revision_total WHERE {here}", [deployment, no])
    if row is not None:
        added = added.plus(Figures(row[0], row[1], np.asarray(row[2])))
        session.execute(f"DELETE FROM revision_total WHERE {here}", [deployment, no])
    figures = {**added._asdict(), "latency": added.latency.tolist()}
    session.insert("revision_total", deployment_id=deployment, revision_no=no, **figures)


def quantile_ms(latency: Any, share: float) -> float | None:
    """Return a quantile of counted latencies in milliseconds, None without any.

    Args:
        latency: counts a slot, as in ``revision_total``.
        share: of the requests that were at least as fast, in (0, 1).
    """
    counts = np.asarray(latency)
    if not counts.sum():
        return None
    slot = int(np.searchsorted(np.cumsum(counts), share * counts.sum(), side="left"))
    return float(2.0 ** ((slot - 0.5) / OCTAVE) / 1000)
