"""What clients append: validated against what is known of the run, written to the agent's own spool, answered.

When a call was answered its record is in the file, and killing the agent loses nothing: the next one reads on. The
store gets it with the next group of the ingestion; whoever reads a run first has what was acknowledged for it taken in.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from starlette.concurrency import run_in_threadpool

from mlops_tui.agent.mlflow.errors import WireError, missing
from mlops_tui.agent.mlflow.names import stored_id
from mlops_tui.spool import keeper
from mlops_tui.spool.appender import Appender
from mlops_tui.spool.files import WIRE
from mlops_tui.spool.notice import Notices

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_tui.door.context import Caller
    from mlops_tui.door.house import House
    from mlops_tui.store.feed import Event
    from mlops_tui.store.session import Session

PERMISSION = "run:write"
KNOWN_RUNS, ASKED = 10_000, 3
ROTATE_BYTES, REST_S = 64 * 1024 * 1024, 30.0
"""A file that is larger, or was not written to for so many seconds, is left for a new one: it can be deleted then."""


@dataclass
class Known:
    """What is known of a run that clients log to."""

    id: str
    deleted: bool
    params: dict[str, str]


class Journal:
    """The spool file of this agent for all runs of the wire, and the table of those runs.

    What is checked against the table of runs is appended on the event loop alone; the rest happens on any thread.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._runs: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._ends: dict[str, tuple[Path, int]] = {}
        self._uploads: set[str] = set()
        """Owners of files that were acknowledged and may not be taken in yet."""
        self._left: dict[Path, int] = {}
        """Files before this one that may not be taken in whole, and their sizes."""
        self._file: Appender | None = None
        self._written, self._wrote_at, self._changes = 0, 0.0, 0
        self.greeted: set[str] = set()
        """Tenants whose default experiment is known to be there."""
        self._allowed: set[tuple[str, int, str, tuple[int, ...]]] = set()
        self._guard = threading.Lock()
        house.feed.listen(self._heard, inside=True)
        keeper.look_after(self)

    async def run(self, caller: Caller, run: str | None) -> Known:
        """Return what is known of a run that somebody wants to log to.

        Raises:
            WireError: there is no such run, or it is deleted.
            NotAllowed: the caller may not log.
        """
        who = (caller.name, caller.uid, caller.tenant, self._house.feed.version(("identity",)))
        known = self._runs.get((caller.tenant, run or ""))
        if known is None or who not in self._allowed:
            known = await self._learned(caller, run or "")
            self._allowed.add(who)
            self._runs[caller.tenant, run or ""] = known
            if len(self._runs) > KNOWN_RUNS:
                self._runs.popitem(last=False)
        if known.deleted:
            raise WireError(
                "INVALID_PARAMETER_VALUE",
                f"The run {run} must be in the 'active' state. Current state is deleted.",
            )
        return known

    def append(self, run: Known, *records: dict[str, Any]) -> None:
        """Write records of a run in one piece.

        Raises:
            WireError: they cannot be written; nothing is acknowledged.
        """
        for record in records:
            record["o"] = run.id
        lines = b"".join([orjson.dumps(record, None, orjson.OPT_APPEND_NEWLINE) for record in records])
        with self._guard:
            file = self._file if self._file is not None and self._written < ROTATE_BYTES else self._open()
            if not file.append(lines) or file.path is None:
                self._leave(file)  # what is torn in it stays the end of it
                raise WireError("INTERNAL_ERROR", f"the disk does not take what is logged: {self._house.home.spool}")
            self._written += len(lines)
            self._wrote_at = time.monotonic()
            self._ends[run.id] = file.path, self._written

    def owes(self, owner: str) -> bool:
        """Tell whether something that was acknowledged for a run or a logged model may not be taken in yet."""
        return owner in self._ends or bool(self._left)

    def upload(self, owner: str, record: dict[str, Any]) -> None:
        """Write down that a file came; other clients than MLflow's see it too, see :meth:`drain_uploads`.

        Raises:
            WireError: it cannot be written; nothing is acknowledged.
        """
        self.append(Known(owner, deleted=False, params={}), record)
        self._uploads.add(owner)

    def drain_uploads(self) -> None:
        """Have taken in the files that were acknowledged: whoever has put one finds it, whatever they ask."""
        for owner in list(self._uploads):
            self.drain(owner)
            with self._guard:
                if owner not in self._ends:  # nothing came meanwhile
                    self._uploads.discard(owner)

    def drain(self, run: str | None = None) -> None:
        """Have taken in what was acknowledged, of one run (its stored id) or of all."""
        with self._guard:
            ends = [self._ends[run]] if run in self._ends else [] if run else list(self._ends.values())
            ends += self._left.items()
        furthest: dict[Path, int] = {}
        for path, end in ends:
            furthest[path] = max(end, furthest.get(path, 0))
        for path, end in furthest.items():
            self._house.ingestor.reach(path, end)
        if furthest:
            self._forget(furthest)

    def forget(self) -> None:
        """Forget every run and tenant: the store is another one."""
        self._runs.clear()
        self._uploads.clear()
        self.greeted.clear()

    def tick(self) -> None:
        """Bring to disk what was written; leave a file that nobody writes to, so that it can be deleted."""
        file = self._file
        if file is not None and file.dirty:
            file.sync()
        with self._guard:
            if file is not None and file is self._file and time.monotonic() - self._wrote_at > REST_S:
                self._leave(file)

    def forked(self) -> None:
        """Do nothing: no child of the agent serves clients."""

    def close(self) -> None:
        """Leave the file."""
        keeper.let_go(self)
        with self._guard:
            if self._file is not None:
                self._file.sync()
                self._leave(self._file)

    def writes_to(self, path: Path) -> bool:
        """Tell whether a spool file is the one that is being written."""
        return self._file is not None and self._file.path == path

    def _open(self) -> Appender:
        if self._file is not None:
            self._leave(self._file)
        self._file, self._written = Appender(self._house.home.spool / WIRE, b"", Notices()), 0
        return self._file

    def _leave(self, file: Appender) -> None:
        file.close()
        if file.path is not None and self._written:
            self._left[file.path] = self._written
        self._file, self._written = None, 0

    def _forget(self, taken: dict[Path, int]) -> None:
        with self._guard:
            done = [run for run, (path, end) in self._ends.items() if end <= taken.get(path, -1)]
            for run in done:
                del self._ends[run]
            for path in [path for path, end in self._left.items() if end <= taken.get(path, -1)]:
                del self._left[path]

    async def _learned(self, caller: Caller, run: str) -> Known:
        """Return what the store says of a run now: asked again when somebody changed runs meanwhile."""
        for _ in range(ASKED):
            before = self._changes
            known = await run_in_threadpool(self._learn, caller, run)
            if before == self._changes:
                break
        return known

    def _learn(self, caller: Caller, run: str) -> Known:
        self._house.read(lambda session: self._house.guard.check(session, caller, PERMISSION))
        found = stored_id(run)
        self.drain(found)
        return self._house.read(lambda session: _known(session, caller.tenant, found, run))

    def _heard(self, event: Event) -> None:
        """Forget what somebody changed; it is read again when it is next logged to."""
        if not event.seq or event.topic not in ("run", "experiment"):
            return
        self._changes += 1
        if event.topic == "experiment":
            self._runs.clear()
        else:
            self._runs.pop((event.tenant, event.object.replace("-", "")), None)


def _known(session: Session, tenant: str, run: str, typed: str) -> Known:
    row = session.row("SELECT deleted IS NOT NULL FROM run WHERE id = ? AND tenant = ?", [run, tenant])
    if row is None:
        raise missing(f"Run with id={typed} not found")
    params = dict(session.rows("SELECT key, value FROM param WHERE run = ?", [run]))
    return Known(run, bool(row[0]), params)
