"""A worker's seat: its listening socket, which outlives it, and the process that sits there now."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import mlops_tui
from mlops_tui.core.errors import Conflict, MlopsError
from mlops_tui.serving.control import Channel
from mlops_tui.serving.deployment import Generation
from mlops_tui.spool.process import ProcessId, boot_id, created_us, is_alive

BACKLOG = 1024
_BACK_OFF_S, _BACK_OFF_MOST_S = 0.1, 5.0
_SETTLED_S = 10.0
_SECRETS = ("MLOPS_STORE_KEY", "CREDENTIALS_DIRECTORY")


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
        command = [sys.executable, "-P", "-m", "mlops_tui.serving.worker", "--dir", str(folder)]
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


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket that shares its port with the other seats'.

    Raises:
        Conflict: the port is another program's.
        MlopsError: the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        return sock
    except OSError as error:
        raise _told(host, port, error) from error


def accept_all(listener: socket.socket) -> list[socket.socket]:
    """Return every connection that waits in the queue of a listening socket."""
    waiting: list[socket.socket] = []
    listener.setblocking(False)
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return waiting
        sock.setblocking(False)
        waiting.append(sock)


def refuse_foreign(host: str, port: int) -> None:
    """Refuse a port on which somebody listens already; sharing would let two deployments take turns.

    Raises:
        Conflict: the port is in use.
        MlopsError: the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise _told(host, port, error) from error


def _told(host: str, port: int, error: OSError) -> MlopsError:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"port {port} on {host} is in use", "another program listens there", "choose another port, or 0"
        )
    return MlopsError(f"cannot listen on {host}:{port}", str(error.strerror or error), "choose another host or port")


def environment(threads: int = 1) -> dict[str, str]:
    """Return what a process of ours is started with: so many threads a library, no secrets, and this very package."""
    libraries = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    kept = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    root = str(Path(mlops_tui.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return {**kept, **libraries, "PYTHONPATH": path}
