"""Binary segments of the inference log: the format, its writer and its reader.

A segment is ``MLOPSEG1``, a little-endian u32, that many bytes of JSON (a ``Header``), then records: the 30 bytes of
``RECORD`` (total length with itself, time in µs, revision number, status, flags, latency in µs, rows, and the sizes of
what follows), with the flag ``CLIENT`` whose request it is (i64, see :mod:`mlops_tui.serving.traffic.sticky`), the
request id in UTF-8, the features and the outputs, both float32 and row-major. A record says by its own sizes how many
features and outputs a row has: all that the header names, or none.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlops_tui.core.errors import BadInput

MAGIC = b"MLOPSEG1"
RECORD = struct.Struct("<IqHBBIIHHH")
Piece = bytes | memoryview
"""A part of a record: its fixed part, the request id, the features or the outputs."""
_U32 = struct.Struct("<I")
_I64 = struct.Struct("<q")
_MOST_PIECES = 1024
"""As many as one write may gather (``IOV_MAX``)."""
_FIELDS = np.dtype(
    {
        "names": ["total", "ts", "no", "status", "flags", "latency", "rows", "id", "features", "outputs"],
        "formats": ["<u4", "<i8", "<u2", "u1", "u1", "<u4", "<u4", "<u2", "<u2", "<u2"],
        "offsets": [0, 4, 12, 14, 15, 16, 20, 24, 26, 28],
        "itemsize": RECORD.size,
    }
)
OK, CLIENT_ERROR, MODEL_ERROR, FALLBACK = range(4)
SHADOW, CHOSEN, CLIENT = 1, 2, 4
"""Flags: nobody gets the answer; the revision was chosen, by a path or a toggle, and not drawn by its weight; it is
known whose request it is."""
NOBODY = -1
"""In place of a client: the routes did not ask whose request it is."""


class Header(msgspec.Struct, frozen=True):
    """What a segment says about itself: its deployment and the names of its columns.

    ``share`` is the part of the requests that is kept, ``redacted`` names the columns whose values are not.
    """

    deployment: str
    features: tuple[str, ...]
    outputs: tuple[str, ...]
    dtype: str = "float32"
    share: float = 1.0
    redacted: tuple[str, ...] = ()


@dataclass(frozen=True)
class SegmentName:
    """The parts of a segment's file name ``<host>-<pid>-<start_us>-<n>.seg``."""

    host: str
    pid: int
    start_us: int
    n: int

    def __str__(self) -> str:
        return f"{self.host}-{self.pid}-{self.start_us}-{self.n}.seg"

    @classmethod
    def parse(cls, name: str) -> SegmentName:
        """Read a file name.

        Raises:
            BadInput: it is not a segment's name.
        """
        parts = name.removesuffix(".seg").rsplit("-", 3)
        if not name.endswith(".seg") or len(parts) != 4 or not all(part.isdecimal() for part in parts[1:]):
            raise BadInput(f"{name!r} is not the name of an inference segment")
        return cls(parts[0], *(int(part) for part in parts[1:]))


class SegmentWriter:
    """Appends records to one file: one ``O_APPEND`` write a call, nothing kept in the process.

    Raises:
        OSError: the file cannot be made or its header not written.
    """

    def __init__(self, path: Path, header: Header) -> None:
        text = msgspec.json.encode(header)
        self.path = path
        self.size = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if not self.append([MAGIC, _U32.pack(len(text)), text]):
            self.close()
            path.unlink(missing_ok=True)
            raise OSError(f"cannot write the header of {path}")

    def append(self, pieces: Sequence[Piece]) -> bool:
        """Write whole records; on a full disk take back what was written of them and return False.

        The kernel gathers the pieces from where they lie: joining a record of 1,000 rows first costs 0.1 to 0.4 ms.
        """
        size = sum(map(len, pieces))
        try:
            written = os.writev(self._fd, pieces if len(pieces) <= _MOST_PIECES else [b"".join(pieces)])
        except OSError:
            return False
        if written == size:
            self.size += written
            return True
        os.ftruncate(self._fd, self.size)
        return False

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def record(
    ts_us: int,
    revision_no: int,
    status: int,
    flags: int,
    latency_us: int,
    n_rows: int,
    request_id: bytes,
    features: Piece = b"",
    outputs: Piece = b"",
    client: int = NOBODY,
) -> tuple[Piece, ...]:
    """Return one record, piece by piece; ``features`` and ``outputs`` are bytes of float32, row-major, or empty."""
    width = n_rows * 4 or 1
    whose = b"" if client == NOBODY else _I64.pack(client)
    fixed = RECORD.pack(
        RECORD.size + len(whose) + len(request_id) + len(features) + len(outputs),
        ts_us,
        revision_no,
        status,
        flags | CLIENT if whose else flags,
        latency_us if latency_us < 0xFFFF_FFFF else 0xFFFF_FFFF,
        n_rows,
        len(request_id),
        len(features) // width,
        len(outputs) // width,
    )
    return fixed + whose, request_id, features, outputs


