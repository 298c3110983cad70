"""What is counted where clients stick to a version: see :mod:`mlops_tui.stats.clients`.

Each client's first request of a step is counted once, by the side on which chance put it. Which clients were counted,
and where, is kept in ``rollout_client``: a client on the canary is nobody whom chance draws again, one of stable is
drawn again by the next step. All requests of each client are summed up anew whenever they are asked for, which is
seldom. Requests without a key are clients of one request; requests of servers that did not ask whose they are count for
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops_tui.deploy.rollout.series import Count, Scale, Series, Window, questions, units
from mlops_tui.serving.traffic.sticky import KEYLESS
from mlops_tui.stats import clients
from mlops_tui.stats.likelihood import log_mean
from mlops_tui.store.session import Session

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
    asked = questions(row, at, drawn, batches, since=min(one.since for one in within))
    found = session.columns(_first(series, at, marks), {**asked, "rollout": row["id"], "event": series.name})
    new = found["fresh"] & ~found["spent"]
    looks = [
        (int(step), _look(found, (found["step"] == step) & (found["before"] == before), new, marks))
        for step, before in sorted(set(zip(found["step"].tolist(), found["before"].tolist(), strict=True)))
    ]
    kept = new & (found["client"] != KEYLESS)
    return Counted(looks, {name: found[name][kept] for name in ("step", "client", "canary")})


def _look(found: dict[str, NDArray[Any]], here: NDArray[np.bool_], new: NDArray[np.bool_], marks: int) -> Count:
    """Return the part of a step's clients that were last counted on stable in another step, or never."""
    sides = [here & found["canary"], here & ~found["canary"]]
    bad = [np.array([found[f"b{i}"][side].sum() for i in range(marks)]) for side in sides]
    first = [np.array([found[f"first{i}"][side & new].sum() for i in range(marks)]) for side in sides]
    asked = [int(found["asked"][side].sum()) for side in sides]
    counted = [int((side & new).sum()) for side in sides]
    return Count(bad[0], asked[0], bad[1], asked[1], Count(first[0], counted[0], first[1], counted[1]))


def log_e(
    session: Session, row: dict[str, Any], series: Series, at: Scale, within: Sequence[Window], batches: tuple[int, int]
) -> float:
    """Return ln e of all requests of each client in some batches, mixed over the marks.

    Args:
        session: of the store.
        row: the rollout, as ``rollouts.active`` returns it.
        series: what is counted.
        at: its marks.
        within: the windows of the rollout's steps.
        batches: the last one that is left out, and the last one to count.
    """
    drawn = [window for window in within if window.drawn]
    weights = sorted({window.weight for window in drawn})
    marks = max(1, len(at.marks))
    asked = questions(row, at, drawn, batches, since=min(one.since for one in within))
    asked["steps"] = [weights.index(window.weight) for window in drawn]
    found = session.columns(_all(series, at, marks), asked)
    names, place = np.unique(found["client"], return_inverse=True)
    if not names.size:
        return 0.0
    bad, n = np.zeros((marks, names.size, len(weights))), np.zeros((names.size, len(weights)))
    n[place, found["step"]] = found["asked"]
    for mark in range(marks):
        bad[mark, place, found["step"]] = found[f"b{mark}"]
    came, stayed = np.full(names.size, len(weights)), np.full(names.size, -1)
    np.minimum.at(came, place[found["canary"]], found["step"][found["canary"]])
    np.maximum.at(stayed, place[~found["canary"]], found["step"][~found["canary"]])
    one_way = stayed < came  # nobody goes back: whom a server put elsewhere by mistake tells nothing
    mixed = clients.log_e(bad[:, one_way], n[one_way], np.array(weights) / 100, came[one_way])
    return float(log_mean(mixed))


_MINE = f"""
    WITH w AS (SELECT unnest($steps) AS step, unnest($begins) AS begins, unnest($ends) AS ends),
      u AS ({{units}}),
      mine AS (SELECT w.step, u.revision_no = $canary AS canary, u.client, u.ts, u.seq, {{names}}
               FROM u JOIN w ON epoch_us(u.ts) >= w.begins AND epoch_us(u.ts) < w.ends
               WHERE NOT u.shadow AND u.client >= {KEYLESS})"""


def _mine(series: Series, at: Scale, marks: int) -> str:
    """Return the requests whose clients are known, by step and side, as ``mine``."""
    return _MINE.format(units=units(series, at), names=", ".join(f"b{i}" for i in range(marks)))


def _all(series: Series, at: Scale, marks: int) -> str:
    """Return the query of what each client met at each weight."""
    sums = ", ".join(f"sum(b{i})::DOUBLE AS b{i}" for i in range(marks))
    return f"""{_mine(series, at, marks)}
        SELECT step, client, arg_min(canary, (ts, seq)) AS canary, count(*)::DOUBLE AS asked, {sums}
        FROM mine WHERE client > {KEYLESS} GROUP BY step, client"""


def _first(series: Series, at: Scale, marks: int) -> str:
    """Return the query of new requests by client: a row for each one and step, with its first request."""
    order = "(ts, seq)"
    bad = ", ".join(f"arg_min(b{i}, {order})::DOUBLE AS first{i}, sum(b{i})::DOUBLE AS b{i}" for i in range(marks))
    counted = ", ".join(f"any_value(e.{name}{i}) AS {name}{i}" for name in ("first", "b") for i in range(marks))
    return f"""{_mine(series, at, marks)},
          each AS MATERIALIZED (
            SELECT step, client, lone, arg_min(canary, {order}) AS canary, count(*)::DOUBLE AS asked, {bad}
            FROM (SELECT *, CASE WHEN client = {KEYLESS} THEN row_number() OVER () ELSE 0 END AS lone FROM mine)
            GROUP BY step, client, lone),
          past AS (SELECT step, client, canary, true AS kept FROM rollout_client
                   WHERE rollout_id = $rollout AND event = $event
                   UNION ALL SELECT step, client, canary, false FROM each WHERE client <> {KEYLESS})
        SELECT e.step, e.client, e.canary, any_value(e.asked) AS asked, {counted},
          NOT coalesce(bool_or(p.kept AND p.step = e.step), false) AS fresh,
          coalesce(bool_or((p.step < e.step AND p.canary) OR (p.step > e.step AND p.kept)), false) AS spent,
          coalesce(max(p.step) FILTER (p.step < e.step AND NOT p.canary), {NEVER}) AS before
        FROM each e LEFT JOIN past p ON p.client = e.client AND e.client <> {KEYLESS}
        GROUP BY e.step, e.client, e.lone, e.canary"""


def keep(session: Session, rollout: str, series: Series, seen: dict[str, NDArray[Any]]) -> None:
    """Note the clients that a look has counted, as part of it."""
    if seen and len(seen["client"]):
        same = {"rollout_id": [rollout] * len(seen["client"]), "event": [series.name] * len(seen["client"])}
        session.insert_columns("rollout_client", {**same, **seen})
