"""Ingestion: what lies in the spool goes into the store, each row once, whatever is killed when.

The offset of a file moves in the transaction of its rows. A file that is closed and read to its end is deleted
after the next checkpoint: from then on its rows need no log to survive.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_tui.core.errors import MlopsError, NotFound
from mlops_tui.door.context import Caller, Context, act
from mlops_tui.door.registry import ABSORBERS, POINT_ABSORBERS, PREPARERS, SEGMENT_ABSORBERS
from mlops_tui.serving.record.segments import SegmentName, read_segment
from mlops_tui.spool.files import WIRE
from mlops_tui.spool.process import born_us, holds
from mlops_tui.spool.reader import BATCH_BYTES, Chunk, Points, read_from, read_owned
from mlops_tui.spool.records import End
from mlops_tui.store.store import CHECKPOINT_BYTES

if TYPE_CHECKING:
    from mlops_tui.door.house import House
    from mlops_tui.store.session import Session

log = logging.getLogger(__name__)
ORDER = ("start", "param", "tag", "data", "model", "measure", "artifact", "log", "label", "hb", "end")
CHECKPOINT_S = 30.0
MUCH = 4 * 1024 * 1024
"""Bytes that are not taken in yet above which ingestion is behind, and takes both cores."""
PASS_S, LATELY_S, PIECE = 0.1, 2.0, 2 * 1024 * 1024
"""How long whoever reads is let pass, before each piece; for how long after it, and how large, pieces are small."""


@dataclass
class Tracked:
    """A spool file as far as it was read; ``torn`` counts the bytes at its end that a dead writer did not finish."""

    path: Path
    owner: str
    offset: int
    closed: bool = False
    size: int = 0
    torn: int = 0
    failed_at: float = 0.0
    guard: threading.Lock = field(default_factory=threading.Lock)
    """Held while the file is read forward: whoever waits for what it wrote may do so too."""

    @property
    def finished(self) -> bool:
        """Whether all of it is taken in and no more will come."""
        return self.closed and self.size <= self.offset + self.torn


class Ingestor:
    """Reads every spool file forward; one thread calls :meth:`turn` again and again."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._files: dict[Path, Tracked] = {}
        self._checkpointed = time.monotonic()
        house.read(self._recall)
        self.rows = 0

    def turn(self) -> int:
        """Read what is new and return how many bytes were taken in."""
        self._discover()
        self._house.store.readers.crowded = self.behind[1] > MUCH
        taken = sum(self._forward(file) for file in list(self._files.values()))
        self._maybe_checkpoint()
        return taken

    def drain(self) -> None:
        """Read until nothing is new (at most ten seconds), then fold the log and delete what is finished."""
        deadline = time.monotonic() + 10
        while self.turn() and time.monotonic() < deadline:
            continue
        try:
            self._checkpoint().result(timeout=30)
        except Exception as error:
            log.warning("the log of the store could not be folded, the next agent takes it up: %s", error)

    def reach(self, path: Path, offset: int) -> None:
        """Read a file on this thread until what lies before an offset is taken in.

        Raises:
            MlopsError: it cannot be read that far.
        """
        if path not in self._files and not path.exists():
            return  # taken in whole, and deleted
        file = self._files.get(path) or self._files.setdefault(path, Tracked(path, path.parent.name, 0))
        with file.guard:
            while file.offset < offset:
                before = file.offset
                try:
                    self._take(file)
                except NotFound:
                    return
                if file.offset == before:
                    raise MlopsError("what was logged is not in the store yet", f"{path} ends before it", "try again")

    def catch_up(self, owner: str) -> None:
        """Read on this thread what an owner has written until now, by its spool and by the wire."""
        for path in (self._house.home.spool / owner).glob("*.jsonl"):
            with contextlib.suppress(MlopsError, FileNotFoundError):  # a line at its end that is not whole yet
                self.reach(path, path.stat().st_size)
        if self._house.journal is not None:
            self._house.journal.drain(owner)

    def owes(self, owner: str) -> bool:
        """Tell whether something that this owner wrote is not taken in yet."""
        for path in (self._house.home.spool / owner).glob("*"):
            file = self._files.get(path)
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_size > (file.offset + file.torn if file else 0):
                    return True
        return False

    @property
    def behind(self) -> tuple[int, int]:
        """How many files are watched, and how many bytes are not taken in yet."""
        files = list(self._files.values())
        return len(files), sum(max(0, file.size - file.offset) for file in files)

    def _recall(self, session: Session) -> None:
        root = self._house.home.spool
        gone = []
        for path, owner, offset, closed in session.rows("SELECT path, owner, offset_bytes, closed FROM spool"):
            if (root / path).exists():
                self._files[root / path] = Tracked(root / path, owner, offset, closed)
            else:
                gone.append(path)
        if gone:
            self._house.store.submit(lambda s: s.execute("DELETE FROM spool WHERE path IN (SELECT unnest(?))", [gone]))

    def _discover(self) -> None:
        for folder, _, names in os.walk(self._house.home.spool):
            for name in names:
                path = Path(folder) / name
                if path.suffix in (".jsonl", ".seg"):
                    file = self._files.get(path) or self._files.setdefault(path, Tracked(path, path.parent.name, 0))
                    try:
                        file.size = path.stat().st_size
                    except FileNotFoundError:  # deleted after a checkpoint, a moment ago
                        self._files.pop(path, None)

    def _forward(self, file: Tracked) -> int:
        before = file.offset
        if time.monotonic() - file.failed_at < 5:
            return 0
        try:
            with file.guard:
                if file.size > file.offset:
                    self._house.store.readers.pass_by(PASS_S)
                    self._take(file)
                if file.offset == before and not file.closed and not self._grows(file.path):
                    self._take_last(file)
        except MlopsError as error:
            file.failed_at = time.monotonic()
            log.warning("cannot read %s: %s", file.path, error)
        except Exception:
            file.failed_at = time.monotonic()
            log.exception("cannot take in %s", file.path)
        return file.offset - before

    def _take(self, file: Tracked) -> None:
        if file.path.suffix == ".seg":
            self._segment(file)
        elif file.owner == WIRE:
            self._owned_lines(file)
        else:
            self._lines(file)

    def _take_last(self, file: Tracked) -> None:
        """Close a file whose writer is gone or has begun the next, once nothing whole is left to read.

        It is read again first: until the writer was found gone, it could write.
        """
        before, size = file.offset, file.path.stat().st_size
        self._take(file)
        if file.offset == before:
            file.closed, file.size, file.torn = True, size, size - before

    def _lines(self, file: Tracked) -> None:
        small = self._house.store.readers.lately(LATELY_S)
        chunk = read_from(file.path, file.offset, PIECE if small else BATCH_BYTES)
        if chunk.next_offset == file.offset:
            return
        closed = any(isinstance(record, End) for record in chunk.records)
        kinds = _by_kind(chunk)
        self._prepare(file.owner, kinds)
        points = {file.owner: chunk.points} if len(chunk.points.key) else {}

        def absorb(ctx: Context) -> None:
            self._absorb(ctx, file, chunk, kinds)
            self._absorb_points(ctx, points)

        self._commit(file, chunk.next_offset, closed, absorb, _touched(chunk))
        self.rows += len(chunk.records) + len(chunk.points.key)

    def _prepare(self, owner: str, kinds: dict[str, list[Any]]) -> None:
        for kind, records in kinds.items():
            for prepare in PREPARERS.get(kind, []):
                prepare(self._house, owner, records)

    def _grows(self, path: Path) -> bool:
        """Tell whether somebody may still write to a file; of our own only the newest is written to."""
        journal = self._house.journal
        if path.parent.name == WIRE and journal is not None and f"-{os.getpid()}-" in path.name:
            return bool(journal.writes_to(path))
        return _may_grow(path)

    def _owned_lines(self, file: Tracked) -> None:
        """Take in what the agent wrote for many runs, all of it in one transaction."""
        chunks = read_owned(file.path, file.offset)
        offset = chunks[""].next_offset
        if offset == file.offset:
            return
        kinds = {owner: _by_kind(chunk) for owner, chunk in chunks.items()}
        for owner, mine in kinds.items():
            self._prepare(owner, mine)
        points = {owner: chunk.points for owner, chunk in chunks.items() if len(chunk.points.key)}

        def absorb(ctx: Context) -> None:
            for owner, chunk in chunks.items():
                self._absorb(ctx, replace(file, owner=owner), chunk, kinds[owner])
            self._absorb_points(ctx, points, once=True)

        self._commit(file, offset, False, absorb, [])
        for owner, chunk in chunks.items():
            for topic in _touched(chunk):
                self._house.touch(topic, owner)
            self.rows += len(chunk.records) + len(chunk.points.key)

    def _segment(self, file: Tracked) -> None:
        batch = read_segment(file.path, file.offset)
        if batch.next_offset == file.offset:
            return

        def absorb(ctx: Context) -> None:
            for absorber in SEGMENT_ABSORBERS:
                absorber(ctx, file.owner, batch)

        self._commit(file, batch.next_offset, False, absorb, ["inference"])

    def _absorb(self, ctx: Context, file: Tracked, chunk: Chunk, kinds: dict[str, list[Any]]) -> None:
        for kind in ORDER:
            if kind in kinds:
                for absorber in ABSORBERS.get(kind, []):
                    absorber(ctx, file.owner, kinds[kind])
        for bad in chunk.bad:
            ctx.session.insert(
                "quarantine",
                path=self._name(file),
                offset_bytes=bad.offset,
                line=bad.line,
                error=bad.error,
                ts_us=ctx.now,
            )

    def _absorb_points(self, ctx: Context, points: dict[str, Points], once: bool = False) -> None:
        if not points:
            return
        series = [(owner, name) for owner, mine in points.items() for name in mine.names]
        before = np.cumsum([0, *(len(mine.names) for mine in points.values())])
        which = [mine.key + first for mine, first in zip(points.values(), before, strict=False)]
        columns = [
            np.concatenate([getattr(mine, column) for mine in points.values()]) for column in ("step", "ts", "value")
        ]
        self._house.series.append_series(ctx.session, "run", series, np.concatenate(which), *columns, once=once)
        for absorber in POINT_ABSORBERS:
            absorber(ctx, points)

    def _commit(self, file: Tracked, offset: int, closed: bool, absorb: Any, touched: list[str]) -> None:
        def moved() -> None:
            file.offset, file.closed = offset, file.closed or closed

        def work(ctx: Context) -> None:
            ctx.after.append(moved)
            absorb(ctx)
            ctx.session.execute("DELETE FROM spool WHERE path = ?", [self._name(file)])
            ctx.session.insert(
                "spool",
                path=self._name(file),
                owner=file.owner,
                offset_bytes=offset,
                updated_us=ctx.now,
                closed=file.closed or closed,
            )

        act(self._house, Caller.system("ingest"), work)
        for topic in touched:
            self._house.touch(topic, file.owner)

    def _name(self, file: Tracked) -> str:
        return str(file.path.relative_to(self._house.home.spool))

    def _maybe_checkpoint(self) -> None:
        finished = any(file.finished for file in self._files.values())
        due = time.monotonic() - self._checkpointed > CHECKPOINT_S
        wal = self._house.store.wal_bytes
        # A checkpoint that fails on a full disk would cost the whole opening of the database.
        if (wal > CHECKPOINT_BYTES or (finished and due)) and shutil.disk_usage(self._house.home.store).free > 2 * wal:
            self._checkpoint()

    def _checkpoint(self) -> Any:
        """Fold the log; the files that were finished before it began are deleted after it."""
        self._checkpointed = time.monotonic()
        finished = [file for file in self._files.values() if file.finished]

        def forget() -> None:
            for file in finished:
                file.path.unlink(missing_ok=True)
                self._files.pop(file.path, None)
                with contextlib.suppress(OSError):  # another process of this owner may still write there
                    file.path.parent.rmdir()

        return self._house.store.checkpoint(after=forget)


