"""The reader: bytes in, a typed batch out. It trusts nothing: a bad line is set aside and the next one read.

Only whole lines are read, so a record being written, or torn by a crash, is looked at again later. Offsets
are bytes from the beginning of the file; whoever stores a batch stores ``next_offset`` in the same transaction.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlops_tui.core.errors import Conflict, NotAllowed, NotFound
from mlops_tui.spool.records import Batch, Metric, Record
from mlops_tui.spool.text import MAX_LINE

BATCH_BYTES = 4 * 1024 * 1024
"""Bytes read at once unless told otherwise: with more, whoever reads the store meanwhile waits for it."""

_BLOCK, _PIECE = 64 * 1024, 256
"""Bytes decoded, and lines made columns, by one call: no other thread has a turn meanwhile."""
_SHOWN = 2_000
_WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)
_decoder = msgspec.json.Decoder(Record)


class Points(NamedTuple):
    """Metric points as columns of equal length, in file order.

    Attributes:
        names: the distinct metric names, in order of appearance.
        key: int32, index into ``names``.
        step: int64.
        ts: int64, microseconds since the epoch.
        value: float64, NaN and infinities included.
    """

    names: list[str]
    key: NDArray[np.int32]
    step: NDArray[np.int64]
    ts: NDArray[np.int64]
    value: NDArray[np.float64]


class Bad(NamedTuple):
    """A line that is no record: where it begins, its first 2,000 bytes as text, and what is wrong."""

    offset: int
    line: str
    error: str


class Chunk(NamedTuple):
    """What was read.

    Attributes:
        records: every event but metrics, in file order.
        points: the metrics.
        next_offset: where to read on; equal to the offset read from when no whole line is there yet.
        bad: lines for quarantine.
    """

    records: list[Record]
    points: Points
    next_offset: int
    bad: list[Bad]


def read_from(path: Path, offset: int = 0, limit_bytes: int = BATCH_BYTES) -> Chunk:
    """Read whole lines of a spool file.

    Args:
        path: the file.
        offset: where to begin, 0 or a ``next_offset``.
        limit_bytes: read about this much at most; a single longer line is read nevertheless.

    Raises:
        NotFound: there is no such file.
        NotAllowed: it cannot be opened, or is a link.
        Conflict: the file is shorter than the offset, so it is not the file that was read before.
    """
    data = _bytes_from(path, offset, limit_bytes)
    return data if isinstance(data, Chunk) else parse(data, offset)


def read_owned(path: Path, offset: int = 0, limit_bytes: int = BATCH_BYTES) -> dict[str, Chunk]:
    """Read whole lines of a file whose records name their owners, into a batch an owner.

    Every batch has the ``next_offset`` of the file. What belongs to nobody, bad lines too, stands under ``""``.

    Raises:
        NotFound: as :func:`read_from`; and so on.
    """
    data = _bytes_from(path, offset, limit_bytes)
    if isinstance(data, Chunk):
        return {"": data}
    bad: list[Bad] = []
    owners: dict[str, tuple[list[Record], list[Metric], list[Batch]]] = {"": ([], [], [])}
    for record in chain.from_iterable(_decoded(data, offset, bad)):
        records, metrics, batches = owners.setdefault(record.o, ([], [], []))
        if isinstance(record, Metric):
            metrics.append(record)
        elif isinstance(record, Batch):
            batches.append(record)
        else:
            records.append(record)
    end = offset + data.rfind(b"\n") + 1
    return {
        owner: Chunk(records, _points(_columns(metrics), batches), end, [] if owner else bad)
        for owner, (records, metrics, batches) in owners.items()
    }


def _bytes_from(path: Path, offset: int, limit_bytes: int) -> bytes | Chunk:
    """Return bytes from an offset on, or a chunk that steps over a line that is too long."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        raise NotFound(f"the spool file {path} is gone", "", "it was ingested or removed meanwhile") from error
    except OSError as error:
        raise NotAllowed(
            f"cannot read the spool file {path}", str(error.strerror), "it should be a plain file of yours"
        ) from error
    try:
        size = os.fstat(fd).st_size
        if size < offset:
            raise Conflict(
                f"the spool file {path} has {size:,} bytes, fewer than the {offset:,} read before",
                "it was cut or replaced",
            )
        data = os.pread(fd, max(1, limit_bytes), offset)
        if b"\n" not in data and len(data) < size - offset:
            data = os.pread(fd, MAX_LINE + 1, offset)
            if b"\n" not in data and len(data) > MAX_LINE:
                return _skip_giant(fd, offset, data[:_SHOWN])
    finally:
        os.close(fd)
    return data


def parse(data: bytes, offset: int = 0) -> Chunk:
    """Turn bytes that begin at ``offset`` of a file, at the beginning of a line, into a batch.

    What follows the last newline is left for later. Metrics become columns block by block: what is let go at once, as
    what is made at once, no other thread can interrupt.
    """
    records: list[Record] = []
    batches: list[Batch] = []
    bad: list[Bad] = []
    columns = _Columns()
    for found in _decoded(data, offset, bad):
        if list(map(type, found)).count(Metric) == len(found):  # nearly always
            columns.add(cast(list[Metric], found))
            continue
        columns.add([one for one in found if isinstance(one, Metric)])
        batches += [one for one in found if isinstance(one, Batch)]
        records += [one for one in found if not isinstance(one, Metric | Batch)]
    return Chunk(records, _points(columns.points(), batches), offset + data.rfind(b"\n") + 1, bad)


