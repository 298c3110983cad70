"""Traffic as counts: each prediction is counted once into buckets of the reference's cells; judging reads only sums."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlops_tui.deploy.rollout.evidence import READ_S, reach
from mlops_tui.door import House
from mlops_tui.monitoring.reference import SCORE, Monitor
from mlops_tui.registry.versions import features_of
from mlops_tui.serving.record.segments import FALLBACK, OK
from mlops_tui.stats import profile
from mlops_tui.store.session import Session


class Counted(NamedTuple):
    """Predictions of one bucket, feature and revision: the bucket's beginning in µs, rows, counts in the cells."""

    minute: int
    feature: str
    revision: int
    n: int
    counts: NDArray[np.int64]


def catch_up(house: House, monitor: Monitor) -> None:
    """Count what was predicted since the last time, some at a time; the mark moves with the counts."""
    while not house.leaving.is_set():
        end = house.read(lambda s: reach(s, "inference", monitor.counted))
        if end == monitor.counted:
            return
        _take(house, monitor, end)


def _take(house: House, monitor: Monitor, end: int) -> None:
    found = house.read(lambda s: _counted(s, monitor, end), READ_S)

    def keep(session: Session) -> None:
        if found:
            _keep(session, monitor, found)
        session.execute("UPDATE monitor SET counted = ? WHERE id = ?", [end, monitor.id])

    house.store.write(keep)
    monitor.counted = end


def _keep(session: Session, monitor: Monitor, found: list[Counted]) -> None:
    """Insert rows with their lists of counts; element by element, as the database takes long over lists of Python's."""
    sizes = [len(one.counts) for one in found]
    names = list(monitor.reference.profiles)
    columns = {
        "line": np.repeat(np.arange(len(found)), sizes),
        "cell": np.concatenate([np.arange(size) for size in sizes]),
        "count": np.concatenate([one.counts for one in found]),
        "minute": np.repeat([one.minute for one in found], sizes),
        "feature": np.repeat([names.index(one.feature) + 1 for one in found], sizes),
        "revision": np.repeat([one.revision for one in found], sizes),
        "n": np.repeat([one.n for one in found], sizes),
    }
    with session.incoming(columns):
        session.execute(
            """INSERT INTO drift_bucket (monitor_id, minute, feature, revision_no, n, counts)
               SELECT ?, make_timestamp(first(minute)), (?::VARCHAR[])[first(feature)], first(revision), first(n),
                      list("count" ORDER BY cell) FROM incoming GROUP BY line ORDER BY line""",
            [monitor.id, names],
        )


def _counted(session: Session, monitor: Monitor, end: int) -> list[Counted]:
    """Return what new predictions add to the counts."""
    found = []
    for revision, places in _layouts(session, monitor).items():
        rows = _rows(session, monitor, revision, places, end)
        bucket = rows.pop("bucket")
        order = np.argsort(bucket, kind="stable")
        starts, first = np.unique(bucket[order], return_index=True)
        for start, which in zip(starts.tolist(), np.split(order, first[1:]), strict=False):
            for name, values in rows.items():
                counts = profile.count(monitor.reference.profiles[name], values[which])
                found.append(Counted(start * monitor.bucket_us, name, revision, len(which), counts))
    return found


def _layouts(session: Session, monitor: Monitor) -> dict[int, dict[str, int]]:
    """Return where each watched feature lies among those that a revision logs, from 1 on.

    The model says the names of its features; one that does not is taken to have them in the reference's order.
    """
    names = monitor.reference.names
    found = {}
    for no, signature in session.rows(
        """SELECT r.no, v.signature FROM revision r JOIN model_version v ON v.id = r.version_id
           WHERE r.deployment_id = ?""",
        [monitor.deployment],
    ):
        own = features_of(msgspec.json.decode(signature)) or names
        found[no] = {name: own.index(name) + 1 for name in names if name in own}
    return found


def _rows(session: Session, monitor: Monitor, revision: int, places: dict[str, int], end: int) -> dict[str, Any]:
    """Return bucket numbers and the watched columns of a revision's new answers; a missing value is NaN."""
    names = list(places)
    picked = "".join(f', features[{places[name]}] AS "{at}"' for at, name in enumerate(names))
    table = session.columns(
        f"""SELECT epoch_us(ts) // {monitor.bucket_us} AS bucket, score{picked} FROM inference
            WHERE seq > ? AND seq <= ? AND deployment_id = ? AND revision_no = ?
              AND NOT shadow AND status IN ({OK}, {FALLBACK})""",
        [monitor.counted, end, monitor.deployment, revision],
    )
    found = {"bucket": np.asarray(table["bucket"])}
    found |= {name: np.ma.filled(table[str(at)], np.nan) for at, name in enumerate(names)}
    if monitor.reference.score is not None:
        found[SCORE] = np.ma.filled(table["score"], np.nan)
    return found


def window(session: Session, monitor: Monitor, now: int, feature: str = "") -> dict[str, Any]:
    """Return the counts of each feature (or of one) over the monitor's window, by name."""
    since = now - monitor.window_us
    table = session.columns(
        """SELECT feature, counts FROM drift_bucket
           WHERE monitor_id = ? AND minute >= make_timestamp(?) AND (? = '' OR feature = ?)""",
        [monitor.id, since - since % monitor.bucket_us, feature, feature],
    )
    sums: dict[str, Any] = {}
    for name, counts in zip(table["feature"], table["counts"], strict=True):
        sums[name] = sums[name] + counts if name in sums else np.array(counts, dtype=np.int64)
    return sums
