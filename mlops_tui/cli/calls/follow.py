"""Following a job: its progress on stderr while it runs, its result at the end. The job outlives whoever watches."""

from __future__ import annotations

import sys
import time
from typing import Any

from mlops_tui.cli.options import Wishes
from mlops_tui.client import Client
from mlops_tui.contracts.operation import Operation, Started
from mlops_tui.core.errors import MlopsError, from_record
from mlops_tui.core.figures import duration
from mlops_tui.core.ids import short
from mlops_tui.core.printable import clean
from mlops_tui.core.states import SYMBOLS, tone

EVERY_S = 0.1
SHOWS_LOG = frozenset(("job.train",))
"""Jobs whose output is what a person wants to see meanwhile."""


def follow(client: Client, operation: Operation[Any, Any], started: Started, wishes: Wishes) -> dict[str, Any]:
    """Wait for a job and return ``{"job", "status", "result"}``.

    Raises:
        MlopsError: the job failed, with the error that its worker met; or ``--timeout`` passed.
        KeyboardInterrupt: the person stopped watching; the job goes on.
    """
    watch = _Watch(client, operation, started, wishes)
    try:
        return watch.until_end()
    except KeyboardInterrupt:
        watch.end_line()
        name = short(started.job)
        print(f"the job goes on · mlops job show {name} · mlops job stop {name}", file=sys.stderr)
        raise


class _Watch:
    def __init__(self, client: Client, operation: Operation[Any, Any], started: Started, wishes: Wishes) -> None:
        self._client, self._started, self._wishes = client, started, wishes
        self._operation = operation
        self._began = time.monotonic()
        self._told = ""
        self._log_at = 0
        self._on_line = False

    def until_end(self) -> dict[str, Any]:
        while True:
            job = self._client.call("job.show", {"job": self._started.job})
            self._tell(job)
            if job.ended is not None and job.status not in ("queued", "running"):
                self.end_line()
                return self._ended(job)
            self._check_time(job)
            time.sleep(EVERY_S)

    def end_line(self) -> None:
        """Leave the line that rewrites itself."""
        if self._on_line:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._on_line = False

    def _ended(self, job: Any) -> dict[str, Any]:
        if job.status == "done":
            return {"job": job.id, "name": job.name, "status": job.status, "run": job.run, "result": job.result or {}}
        if job.error:
            raise from_record(job.error)
        raise MlopsError(
            f"the job {job.name} is {job.status}", f"exit code {job.exit_code}", f"mlops job log {short(job.id)}"
        )

    def _check_time(self, job: Any) -> None:
        limit = self._wishes.timeout
        if limit is not None and time.monotonic() - self._began > limit:
            self.end_line()
            raise MlopsError(
                f"the job {job.name} did not end within {limit:g} s", "it goes on", f"mlops job show {short(job.id)}"
            )

    def _tell(self, job: Any) -> None:
        if self._wishes.quiet:
            return
        if self._operation.name in SHOWS_LOG:
            self._tell_log()
        progress = "" if job.progress is None else f" · {100 * job.progress:.0f} %"
        attempt = "" if job.attempt < 2 else f" · attempt {job.attempt}"
        words = clean(f"{job.kind} {job.name} · {job.status}{progress}{attempt}")
        if self._wishes.shows_progress:
            taken = duration((time.monotonic() - self._began) * 1e6)
            sys.stderr.write(f"\r\x1b[K{SYMBOLS[tone(job.status)]} {words} · {taken}")
            sys.stderr.flush()
            self._on_line = True
        elif (state := f"{job.kind} {job.name} · {job.status}{attempt}") != self._told:
            self._told = state
            print(clean(state), file=sys.stderr)

    def _tell_log(self) -> None:
        found = self._client.call("job.log", {"job": self._started.job, "lines": 1000, "after": self._log_at})
        if found.lines and found.last != self._log_at:
            self.end_line()
            print("\n".join(clean(line) for line in found.lines), file=sys.stderr)
        self._log_at = found.last or self._log_at