def _decoded(data: bytes, offset: int, bad: list[Bad]) -> Iterator[list[Record]]:
    """Yield the records of whole lines, some at a time."""
    for start, block in _blocks(data):
        yield _decode(block, offset + start, bad)


def _blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut into blocks of whole lines, so that one bad line costs a block a second look, not the batch."""
    start, end = 0, data.rfind(b"\n") + 1
    while start < end:
        cut = data.rfind(b"\n", start, start + _BLOCK) + 1 or data.index(b"\n", start + _BLOCK) + 1
        yield start, data[start:cut]
        start = cut


def _decode(block: bytes, offset: int, bad: list[Bad]) -> list[Record]:
    if len(block) > MAX_LINE:  # one line, see _blocks
        return _decode_singly(block, offset, bad)
    try:
        if not block.isascii():
            block.decode()  # the decoder does not look into fields that it does not know
        found = _decoder.decode_lines(block)
    except _ERRORS:
        return _decode_singly(block, offset, bad)
    # The decoder takes a newline for white space: two torn lines can pass as one record. Then the numbers differ.
    return found if len(found) == block.count(b"\n") else _decode_singly(block, offset, bad)


def _decode_singly(block: bytes, offset: int, bad: list[Bad]) -> list[Record]:
    found: list[Record] = []
    for line in block.split(b"\n"):
        if line.strip():
            try:
                if len(line) > MAX_LINE:
                    raise ValueError(f"longer than {MAX_LINE:,} bytes")
                line.decode()
                found.append(_decoder.decode(line))
            except _ERRORS as error:
                bad.append(_bad(offset, line, str(error)))
        offset += len(line) + 1
    return found


def _bad(offset: int, line: bytes, error: str) -> Bad:
    return Bad(offset, line[:_SHOWN].decode("utf-8", "replace"), error)


def _skip_giant(fd: int, offset: int, head: bytes) -> Chunk:
    """Step over a line that is too long to be a record, without holding it in memory."""
    at = offset
    while data := os.pread(fd, MAX_LINE, at):
        newline = data.find(b"\n")
        if newline >= 0:
            return Chunk([], _columns([]), at + newline + 1, [_bad(offset, head, f"longer than {MAX_LINE:,} bytes")])
        at += len(data)
    return Chunk([], _columns([]), offset, [])


def _points(singles: Points, batches: list[Batch]) -> Points:
    """Return single metrics and batches of them as columns, batches last."""
    if not batches:
        return singles
    names = dict.fromkeys(chain(singles.names, *(one.k for one in batches)))
    place = {name: n for n, name in enumerate(names)}
    parts = [singles] + [_of_batch(one, place) for one in batches]
    return Points(list(names), *(np.concatenate([part[n] for part in parts]) for n in range(1, 5)))


def _of_batch(batch: Batch, place: dict[str, int]) -> Points:
    value = np.array(batch.m, np.float64)
    for n, word in batch.x.items():
        value[int(n)] = _WORDS[word]
    key = np.array([place[name] for name in batch.k], np.int32)[np.array(batch.i, np.int64)]
    return Points(batch.k, key, np.array(batch.s, np.int64), np.array(batch.ts, np.int64), value)


def _columns(metrics: list[Metric]) -> Points:
    columns = _Columns()
    columns.add(metrics)
    return columns.points()


class _Columns:
    """Metrics on their way into columns, a few at a time."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str, int] = defaultdict(count().__next__)
        self._pieces: list[list[NDArray[Any]]] = [[np.empty(0, kind) for kind in (np.int32, *[np.int64] * 2, float)]]

    def add(self, metrics: list[Metric]) -> None:
        """Append metrics, in their order."""
        for first in range(0, len(metrics), _PIECE):
            self._pieces.append(self._piece(metrics[first : first + _PIECE]))

    def points(self) -> Points:
        """Return all that was added."""
        key, step, ts, value = map(np.concatenate, zip(*self._pieces, strict=True))
        return Points(list(self._numbers), key, step, ts, value)

    def _piece(self, metrics: list[Metric]) -> list[NDArray[Any]]:
        for one in metrics:
            if one.x is not None:
                one.m = {**one.m, **{key: _WORDS[word] for key, word in one.x.items()}}
        values = [one.m for one in metrics]
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        total = int(lengths.sum())
        key = np.fromiter(map(self._numbers.__getitem__, chain.from_iterable(values)), np.int32, total)
        value = np.fromiter(chain.from_iterable(map(dict.values, values)), np.float64, total)
        step = np.fromiter([one.s for one in metrics], np.int64, len(metrics))
        ts = np.fromiter([one.t for one in metrics], np.int64, len(metrics))
        return [key, np.repeat(step, lengths), np.repeat(ts, lengths), value]
