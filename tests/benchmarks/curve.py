"""A curve of a million points, down-sampled as the agent does it: ``curve.py [points]``.

The points came some at a time, as training writes them, into an encrypted store: alone, and between those of a second
run with two metrics.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mlops_tui.store import series
from mlops_tui.store.session import Session
from mlops_tui.store.store import Store

BATCH, BUCKETS, REPEAT = 5_000, 500, 25


def fill(session: Session, book: series.SeriesBook, first: int, runs: dict[str, list[str]]) -> None:
    """Write the next points of each run."""
    chance = np.random.default_rng(first)
    step = np.arange(first, first + BATCH)
    ts = 1_790_000_000_000_000 + 1000 * step
    for run, names in runs.items():
        which = np.arange(BATCH) % len(names)
        book.append_coded(session, "run", run, names, which, step, ts, chance.normal(size=BATCH))


def timed(store: Store) -> str:
    """Return medians of wall and processor time, ms."""
    wall, processor = [], []
    for _ in range(REPEAT + 1):
        began, used = time.perf_counter(), time.process_time()
        with store.read() as session:
            found = series.curve(session, "run", "long", "loss", BUCKETS)
        wall.append(1000 * (time.perf_counter() - began))
        processor.append(1000 * (time.process_time() - used))
        assert found and len(found["step"]) == BUCKETS
    return f"{statistics.median(wall[1:]):10.1f}{statistics.median(processor[1:]):10.1f}"


def measure(points: int, what: str, runs: dict[str, list[str]]) -> None:
    """Fill a store and print its row."""
    with tempfile.TemporaryDirectory() as folder:
        store, book = Store(Path(folder) / "store", "k" * 32), series.SeriesBook()
        store.settled = book.settled
        for first in range(0, points, BATCH):
            store.write(lambda session, first=first: fill(session, book, first, runs))
        store.checkpoint().result()
        long, halves = series.LONG, timed(store)
        series.LONG = points + 1
        print(f"{what:30}{halves}{timed(store)}", flush=True)
        series.LONG = long
        store.close()


def main(points: int) -> None:
    """Print the table."""
    print(f"{points:,} points → {BUCKETS} buckets, ms; load {os.getloadavg()[0]:.1f}")
    print(f"{'':30}{'halves at once: wall, CPU':>26}{'one after the other':>22}")
    measure(points, "alone", {"long": ["loss"]})
    measure(points, "between those of another run", {"long": ["loss"], "other": ["loss", "auc"]})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
