"""What is counted where clients stick to a version: each client once a step, see :mod:`mlops_tui.stats.clients`.

Two things of each, at every mark: how bad its first request of the step was, and whether it has met a bad one by now.
Which clients were counted, and where, is kept in ``rollout_client``: a client on the canary is nobody whom chance draws
again, one of stable is drawn again by the next step. Requests without a key are clients of one request; requests of
servers that did not ask whose they are count for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops_tui.deploy.rollout.series import Count, Scale, Series, Window, questions, units
from mlops_tui.serving.traffic.sticky import KEYLESS
from mlops_tui.store.session import Session

FIRST = -1
"""The mark of a client's first request of a step, whatever became of it."""
NEVER = -1
"""In place of the step in which a client was counted on stable before."""


class Counted(NamedTuple):
    """What batches brought: looks by their steps, and rows for ``rollout_client``."""

    looks: list[tuple[int, Count]]
    seen: dict[str, NDArray[Any]]


def count(
    session: Session, row: dict[str, Any], series: Series, at: Scale, within: Sequence[Window], batches: tuple[int, int]
) -> Counted:
    """Return what batches brought to the steps in which chance drew clients; arguments as of ``series.count``.

    Clients of one step that were last counted on stable in different steps were drawn by different chances: each such
    part is a look of its own.
    """
    drawn = [window for window in within if window.drawn]
    if not drawn or batches[0] >= batches[1]:
        return Counted([], {})
    marks = max(1, len(at.marks))
    asked = questions(row, at, drawn, batches, since=within[0].since)
    found = session.columns(_query(series, at, marks), {**asked, "rollout": row["id"], "event": series.name})
    weights = {window.step: window.weight / 100 for window in drawn}
    new = found["fresh"] & ~found["spent"]
    looks = [
        (int(step), _look(found, int(step), int(before), new, weights, marks))
        for step, before in sorted(set(zip(found["step"].tolist(), found["before"].tolist(), strict=True)))
    ]
    kept = new & (found["client"] != KEYLESS)
    return Counted(looks, {name: found[name][kept] for name in ("mark", "step", "client", "canary")})


def _look(
    found: dict[str, NDArray[Any]],
    step: int,
    before: int,
    new: NDArray[np.bool_],
    weights: dict[int, float],
    marks: int,
) -> Count:
    """Return the part of a step's clients that were last counted on stable in another step, or never."""
    here = (found["step"] == step) & (found["before"] == before)
    canary, first = found["canary"], here & new & (found["mark"] == FIRST)
    sides = [first & canary, first & ~canary]
    bad = [np.array([found[f"b{i}"][side].sum() for i in range(marks)]) for side in sides]
    met = [
        np.array([float((here & new & (found["mark"] == i) & side).sum()) for i in range(marks)])
        for side in (canary, ~canary)
    ]
    was = weights.get(before, 0.0)
    return Count(
        bad[0],
        int(sides[0].sum()),
        bad[1],
        int(sides[1].sum()),
        met_c=met[0],
        met_s=met[1],
        chance=(weights[step] - was) / (1 - was),
        requests=int(found["asked"][here].sum()),
    )


def _query(series: Series, at: Scale, marks: int) -> str:
    """Return the query of clients: a row for each one's first request, and one for each mark that it met."""
    order = "(ts, seq)"
    firsts = ", ".join(f"arg_min(b{i}, {order})::DOUBLE AS b{i}" for i in range(marks))
    mets = ", ".join(f"arg_min(canary, {order}) FILTER (b{i} >= 0.5) AS met{i}" for i in range(marks))
    nothing = ", ".join(f"0.0 AS b{i}" for i in range(marks))
    names = ", ".join(f"b{i}" for i in range(marks))
    met = " ".join(
        f"UNION ALL SELECT step, client, lone, {i} AS mark, met{i} AS canary, 0 AS asked, {nothing} FROM each "
        f"WHERE met{i} IS NOT NULL"
        for i in range(marks)
    )
    return f"""
        WITH w AS (SELECT unnest($steps) AS step, unnest($begins) AS begins, unnest($ends) AS ends),
          u AS ({units(series, at)}),
          mine AS (SELECT w.step, u.revision_no = $canary AS canary, u.client, u.ts, u.seq, {names},
                     CASE WHEN u.client = {KEYLESS} THEN row_number() OVER () ELSE 0 END AS lone
                   FROM u JOIN w ON epoch_us(u.ts) >= w.begins AND epoch_us(u.ts) < w.ends
                   WHERE NOT u.shadow AND u.client >= {KEYLESS}),
          each AS MATERIALIZED (SELECT step, client, lone, arg_min(canary, {order}) AS canary,
                     count(*) FILTER (canary) AS asked, {firsts}, {mets} FROM mine GROUP BY step, client, lone),
          long AS MATERIALIZED (
            SELECT step, client, lone, {FIRST} AS mark, canary, asked, {names} FROM each {met}),
          past AS (SELECT mark, step, client, canary, true AS kept FROM rollout_client
                   WHERE rollout_id = $rollout AND event = $event
                   UNION ALL SELECT mark, step, client, canary, false FROM long WHERE client <> {KEYLESS})
        SELECT l.step, l.client, l.mark, l.canary, any_value(l.asked)::DOUBLE AS asked,
          {", ".join(f"any_value(l.b{i}) AS b{i}" for i in range(marks))},
          NOT coalesce(bool_or(p.kept AND p.step = l.step), false) AS fresh,
          coalesce(bool_or((p.step < l.step AND p.canary) OR (p.step > l.step AND p.kept)), false) AS spent,
          coalesce(max(p.step) FILTER (p.step < l.step AND NOT p.canary), {NEVER}) AS before
        FROM long l LEFT JOIN past p ON p.mark = l.mark AND p.client = l.client AND l.client <> {KEYLESS}
        GROUP BY l.step, l.client, l.lone, l.mark, l.canary"""


def keep(session: Session, rollout: str, series: Series, seen: dict[str, NDArray[Any]]) -> None:
    """Note the clients that a look has counted, as part of it."""
    if seen and len(seen["client"]):
        same = {"rollout_id": [rollout] * len(seen["client"]), "event": [series.name] * len(seen["client"])}
        session.insert_columns("rollout_client", {**same, **seen})
