"""A model in a process of its own, as a worker sees it: asked over a socket, and started again when it dies.

A crash costs the request that was under way. The process is started again after a while that doubles with every crash;
when it crashes again and again the circuit opens: nobody is sent there until it was left alone for a time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mlops_tui.core.errors import BadInput
from mlops_tui.serving.child import environment
from mlops_tui.serving.models.engine import wire
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.tensors import Array

CRASHES, WITHIN_S = 3, 60.0
"""So many crashes within so many seconds open the circuit."""
OPEN_S, OPEN_MOST_S = 15.0, 300.0
_BACK_OFF_S = 0.1
_QUEUE = 64
_MEMORY = Path("/dev/shm")
_log = logging.getLogger("mlops.serving")


class Wishes(NamedTuple):
    """How a model is to be run.

    Attributes:
        engine: ``torch`` or ``pyfunc``.
        packed: the file is a tar of a folder.
        signature: what it takes and gives, where its files do not say.
        python: the Python that runs it; empty: ours.
        threads: how many one request may use.
        memory: bytes that the process may have at most; 0: four fifths of the machine's.
        load_s: seconds until it must be loaded.
        timeout_s: seconds until a request must be answered.
        device: ``cpu`` or ``cuda``.
    """

    engine: str
    packed: bool = False
    signature: Any = None
    python: str = ""
    threads: int = 1
    memory: int = 0
    load_s: float = 120.0
    timeout_s: float = 30.0
    device: str = "cpu"


class _Process:
    """One life of the model's process."""

    def __init__(self, wishes: Wishes, fd: int) -> None:
        self.folder = _scratch(os.fstat(fd).st_size)
        ours, theirs = socket.socketpair()
        self.sock = ours
        try:
            # Its own name for the folder of the code: what it runs under need not know our package.
            (self.folder / "mlops_engine").symlink_to(Path(__file__).parent / "engine")
            said = {
                "engine": wishes.engine, "folder": str(self.folder), "model": fd, "packed": wishes.packed,
                "signature": wishes.signature, "socket": theirs.fileno(), "threads": wishes.threads,
                "memory": wishes.memory or _most_memory(), "device": wishes.device,
            }  # fmt: skip
            self.child = subprocess.Popen(
                [wishes.python or sys.executable, "-m", "mlops_engine"],
                stdin=subprocess.PIPE, pass_fds=[fd, theirs.fileno()], cwd=self.folder,
                env=_environment(self.folder, wishes.threads),
            )  # fmt: skip
            assert self.child.stdin is not None
            with contextlib.suppress(BrokenPipeError), self.child.stdin as pipe:
                pipe.write(json.dumps(said).encode())
        except OSError as error:
            ours.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise BadInput(f"cannot start {wishes.python or sys.executable}", str(error.strerror or error)) from error
        finally:
            theirs.close()

    def end(self) -> str:
        """Kill it if it lives, clear up behind it, and return how it ended."""
        self.sock.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(0.2)  # who hung up is about to end: its own words count
        self.child.kill()
        code = self.child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        return _ending(code)


