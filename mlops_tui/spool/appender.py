"""One file of one process that only grows: a line, a write. What cannot be written is counted, never raised."""

from __future__ import annotations

import errno
import math
import os
import re
import threading
import time
from pathlib import Path

from mlops_tui.core.clock import now_us
from mlops_tui.core.errors import MlopsError
from mlops_tui.core.paths import private_dir
from mlops_tui.spool import keeper
from mlops_tui.spool.notice import Notices
from mlops_tui.spool.text import MAX_LINE

RETRY_S = 5.0
"""Seconds between two attempts to open a file that could not be opened."""

_write = os.write
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only fsync


class Appender:
    """Appends lines to ``<folder>/<host>-<pid>-<start µs>.jsonl``, which it creates when it can.

    Args:
        folder: the owner's folder, in the spool folder; both are made, for their owner alone.
        first: a line that the file must begin with; may be empty.
        notices: where trouble is said.

    Attributes:
        dropped: lines that are not in the file whole.
        dirty: whether something may not be on disk yet.
        path: the file, None while there is none.
    """

    def __init__(self, folder: Path, first: bytes, notices: Notices) -> None:
        self.dropped, self.dirty = 0, False
        self.path: Path | None = None
        self._folder, self._first, self._notices = folder, first, notices
        self._lock = threading.RLock()  # re-entrant: a signal handler may end a run in the middle of a write
        self._fd, self._torn, self._closed = -1, False, False
        self._ready = False  # open, begun, and the last line ended: append may just write
        self._retry_at = -math.inf
        with self._lock:
            self._begin()

    def append(self, line: bytes) -> bool:
        """Write one line, which ends with its only newline. Returns whether all of it is in the file."""
        size = len(line)
        with self._lock:
            if self._ready and size <= MAX_LINE:
                try:
                    written = _write(self._fd, line)
                except OSError as error:
                    return self._elsewhere(line) if error.errno == errno.EBADF else self._failed(error)
                if written == size:
                    self.dirty = True
                    return True
                return self._complete(line, written)
            return self._append_slowly(line)

    def sync(self) -> None:
        """Bring the file to disk. Works on a descriptor of its own, so that no writer waits for it."""
        fd = -1
        try:
            with self._lock:
                if self._fd < 0:
                    return
                fd, self.dirty = os.dup(self._fd), False
            _sync(fd)
        except OSError as error:
            self._say(error)
        finally:
            if fd >= 0:
                os.close(fd)

    def close(self) -> None:
        """Close the file; what comes later is dropped. May be called again."""
        with self._lock:
            fd, self._fd, self._ready, self._closed = self._fd, -1, False, True
        if fd >= 0:
            os.close(fd)

    def forked(self) -> None:
        """In a forked child: leave the file to the parent, begin one of the child's own at its first line."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self._lock = threading.RLock()
        self._notices.forked()
        self._ready = self._torn = self.dirty = False
        self._first, self._retry_at, self.path, self.dropped = b"", -math.inf, None, 0

    def drop(self, kind: str, text: str) -> bool:
        """Count a line that will not be written, and say why once. Returns False."""
        self.dropped += 1
        self._notices.once(kind, text)
        return False

    def _append_slowly(self, line: bytes) -> bool:
        if self._closed:
            return self.drop("closed", "something was logged after the run had ended; dropped")
        if len(line) > MAX_LINE:
            return self.drop("long", f"a record of {len(line):,} bytes is longer than {MAX_LINE:,}; dropped")
        if not self._begin():
            self.dropped += 1
            return False
        return self._complete(line, 0)

    def _begin(self) -> bool:
        """Open the file and write its first line, whichever is not done yet."""
        if self._fd < 0 and not self._open():
            return False
        if self._first and not self._complete(self._first, 0):
            return False
        self._first, self._ready = b"", not self._torn
        return True

    def _complete(self, line: bytes, written: int) -> bool:
        """Write what is left of a line. When that fails, the next one begins with a newline."""
        rest = line[written:] if written or not self._torn else b"\n" + line
        self._torn = self._torn or written > 0
        while rest:
            try:
                count = _write(self._fd, rest)
            except OSError as error:
                self._ready = not (self._torn or self._first)
                return self._failed(error)
            if count:
                self._torn = not rest[:count].endswith(b"\n")
            rest = rest[count:]
        self._ready, self.dirty = True, True
        return True

    def _open(self) -> bool:
        now = time.monotonic()
        if self._closed or now < self._retry_at:
            return False
        self._retry_at = now + RETRY_S
        try:
            private_dir(self._folder.parent)
            path = private_dir(self._folder) / _file_name()
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except (OSError, MlopsError) as error:
            self._say(error)
            return False
        self.path, self._torn = path, False
        keeper.wake()
        return True

    def _elsewhere(self, line: bytes) -> bool:
        """Go on in another file: somebody closed every descriptor, as daemons do."""
        self._fd, self._ready, self._retry_at = -1, False, -math.inf
        return self._append_slowly(line)

    def _failed(self, error: OSError) -> bool:
        if error.errno == errno.EBADF:
            self._fd, self._ready = -1, False
        self.dropped += 1
        self._say(error)
        return False

    def _say(self, error: OSError | MlopsError) -> None:
        why = error.strerror if isinstance(error, OSError) else error
        self._notices.once(
            "disk", f"cannot write below {self._folder} ({why}); work goes on, what is logged meanwhile is lost"
        )


def _file_name() -> str:
    host = re.sub(r"[^A-Za-z0-9_.]", "_", os.uname().nodename)[:64] or "host"
    return f"{host}-{os.getpid()}-{now_us()}.jsonl"
