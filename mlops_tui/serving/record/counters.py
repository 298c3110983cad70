"""Counters of a deployment: one small file mapped by every worker, a slot a worker, a column a revision.

A slot has one writer, so nothing is locked; whoever answers ``/metrics`` adds the slots up. The file outlives workers
and supervisors, so counts never go back.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

_MAGIC = int.from_bytes(b"MLOPCNT1", "little")
HEAD = 32
COLUMN = 32
COLUMNS = 64
SLOT = HEAD + COLUMN * COLUMNS
BUCKETS_S = tuple(50e-6 * 2**i for i in range(18))
"""Upper bounds of the latency histogram in seconds: 50 µs doubled up to 6.6 s; what is slower counts as +Inf."""


class Gauge(IntEnum):
    """Words at the head of a slot."""

    PID = 0
    READY = 1
    EPOCH = 2
    GENERATION = 3
    HEARTBEAT_NS = 4
    CONNECTIONS = 5
    ACCEPTED = 6
    REFUSED = 7
    HTTP_2XX = 8
    HTTP_4XX = 9
    HTTP_5XX = 10
    LOG_ROWS = 11
    LOG_DROPPED_ROWS = 12
    LOG_BYTES = 13
    SHADOW_DROPPED = 14
    RESTARTS = 15
    REVERTED = 16
    TURNED_AWAY = 17
    SWITCHED_OFF = 18
    LOOKUPS = 19
    LOOKUP_MISSES = 20
    FEATURE_AGE_S = 21


class Count(IntEnum):
    """Words of a revision's column; the histogram follows ``BUCKET``: one word a bound and one for +Inf."""

    OK = 0
    CLIENT_ERROR = 1
    MODEL_ERROR = 2
    FALLBACK = 3
    ROWS = 4
    SHADOW_OK = 5
    SHADOW_ERROR = 6
    LATENCY_NS = 7
    BUCKET = 8


# A member of an enumeration takes four times as long to read as a name; every request reads these.
_ROWS, _LATENCY, _BUCKET = int(Count.ROWS), int(Count.LATENCY_NS), int(Count.BUCKET)
_LAST = len(BUCKETS_S)
assert Count.BUCKET + len(BUCKETS_S) + 1 <= COLUMN and max(Gauge) < HEAD


class Slot:
    """The words of one worker. ``words`` is exposed because a request adds to it in place."""

    def __init__(self, words: memoryview) -> None:
        self.words = words

    def __getitem__(self, gauge: Gauge) -> int:
        return int(self.words[gauge])

    def __setitem__(self, gauge: Gauge, value: int) -> None:
        self.words[gauge] = value

    def add(self, gauge: Gauge, amount: int = 1) -> None:
        """Add to a word of the head."""
        self.words[gauge] += amount

    def observe(self, column: int, outcome: Count, rows: Sequence[int], latencies_ns: Sequence[int]) -> None:
        """Count answers of a revision, each with its rows and latency."""
        words, base = self.words, HEAD + column * COLUMN
        words[base + outcome] += len(rows)
        words[base + _ROWS] += sum(rows)
        words[base + _LATENCY] += sum(latencies_ns)
        base += _BUCKET
        # Answers of one run took about as long as each other: most often one bucket has them all.
        lowest, highest = bucket(min(latencies_ns)), bucket(max(latencies_ns))
        if lowest == highest:
            words[base + lowest] += len(latencies_ns)
            return
        for latency in latencies_ns:
            words[base + bucket(latency)] += 1

    def count(self, column: int, outcome: Count) -> None:
        """Count one event of a revision that has no latency."""
        self.words[HEAD + column * COLUMN + outcome] += 1


def bucket(latency_ns: int) -> int:
    """Return the index of the first bound in ``BUCKETS_S`` that is not below the latency, or their number."""
    found = ((latency_ns - 1) // 50_000).bit_length() if latency_ns > 0 else 0
    return found if found < _LAST else _LAST


class Counters:
    """The mapped file of a deployment, made on first use; a file of another shape is started anew.

    Args:
        path: where the file lies.
        slots: how many workers there are; the file keeps the slots of former ones.

    Raises:
        OSError: the file cannot be made, or the disk has no room for it.
    """

    def __init__(self, path: Path, slots: int) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = 8 * SLOT * (slots + 1)
            # Reserved now, because a full disk would otherwise kill the worker that touches a new page of the map.
            if os.fstat(fd).st_size < size:
                os.posix_fallocate(fd, 0, size) if hasattr(os, "posix_fallocate") else os.ftruncate(fd, size)
            self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)
        self._words = memoryview(self._map).cast("Q")
        if self._words[0] != _MAGIC:
            self._map[:] = bytes(len(self._map))
            self._words[0] = _MAGIC

    @classmethod
    def seen(cls, path: Path) -> Counters | None:
        """Return the counters of servers that run elsewhere, to read from; None when there are none yet.

        The file is let go together with what is returned.
        """
        found = cls.__new__(cls)
        try:
            with open(path, "rb") as file:
                found._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # no file, or an empty one
            return None
        found._words = memoryview(found._map).cast("Q")
        return found if found._words[0] == _MAGIC else None

    def slot(self, index: int) -> Slot:
        """Return the words of a worker; the file must have been made with more slots than ``index``."""
        return Slot(self._words[SLOT * (index + 1) : SLOT * (index + 2)])

    @property
    def slots(self) -> list[Slot]:
        """Every slot in the file, former workers' included."""
        return [self.slot(i) for i in range(len(self._words) // SLOT - 1)]

    def total(self, gauge: Gauge) -> int:
        """Return a word of the head, summed over the slots."""
        return sum(slot[gauge] for slot in self.slots)

    def column(self, index: int) -> list[int]:
        """Return a revision's column, summed over the slots: ``COLUMN`` numbers."""
        base = HEAD + index * COLUMN
        parts = [slot.words[base : base + COLUMN] for slot in self.slots]
        return [sum(values) for values in zip(*parts, strict=True)]

    def clear(self, index: int) -> None:
        """Forget a column, so that another revision may have it."""
        base = HEAD + index * COLUMN
        for slot in self.slots:
            slot.words[base : base + COLUMN] = memoryview(bytes(8 * COLUMN)).cast("Q")