class Remote:
    """A model's process, and the next one when it dies. Any thread may ask; they take turns.

    Args:
        name: what to call the model in the log.
        wishes: how it is to be run.
        fd: memory file of the model; stays open and the caller's.

    Attributes:
        about: what the model said of itself: ``inputs``, ``outputs``, ``provider``.
        restarts: how many times it was started again.

    Raises:
        BadInput: it cannot be loaded, or not in time.
    """

    def __init__(self, name: str, wishes: Wishes, fd: int) -> None:
        self._name, self._wishes, self._fd = name, wishes, os.dup(fd)
        self._turn = threading.Lock()
        self._waiting = 0
        self._process: _Process | None = None
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._open_s, self._opens, self._failures = OPEN_S, 0.0, 0
        self._closed = False
        self.restarts = 0
        self.about: dict[str, Any] = {}
        try:
            self._process = self._started()
        except BaseException:
            os.close(self._fd)
            raise

    @property
    def state(self) -> str:
        """``ready``, ``starting`` again after a crash, or ``open``: crashed too often, and left alone for a while."""
        if self._process is not None:
            return "ready"
        return "open" if self._opens > time.monotonic() else "starting"

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Return the model's outputs by name.

        Raises:
            Problem: 429 when too many wait, 503 when the process is gone or left alone, 504 when it took too long.
            RuntimeError: the model failed on these tensors.
        """
        if self._waiting >= _QUEUE:
            raise Problem(f"{self._waiting} requests wait for this model already", 429, ((b"retry-after", b"1"),))
        self._waiting += 1
        try:
            with self._turn:
                return self._ask(feed)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the process when whoever is being answered has the answer."""
        self._closed = True
        with self._turn:
            if self._process is not None:
                self._process.end()
                self._process = None
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _ask(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        process = self._process
        if process is None:
            raise self._absent()
        process.sock.settimeout(self._wishes.timeout_s)
        try:
            wire.send(process.sock, {"op": "run"}, feed)
            message, results = wire.receive(process.sock)
        except TimeoutError:
            self._crashed(process, "did not answer")
            raise Problem(f"the model did not answer within {self._wishes.timeout_s:g} s", 504) from None
        except (EOFError, OSError):
            how = self._crashed(process, "died")
            raise Problem(f"the process of the model died ({how}); it is started again", 503, _LATER) from None
        if message["op"] == "error":
            raise RuntimeError(message["why"])
        if self._failures:
            self._failures, self._open_s = 0, OPEN_S
        return results

    def _absent(self) -> Problem:
        left = self._opens - time.monotonic()
        if left > 0:
            later = str(int(left) + 1).encode()
            words = f"the model crashed {CRASHES} times within {WITHIN_S:g} s and is left alone for {left:.0f} s"
            return Problem(words, 503, ((b"retry-after", later),))
        return Problem("the model is being started again", 503, _LATER)

    def _crashed(self, process: _Process, what: str) -> str:
        """Clear up behind a process and have the next one started in time; returns how it ended."""
        self._process = None
        how, now = process.end(), time.monotonic()
        self._crashes.append(now)
        self._failures += 1
        delay = _BACK_OFF_S * 2.0 ** min(self._failures - 1, 6)
        if len(self._crashes) == CRASHES and now - self._crashes[0] < WITHIN_S:
            delay, self._open_s = self._open_s, min(self._open_s * 2, OPEN_MOST_S)
            self._opens = now + delay
            self._crashes.clear()
        _log.error("the process of model %s %s (%s); the next starts in %.1f s", self._name, what, how, delay)
        threading.Thread(target=self._again, args=(delay,), name="mlops-again", daemon=True).start()
        return how

    def _again(self, delay: float) -> None:
        """Start the next process, after a while; once more if it does not come up."""
        while True:
            time.sleep(delay)
            if self._closed:
                return
            try:
                process = self._started()
            except BadInput as error:
                _log.error("model %s does not come up again: %s", self._name, error)
                self._failures += 1
                delay = min(max(delay, 1.0) * 2, OPEN_MOST_S)
                continue
            self._take(process)
            return

    def _take(self, process: _Process) -> None:
        with self._turn:
            self.restarts += 1
            if self._closed:
                process.end()
            else:
                self._process = process

    def _started(self) -> _Process:
        """Start a process and wait until its model is loaded.

        Raises:
            BadInput: it is not, with the reason that it gave.
        """
        process = _Process(self._wishes, self._fd)
        process.sock.settimeout(self._wishes.load_s)
        try:
            message, _ = wire.receive(process.sock)
        except TimeoutError:
            process.end()
            raise BadInput(f"the model is not loaded after {self._wishes.load_s:g} s", "", "is it too large?") from None
        except (EOFError, OSError):
            raise BadInput("the process of the model died while it loaded", process.end()) from None
        if message["op"] != "ready":
            process.end()
            raise BadInput("the model cannot be loaded", message["why"])
        self.about = message
        return process


_LATER = ((b"retry-after", b"1"),)


def _environment(folder: Path, threads: int) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    return {**environment(threads), "PYTHONPATH": path, "TMPDIR": str(folder)}


def _scratch(size: int) -> Path:
    """Make a folder for the model's files: in memory where there is room, so that they are never plain on a disk."""
    base = None
    with contextlib.suppress(OSError):
        room = shutil.disk_usage(_MEMORY).free
        base = _MEMORY if os.access(_MEMORY, os.W_OK) and room > 4 * size else None
    return Path(tempfile.mkdtemp(prefix="mlops-model-", dir=base))


def _most_memory() -> int:
    """Return four fifths of the memory that this process may have, in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(limit).read_text()))
    return total * 4 // 5


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
