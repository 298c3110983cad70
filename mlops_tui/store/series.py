"""The one time-series table: training metrics, hardware samples, latencies, drift scores."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from mlops_tui.store.latest import summarised
from mlops_tui.store.session import Session

LONG = 200_000
"""Points from which on the halves of a curve are read at once."""


class SeriesBook:
    """Integer ids of series, handed out by the writer. One a store; used on the writer thread only.

    The ids of the owners that were written last are remembered; of the others, only that there are some.
    """

    OWNERS = 20_000

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[str, str], dict[str, int]] = OrderedDict()
        self._stored: set[int] | None = None
        self._next = 1
        self._fresh: list[tuple[str, str, str]] = []
        self._guard = threading.Lock()

    def append(
        self, session: Session, scope: str, owner: str, key: list[str], step: Any, ts_us: Any, value: Any
    ) -> None:
        """Append points, each with the name of its series; see :meth:`append_coded`."""
        names = list(dict.fromkeys(key))
        place = {name: index for index, name in enumerate(names)}
        self.append_coded(
            session, scope, owner, names, np.array([place[name] for name in key], dtype=np.int64), step, ts_us, value
        )

    def append_coded(
        self, session: Session, scope: str, owner: str, names: list[str], which: Any, step: Any, ts_us: Any, value: Any,
        *, once: bool = False,
    ) -> None:  # fmt: skip
        """Append points of one owner; ``which`` indexes ``names``. See :meth:`append_series`."""
        self.append_series(session, scope, [(owner, name) for name in names], which, step, ts_us, value, once=once)

    def append_series(
        self, session: Session, scope: str, series: list[tuple[str, str]], which: Any, step: Any, ts_us: Any,
        value: Any, *, once: bool = False, within_us: int = 1,
    ) -> int:  # fmt: skip
        """Append points and bring the latest-value rows up to date, in the caller's transaction.

        Args:
            session: the writer's session.
            scope: run, host, deployment, monitor or abtest.
            series: owner and name of each series.
            which: n indices into ``series``, one a point.
            step: n whole numbers.
            ts_us: n times in µs.
            value: n floats; NaN and infinities are kept.
            once: leave out points that are there already, as a client sends them when it tries again.
            within_us: times in the same so many µs are the same time to ``once``.

        Returns:
            how many points were new.
        """
        if not len(which):
            return 0
        sids, fresh = self._lookup(session, scope, series)
        sid = np.asarray(sids, dtype=np.int32)[which]
        step = np.ascontiguousarray(step, dtype=np.int64)
        ts = np.ascontiguousarray(ts_us, dtype=np.int64)
        value = np.ascontiguousarray(value, dtype=np.float64)
        if once:
            unseen = _unseen(session, sid, step, ts, value, within_us)
            sid, step, ts, value = sid[unseen], step[unseen], ts[unseen], value[unseen]
        session.insert_columns("point", {"sid": sid, "step": step, "ts_us": ts, "value": value})
        if fresh:
            session.insert_columns(
                "series",
                {
                    "sid": [one for one, _, _ in fresh], "key": [key for _, _, key in fresh],
                    "scope": [scope] * len(fresh), "owner": [owner for _, owner, _ in fresh], "n": [0] * len(fresh),
                    "nonfinite": [0] * len(fresh), "last_step": [-(2**62)] * len(fresh), "last_ts_us": [0] * len(fresh),
                },
            )  # fmt: skip
        if len(sid):
            owners = {owner for owner, _ in series} if scope == "run" else set()
            self._fold(session, owners, sid, step, ts, value)
        return len(sid)

    def known(self, scope: str, owner: str, key: str) -> int | None:
        """Return the id of a series without asking the store, or None when none is remembered; from any thread."""
        return self._ids.get((scope, owner), {}).get(key)

    def forget(self) -> None:
        """Drop what is remembered; the next append reads it from the store again."""
        with self._guard:
            self._ids.clear()
            self._fresh.clear()
            self._stored = None

    def settled(self, committed: bool) -> None:
        """Keep the ids that the transaction handed out, or take them back when it was rolled back."""
        with self._guard:
            for scope, owner, name in () if committed else self._fresh:
                self._ids.get((scope, owner), {}).pop(name, None)
                self._next -= 1
            self._fresh.clear()
            while len(self._ids) > self.OWNERS:
                self._ids.popitem(last=False)

    def _lookup(
        self, session: Session, scope: str, series: list[tuple[str, str]]
    ) -> tuple[list[int], list[tuple[int, str, str]]]:
        """Return the ids of series, and of those that are new also owner and name."""
        with self._guard:
            self._recall(session, scope, {owner for owner, _ in series})
            sids, fresh = [], []
            for owner, name in series:
                mine = self._ids[scope, owner]
                sid = mine.get(name)
                if sid is None:
                    sid = mine[name] = self._next
                    self._next += 1
                    self._fresh.append((scope, owner, name))
                    fresh.append((sid, owner, name))
                sids.append(sid)
            return sids, fresh

    def _recall(self, session: Session, scope: str, owners: set[str]) -> None:
        """Remember the ids of owners; those that the store has nothing of need no question."""
        if self._stored is None:
            # No id is handed out twice, also when series were deleted.
            self._next = 1 + (session.value("SELECT max(sid) FROM series") or 0)
            self._stored = {hash(one) for one in session.rows("SELECT DISTINCT scope, owner FROM series")}
        asked = []
        for owner in owners:
            if (scope, owner) in self._ids:
                self._ids.move_to_end((scope, owner))
                continue
            self._ids[scope, owner] = {}
            if hash((scope, owner)) in self._stored:
                asked.append(owner)
            self._stored.add(hash((scope, owner)))
        if asked:
            sql = "SELECT owner, key, sid FROM series WHERE scope = ? AND owner IN (SELECT unnest(?::VARCHAR[]))"
            for owner, key, sid in session.rows(sql, [scope, asked]):
                self._ids[scope, owner][key] = sid

    def _fold(self, session: Session, owners: set[str], sid: Any, step: Any, ts: Any, value: Any) -> None:
        """Latest is the greatest (step, time, value), as in MLflow; low and high skip what is not finite."""
        with session.incoming(summarised(sid, step, ts, value)._asdict()) as (*_, low, high, _, _, last):
            session.change(
                "series",
                owners,
                f"""
                UPDATE series SET
                  n = series.n + b.n, nonfinite = series.nonfinite + b.nonfinite,
                  low = least(series.low, b.low), high = greatest(series.high, b.high),
                  last = CASE WHEN (b.step, b.ts, b.last) >= (series.last_step, epoch_us(series.last_ts), series.last)
                              THEN b.last ELSE series.last END,
                  last_ts = CASE WHEN (b.step, b.ts) >= (series.last_step, epoch_us(series.last_ts))
                                 THEN make_timestamp(b.ts) ELSE series.last_ts END,
                  last_step = greatest(series.last_step, b.step)
                FROM (SELECT * REPLACE ({low} AS low, {high} AS high, {last} AS last) FROM incoming) b
                WHERE series.sid = b.sid
                """,
            )


def _unseen(session: Session, sid: Any, step: Any, ts: Any, value: Any, within_us: int) -> Any:
    """Return where points are new: (series, step, time, value) says which point it is.

    Only a point that is not later than its series' last can be there already; the others are not looked for.
    """
    bits = (value + 0.0).view(np.int64)  # one zero, so that -0.0 is the value that the store takes it for
    bits[np.isnan(value)] = -1
    _, first = np.unique(np.stack([sid.astype(np.int64), step, ts, bits]), axis=1, return_index=True)
    first.sort()
    with session.incoming({"sid": sid[first], "step": step[first], "ts": ts[first], "value": value[first], "i": first}):
        same = "p.ts = e.ts" if within_us == 1 else "epoch_us(p.ts) // $within = epoch_us(e.ts) // $within"
        seen = session.column(
            f"""
            WITH early AS (
              SELECT i, b.sid, b.step, make_timestamp(b.ts) AS ts,
                CASE WHEN isnan(b.value) THEN NULL ELSE b.value END AS v
              FROM incoming b JOIN series s ON s.sid = b.sid
              WHERE (b.step, make_timestamp(b.ts)) <= (s.last_step, s.last_ts))
            SELECT DISTINCT i FROM early e JOIN point p ON p.sid = e.sid AND p.step = e.step AND {same}
              AND (p.value = e.v OR (e.v IS NULL AND isnan(p.value)))
            """,
            {"within": within_us} if within_us != 1 else {},
        )
    return np.setdiff1d(first, np.array(seen, dtype=np.int64), assume_unique=True) if seen else first


def curve(
    session: Session,
    scope: str,
    owner: str,
    key: str,
    points: int,
    part: tuple[int | None, int | None] = (None, None),
) -> dict[str, list[Any]] | None:
    """Return a curve in at most ``points`` buckets of equal step width: n, step, ts (µs), min, max, mean.

    Spikes survive because every bucket keeps its extremes; a value that is not finite makes its bucket's mean
    None where nothing finite is beside it. Returns None when there is no such series.

    Args:
        session: where to look.
        scope: run, host, deployment, monitor or abtest.
        owner: id of the object.
        key: name of the series.
        points: buckets at most.
        part: first and last step that are wanted, both included; None, as far as there are any.
    """
    row = session.row(
        "SELECT sid, nonfinite, n FROM series WHERE scope = ? AND owner = ? AND key = ?", [scope, owner, key]
    )
    if row is None:
        return None
    sid, nonfinite, n = row
    low, high = session.row("SELECT min(step), max(step) FROM point WHERE sid = ?", [sid]) or (None, None)
    first, last = part
    if low is not None:
        low, high = max(low, low if first is None else first), min(high, high if last is None else last)
    if low is None or high < low:
        return {name: [] for name in ("step", "ts", "min", "max", "mean")} | {"n": [0]}
    # Steps may be nanoseconds: their product with the number of buckets must fit into 64 bits. Their span may not.
    step = "step" if high - low < 2**63 else "step::HUGEINT"
    shift = max(0, (high - low).bit_length() - 40)
    width = ((high - low) >> shift) + 1
    # Where the first bucket of the second half begins.
    middle = low + (-(-(points // 2) * width // points) << shift)
    halved = n >= LONG and low < middle < high
    # A group that is a byte is looked up in an array.
    number = "UTINYINT" if points <= (512 if halved else 256) else "BIGINT"
    place, scale = _bucket(f"{step} - $low", shift, points, width)
    sql = f"""
        SELECT max(step), epoch_us(max(ts)), {_EXTREMES_OF_FINITE if nonfinite else _EXTREMES}, count(*) FROM point
        WHERE sid = $sid AND step BETWEEN $begin AND $end GROUP BY ({place} - $bucket)::{number} ORDER BY 1"""
    asked = {"sid": sid, "low": low, **scale}
    if halved:
        later = {**asked, "begin": middle, "end": high, "bucket": points // 2}
        rows = session.twice(sql, {**asked, "begin": low, "end": middle - 1, "bucket": 0}, later)
    else:
        rows = session.rows(sql, {**asked, "begin": low, "end": high, "bucket": 0})
    columns = list(zip(*rows, strict=True))
    return {
        "step": list(columns[0]),
        "ts": list(columns[1]),
        "min": list(columns[2]),
        "max": list(columns[3]),
        "mean": list(columns[4]),
        "n": [sum(columns[5])],
    }


def _bucket(steps: str, shift: int, points: int, width: int) -> tuple[str, dict[str, int]]:
    """Return SQL of the bucket of a step, ``steps`` after the first, and its parameters.

    A division costs a fifth of the whole curve. Multiplying by ``factor / 2**bits``, a little more than ``points /
    width``, gives the same bucket to each of the steps as long as ``width**2 <= 2**bits``, and fits into 63 bits.
    """
    bits = 62 - points.bit_length()
    if shift or width * width > 1 << bits:
        return f"(({steps}) >> $shift) * $points // $width", {"shift": shift, "points": points, "width": width}
    return f"(({steps}) * $factor >> $bits)", {"factor": -(-(points << bits) // width), "bits": bits}


def courses(session: Session, scope: str, key: str, owners: list[Any], points: int = 12) -> dict[Any, list[Any]]:
    """Return the course of one metric for many owners: the means of ``points`` pieces of each one's steps."""
    rows = session.rows(
        """
        WITH mine AS (SELECT sid, owner, last_step FROM series
                      WHERE scope = $scope AND key = $key AND owner IN (SELECT unnest($owners)))
        SELECT owner, list(v ORDER BY b) FROM (
          SELECT owner, least($points - 1, greatest(0, floor($points * (step / (last_step + 1.0))))) AS b,
                 avg(value) FILTER (isfinite(value)) AS v
          FROM point JOIN mine ON mine.sid = point.sid GROUP BY 1, 2)
        GROUP BY 1
        """,
        {"scope": scope, "key": key, "owners": owners, "points": points},
    )
    return dict(rows)


_EXTREMES = "min(value), max(value), avg(value)"
_EXTREMES_OF_FINITE = ", ".join(f"{name}(value) FILTER (isfinite(value))" for name in ("min", "max", "avg"))
"""Filtering costs as much again, so only series that have something to leave out are filtered."""