def _by_kind(chunk: Chunk) -> dict[str, list[Any]]:
    """Return the records by kind, each kind in file order."""
    kinds: dict[str, list[Any]] = defaultdict(list)
    for record in chunk.records:
        kinds[record.__struct_config__.tag].append(record)  # type: ignore[index]
    return kinds


def _touched(chunk: Chunk) -> list[str]:
    kinds = {record.__struct_config__.tag for record in chunk.records}
    topics = {"log": "log", "label": "label"}
    touched = {topics.get(str(kind), "run") for kind in kinds}
    if len(chunk.points.key):
        touched.add("run")
    return sorted(touched)


def _may_grow(path: Path) -> bool:
    """Tell whether a spool file's writer still runs and still writes here; a file of another host is left alone."""
    host, pid, start = (path.stem.rsplit("-", 1)[0] if path.suffix == ".seg" else path.stem).rsplit("-", 2)
    if re.sub(r"[^A-Za-z0-9_.]", "_", host) != re.sub(r"[^A-Za-z0-9_.]", "_", os.uname().nodename):
        return True
    created = born_us(int(pid))
    # Of two clocks the one in the name stood still when this machine's was set forward: then the file itself is asked.
    if created is None or (created > int(start) + 1_000_000 and not holds(int(pid), path)):
        return False
    if path.suffix != ".seg":
        return True
    name = SegmentName.parse(path.name)
    return not path.with_name(str(replace(name, n=name.n + 1))).exists()