@dataclass(frozen=True)
class Corrupt:
    """A stretch of a segment that is no record: where it begins, how many bytes were skipped, what was wrong."""

    offset: int
    size: int
    why: str


@dataclass(frozen=True)
class Batch:
    """Records of a segment as columns.

    One element a record: ``ts_us`` (int64), ``revision_no`` (uint16), ``status`` and ``flags`` (uint8), ``latency_us``
    and ``n_rows`` (uint32), ``request_id``, ``client`` (int64, ``NOBODY`` where it was not asked for). One
    element a row: ``record`` (index of its record), ``row`` (number within the request, from 0), ``features`` (rows,
    len(header.features)) and ``outputs`` (rows, len(header.outputs)), both float32, NaN where a record carries none.
    ``next_offset`` is where to read on; ``torn`` counts the bytes of an unfinished record there.
    """

    header: Header
    ts_us: NDArray[np.int64]
    revision_no: NDArray[np.uint16]
    status: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    latency_us: NDArray[np.uint32]
    n_rows: NDArray[np.uint32]
    request_id: list[str]
    record: NDArray[np.int64]
    row: NDArray[np.int64]
    features: NDArray[np.float32]
    outputs: NDArray[np.float32]
    next_offset: int
    torn: int
    corrupt: list[Corrupt]
    client: NDArray[np.int64]


