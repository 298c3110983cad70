"""The inference log of one worker: records into segments, rotated, under a budget of bytes; never fails a request."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import MlopsError
from mlops_tui.core.paths import private_dir
from mlops_tui.serving.record.counters import Gauge, Slot
from mlops_tui.serving.record.segments import Header, Piece, SegmentName, SegmentWriter

MAX_SEGMENT = 64 << 20
MAX_AGE_S = 60.0
_RETRY_S = 1.0
_TELL_S = 60.0
_logger = logging.getLogger("mlops.serving")


class Budget:
    """How many bytes of segments may lie in a folder.

    What other workers write and what the ingestor deletes is seen at each :meth:`scan`; in between only the bytes of
    this process are counted.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._used = 0
        self.scan()

    def scan(self) -> None:
        """Look again at what lies in the folder."""
        used = 0
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".seg"):
                        used += entry.stat().st_size
        except OSError:
            return
        self._used = used

    def take(self, size: int) -> bool:
        """Reserve bytes; False when the budget has no room for them."""
        if self._used + size > self._limit:
            return False
        self._used += size
        return True


class Keeping(NamedTuple):
    """What of the requests is kept: a share of them, by their id, and all of their columns but some.

    The same id is always kept or never: on a shadow, at another server, when it is sent again.
    """

    share: float = 1.0
    redacted: frozenset[str] = frozenset()

    def keeps(self, ident: bytes) -> bool:
        """Tell whether a request is among the sample."""
        return self.share >= 1.0 or crc32(ident) < self.share * 2**32


class Stream:
    """The open segment of one set of columns, and what waits to be written to it."""

    __slots__ = ("header", "hidden_features", "hidden_outputs", "opened", "pending", "rows", "writer")

    def __init__(self, header: Header) -> None:
        self.header = header
        self.hidden_features = [i for i, name in enumerate(header.features) if name in header.redacted]
        self.hidden_outputs = [i for i, name in enumerate(header.outputs) if name in header.redacted]
        self.writer: SegmentWriter | None = None
        self.opened = 0.0
        self.pending: list[Piece] = []
        self.rows = 0


class InferenceLog:
    """Keeps the records of one loop turn and writes them with one write before the answers leave.

    Args:
        folder: where segments go; made when it is missing.
        deployment: the deployment's id, for the header.
        limit: bytes of segments that may lie in the folder, all workers together.
        slot: where written and dropped rows are counted.
        keeping: what is kept of the requests.
    """

    def __init__(self, folder: Path, deployment: str, limit: int, slot: Slot, keeping: Keeping | None = None) -> None:
        self._folder, self._deployment, self._slot = folder, deployment, slot
        self.keeping = keeping or Keeping()
        self._started, self._n = now_us(), 0
        self._streams: dict[tuple[tuple[str, ...], tuple[str, ...]], Stream] = {}
        self._waiting: list[Stream] = []
        self._scanned = time.monotonic()
        self._failed_at = -_RETRY_S
        self._missed, self._why, self._told = 0, "", -_TELL_S
        self._budget = Budget(folder, limit)

    def stream(self, features: tuple[str, ...], outputs: tuple[str, ...]) -> Stream:
        """Return where records with these columns go; models of equal columns share it."""
        key = (features, outputs)
        if key not in self._streams:
            hidden = tuple(sorted(self.keeping.redacted.intersection(features + outputs)))
            header = Header(self._deployment, features, outputs, share=self.keeping.share, redacted=hidden)
            self._streams[key] = Stream(header)
        return self._streams[key]

    def add(self, stream: Stream, records: Iterable[Piece], rows: int) -> None:
        """Keep the pieces of records, with their rows in all, until :meth:`flush`; what they point at must stay."""
        idle = not stream.pending
        stream.pending += records
        stream.rows += rows
        if idle and stream.pending:
            self._waiting.append(stream)

    def flush(self) -> None:
        """Write what waits; what cannot be written is counted as dropped."""
        if not self._waiting:
            return
        for stream in self._waiting:
            size = sum(map(len, stream.pending))
            written = self._write(stream, size)
            self._slot.add(Gauge.LOG_ROWS if written else Gauge.LOG_DROPPED_ROWS, stream.rows)
            self._missed += 0 if written else stream.rows
            if written:
                self._slot.add(Gauge.LOG_BYTES, size)
            stream.pending.clear()
            stream.rows = 0
        self._waiting.clear()

    def _write(self, stream: Stream, size: int) -> bool:
        if stream.writer is None and time.monotonic() < self._failed_at + _RETRY_S:
            return False
        if not self._budget.take(size):
            self._why = "spool.max_bytes is reached, and nobody takes in what lies there"
            return False
        try:
            writer = stream.writer or self._open(stream)
            if writer.append(stream.pending):
                if writer.size >= MAX_SEGMENT:
                    self._close(stream)
                return True
            self._why = f"{self._folder} cannot be written, is the disk full?"
        except (OSError, MlopsError) as error:
            self._why = str(error)
        # A full or vanished disk: leave it alone for a moment instead of asking it at every request.
        self._failed_at = time.monotonic()
        self._close(stream)
        return False

    def _open(self, stream: Stream) -> SegmentWriter:
        private_dir(self._folder)
        self._n += 1
        name = SegmentName(os.uname().nodename, os.getpid(), self._started, self._n)
        stream.writer = SegmentWriter(self._folder / str(name), stream.header)
        stream.opened = time.monotonic()
        return stream.writer

    def _close(self, stream: Stream) -> None:
        if stream.writer is not None:
            stream.writer.close()
            stream.writer = None

    def tick(self) -> None:
        """Close segments that are old enough and look at the budget again; call it a few times a second."""
        now = time.monotonic()
        for stream in self._streams.values():
            if stream.writer is not None and now - stream.opened >= MAX_AGE_S:
                self._close(stream)
        if now - self._scanned >= 1.0:
            self._scanned = now
            self._budget.scan()
            self._tell(now)

    def _tell(self, now: float) -> None:
        """Say in the server's own log that rows are missing here, once in a while."""
        if self._missed and now - self._told >= _TELL_S:
            _logger.warning("%d rows are not in the inference log: %s", self._missed, self._why)
            self._missed, self._told = 0, now

    def close(self) -> None:
        """Write what waits and close every segment."""
        self.flush()
        for stream in self._streams.values():
            self._close(stream)
