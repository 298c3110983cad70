"""Searching many runs in the store, one thread: ``search.py [runs] [folder]``; a folder keeps the store between calls.

Each run has 20 parameters and 20 metrics. Beside each median stands processor time, in which other work does not count.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mlops_tui.agent.rooms import open_rooms
from mlops_tui.contracts.listing import List, OpenView
from mlops_tui.store.listing import LISTINGS, Views
from mlops_tui.store.session import Session
from mlops_tui.store.store import Store

EACH, BATCH, REPEAT = 20, 50_000, 9


def fill(session: Session, first: int, count: int) -> None:
    """Write runs with their parameters and metrics, in the order in which they would come."""
    session.execute(
        f"""
        INSERT INTO run (id, experiment_id, tenant, name, kind, status, started, ended, host, boot, actor,
                         command, git_sha, git_branch, error, note, summary, metric, value)
        SELECT {_ID}, 'e' || i % 5, 'default', format('resnet-{{:06d}}', i), 'train',
               ['done', 'failed', 'done', 'running'][1 + (hash(i) % 4)::BIGINT],
               TIMESTAMP '2026-01-01' + to_seconds(i // 2), TIMESTAMP '2026-01-01' + to_seconds(i // 2 + i % 3600),
               'box' || i % 7, '', 'amal', 'train.py', md5(i::VARCHAR), 'main', '', '', 'lr=0.01 depth=8', 'm0',
               hash(i) / 18446744073709551615.0
        FROM range({first}, {first + count}) t(i)"""
    )
    session.execute(
        f"""
        INSERT INTO param SELECT id, key, value, try_cast(value AS DOUBLE) FROM (
          SELECT {_ID} AS id, 'p' || k AS key,
                 CASE WHEN k % 2 = 0 THEN (hash(i * 31 + k) % 1000 / 1000.0)::VARCHAR
                      ELSE 'value-' || hash(i * 7 + k) % 10 END AS value
          FROM range({first}, {first + count}) t(i), range({EACH}) u(k) ORDER BY i, k)"""
    )
    session.execute(
        f"""
        INSERT INTO series (sid, scope, owner, key, n, last_step, last_ts, last, low, high, nonfinite)
        SELECT i * {EACH} + k, 'run', {_ID}, 'm' || k, 100, 100, TIMESTAMP '2026-01-01', v, v / 2, v * 2, 0 FROM (
          SELECT i, k, hash(i * 13 + k) / 18446744073709551615.0 AS v
          FROM range({first}, {first + count}) t(i), range({EACH}) u(k)) ORDER BY i, k"""
    )


_ID = """format('0193a000-{:04x}-7{:03x}-8{:03x}-{:012x}', i >> 12, i & 4095, (hash(i) & 4095)::BIGINT,
                (hash(i + 1) & 281474976710655)::BIGINT)"""


def opened(runs: int, folder: Path) -> Store:
    """Return a store with so many runs."""
    store = Store(folder / "store", "benchmark")
    there = store.write(lambda session: session.value("SELECT count(*) FROM run"))
    if not there:
        for number in range(5):
            store.write(
                lambda s, n=number: s.insert("experiment", id=f"e{n}", tenant="default", name=f"x{n}", created_us=1)
            )
    for first in range(there, runs, BATCH):
        store.write(lambda session, first=first: fill(session, first, min(BATCH, runs - first)))
    store.checkpoint().result()
    return store


LISTS = [
    ("newest first", "", ""),
    ("one column", "status:done", "-started"),
    ("a metric", "m3>0.9", "-m3"),
    ("several conditions", "status:done m3>0.5 m4<0.5 p2<0.5 p3:value-3,value-4", "-m7"),
    ("either", "m3>0.99 or p3:value-3 p2<0.1", "p2"),
    ("a word", "resnet-0001", ""),
    ("a pattern", "name~9{2}$", "m1"),
    ("nothing", "m3>2", ""),
]


def timed(store: Store, call: Callable[..., object], *given: object) -> str:
    """Return wall time of the first call, then the medians of wall and processor time of more, ms."""
    wall, processor = [], []
    for _ in range(REPEAT + 1):
        began, used = time.perf_counter(), time.process_time()
        with store.read(600) as session:
            call(session, *given)
        wall.append(1000 * (time.perf_counter() - began))
        processor.append(1000 * (time.process_time() - used))
    return f"{wall[0]:9.1f} {statistics.median(wall[1:]):9.1f} {statistics.median(processor[1:]):9.1f}"


def main(runs: int, folder: Path) -> None:
    """Print a table."""
    open_rooms()
    store, listing, views = opened(runs, folder), LISTINGS["run"], Views()
    print(f"{runs:,} runs, {EACH} parameters, {EACH} metrics; ms: first, then medians of {REPEAT}: wall, processor")
    print(f"{'':20}{'page of 100':>30}{'view, opened':>30}")
    for name, text, sort in LISTS:
        page = timed(store, listing.select, "default", List(filter=text, sort=sort, limit=100))
        view = timed(store, views.open, "default", OpenView(noun="run", filter=text, sort=sort))
        print(f"{name:20} {page} {view}   {text} {sort}", flush=True)
    store.close()


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as made:
        main(count, Path(sys.argv[2] if len(sys.argv) > 2 else made))