def read_segment(path: Path, offset: int = 0, max_bytes: int = 8 << 20) -> Batch:
    """Read the whole records of a segment from ``offset`` on; about ``max_bytes`` at a time, but at least one record.

    Call again with ``next_offset`` until it stays where it is. A torn tail is left for the next call; a damaged stretch
    is skipped up to the next record that makes sense, and reported.

    Args:
        path: the segment.
        offset: 0, or ``next_offset`` of the batch before.
        max_bytes: how much to read at once.

    Raises:
        FileNotFoundError: there is no such file.
        BadInput: the file is not a segment, or ``offset`` lies beyond its end.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = _read_header(path, file)
        if header is None:
            return _columns(Header("", (), ()), b"", [], [], 0, size)
        start = max(offset, file.tell())
        if start > size:
            raise BadInput(
                f"{path} has no byte {offset}", f"it ends at {size}; was the file replaced?", "read it from 0"
            )
        file.seek(start)
        data = file.read(max_bytes)
        if len(data) >= 4 and len(data) < (first := _U32.unpack_from(data)[0]) <= size - start:
            data += file.read(first - len(data))
    offsets, corrupt, used = _walk(data, header, start)
    return _columns(header, data, offsets, corrupt, start + used, len(data) - used)


def _read_header(path: Path, file: BinaryIO) -> Header | None:
    """Read the header and leave the file where records begin; None while the header is not whole yet."""
    first = file.read(len(MAGIC) + 4)
    if first[: len(MAGIC)] != MAGIC[: len(first)]:
        raise BadInput(f"{path} is not an inference segment", f"it begins with {first[:8]!r}", "move the file away")
    if len(first) < len(MAGIC) + 4:
        return None
    length = _U32.unpack_from(first, len(MAGIC))[0]
    text = file.read(length)
    if len(text) < length:
        return None
    try:
        return msgspec.json.decode(text, type=Header)
    except msgspec.DecodeError as error:
        raise BadInput(f"the header of {path} cannot be read", str(error), "move the file away") from error


def _walk(data: bytes, header: Header, start: int) -> tuple[list[int], list[Corrupt], int]:
    """Return where records begin in ``data``, what had to be skipped, and how many bytes are done with."""
    at, end = 0, len(data)
    offsets: list[int] = []
    corrupt: list[Corrupt] = []
    while end - at >= RECORD.size:
        total = _sane(data, at, header)
        if total:
            if at + total > end:
                break
            offsets.append(at)
            at += total
            continue
        after = _resync(data, at + 1, header)
        corrupt.append(Corrupt(start + at, after - at, "the sizes of the record contradict each other"))
        at = after
    return offsets, corrupt, at


def _sane(data: bytes, at: int, header: Header) -> int:
    """Return the length of the record at ``at``, or 0 when what stands there cannot be one."""
    total, ts, _, status, flags, _, rows, n_id, n_features, n_outputs = RECORD.unpack_from(data, at)
    width = n_features + n_outputs
    fits = (
        total == RECORD.size + (_I64.size if flags & CLIENT else 0) + n_id + 4 * rows * width
        and (width or rows <= 0xFFFF)
        and n_features in (0, len(header.features))
        and n_outputs in (0, len(header.outputs))
        and status <= FALLBACK
        and flags <= SHADOW | CHOSEN | CLIENT
        and ts > 0
    )
    return int(total) if fits else 0


def _resync(data: bytes, at: int, header: Header) -> int:
    """Return where the next record begins, or the end less what could be the beginning of one."""
    last = max(at, len(data) - RECORD.size + 1)
    shapes = {(f, o) for f in (0, len(header.features)) for o in (0, len(header.outputs))} - {(0, 0)}
    found = last
    for features, outputs in shapes:
        # A record is looked for by its two column counts: they are the only bytes of it that are known beforehand.
        sizes = struct.pack("<HH", features, outputs)
        hit = data.find(sizes, at + 26)
        while 0 <= hit < found + 26:
            if _sane(data, hit - 26, header):
                found = hit - 26
                break
            hit = data.find(sizes, hit + 1)
    return found


def _columns(
    header: Header, data: bytes, offsets: list[int], corrupt: list[Corrupt], next_offset: int, torn: int
) -> Batch:
    raw = np.frombuffer(data, np.uint8)
    begin = np.array(offsets, np.int64)
    heads = _windows(raw, begin, RECORD.size).view(_FIELDS)[:, 0] if offsets else np.empty(0, _FIELDS)
    rows = heads["rows"].astype(np.int64)
    record = np.repeat(np.arange(len(rows)), rows)
    row = np.arange(len(record)) - np.repeat(np.cumsum(rows) - rows, rows)
    known = (heads["flags"] & CLIENT) != 0
    named = begin + RECORD.size + _I64.size * known
    client = np.full(len(begin), NOBODY, np.int64)
    if known.any():
        client[known] = _windows(raw, begin[known] + RECORD.size, _I64.size).view("<i8")[:, 0]
    first = named + heads["id"]
    second = first + 4 * rows * heads["features"]
    return Batch(
        header=header,
        ts_us=heads["ts"].copy(),
        revision_no=heads["no"].copy(),
        status=heads["status"].copy(),
        flags=heads["flags"].copy(),
        latency_us=heads["latency"].copy(),
        n_rows=heads["rows"].copy(),
        request_id=[
            data[o : o + n].decode("utf-8", "replace")
            for o, n in zip(named.tolist(), heads["id"].tolist(), strict=True)
        ],
        record=record,
        row=row,
        features=_table(raw, first[record], row, heads["features"][record] > 0, len(header.features)),
        outputs=_table(raw, second[record], row, heads["outputs"][record] > 0, len(header.outputs)),
        next_offset=next_offset,
        torn=torn,
        corrupt=corrupt,
        client=client,
    )


def _table(
    raw: NDArray[np.uint8], base: NDArray[np.int64], row: NDArray[np.int64], there: NDArray[np.bool_], width: int
) -> NDArray[np.float32]:
    """Return one line a row, NaN where the record carries none."""
    table = np.full((len(row), width), np.nan, np.float32)
    if width and there.any():
        table[there] = _windows(raw, (base + 4 * width * row)[there], 4 * width).view("<f4")
    return table


def _windows(raw: NDArray[np.uint8], begin: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """Return ``size`` bytes from each beginning: (len(begin), size)."""
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(raw, size)[begin])
