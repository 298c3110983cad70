"""A worker's seat: its listening socket, which outlives it, and the process that sits there now."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mlops_tui.serving.child import environment
from mlops_tui.serving.control import Channel
from mlops_tui.serving.deployment import Generation
from mlops_tui.spool.process import ProcessId, boot_id, created_us, is_alive

_BACK_OFF_S, _BACK_OFF_MOST_S = 0.1, 5.0
_SETTLED_S = 10.0


class Seat:
    """One of a deployment's workers.

    The supervisor holds the listening socket, so that connections wait in its queue while a worker is replaced. A
    worker is either a child or was adopted from a supervisor that died; both are known by their line.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.listener: socket.socket | None = None
        self.child: subprocess.Popen[bytes] | None = None
        self.process: ProcessId | None = None
        self.channel: Channel | None = None
        self.at: Generation | None = None
        self.loaded: Generation | None = None
        self.reverted = False
        self.conditions: dict[str, dict[str, Any]] = {}
        self.leaving = False
        self.starts = 0
        self.failures = 0
        self.started = 0.0
        self.start_at = 0.0

    @property
    def taken(self) -> bool:
        """Tell whether a process sits here, be it still starting."""
        return self.child is not None or self.channel is not None

    @property
    def serving(self) -> bool:
        """Tell whether its worker answers."""
        return self.channel is not None and self.at is not None and not self.leaving

    def start(self, folder: Path, spool_bytes: int) -> None:
        """Start a worker on the seat's socket.

        Raises:
            OSError: the system has no room for another process.
        """
        assert self.listener is not None
        fd = self.listener.fileno()
        command = [sys.executable, "-P", "-m", "mlops_tui.serving.process.worker", "--dir", str(folder)]
        command += ["--slot", str(self.number), "--listener", str(fd), "--spool-bytes", str(spool_bytes)]
        self.started = time.monotonic()
        self.starts += 1
        self.child = subprocess.Popen(
            command, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, pass_fds=[fd], close_fds=True
        )
        # Known before it says a word: a supervisor that comes next waits for it.
        pid = self.child.pid
        self.process = ProcessId(host=os.uname().nodename, boot=boot_id(), pid=pid, created=created_us(pid) or 0)

    def vacate(self, expected: bool) -> None:
        """Note that the worker is gone, and when the next may start.

        Args:
            expected: it was told to leave; its successor may start at once.
        """
        if self.channel is not None:
            self.channel.close()
        self.end()
        lived = time.monotonic() - self.started
        self.failures = 0 if expected or lived > _SETTLED_S else self.failures + 1
        delay = 0.0 if self.failures <= 1 else min(_BACK_OFF_S * 2.0 ** (self.failures - 1), _BACK_OFF_MOST_S)
        self.start_at = time.monotonic() + delay
        self.child, self.process, self.channel, self.at, self.loaded = None, None, None, None, None
        self.leaving = self.reverted = False
        self.conditions = {}

    def end(self) -> None:
        """Kill the process, if it lives, and collect it."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
        elif self.process is not None and is_alive(self.process):
            os.kill(self.process["pid"], signal.SIGKILL)
