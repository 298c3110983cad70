"""A deployment's server processes as the agent sees them: started, asked to drain, found alive, quoted."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from mlops_tui.core.launch import launch
from mlops_tui.serving.deployment import DEPLOYMENT, LOCK, read_state
from mlops_tui.spool.process import is_alive

LOG = "server.log"
AGAIN_S = 3.0
TAIL_BYTES = 1 << 16
_WELL = (" INFO ", " WARNING ")
_MARK = " ERROR "

_children: dict[str, subprocess.Popen[bytes]] = {}
_started: dict[str, float] = {}


class Servers:
    """The servers of one deployment, read from its folder at this moment.

    Args:
        folder: the deployment's; its name is the deployment's id.

    Attributes:
        state: what the supervisor last said of itself; empty when it said nothing yet.
        alive: whether that supervisor still runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = read_state(folder)
        self.alive = bool(self.state) and is_alive(self.state["process"]) is True

    @property
    def at(self) -> tuple[int, int]:
        """Epoch and generation of the routes that every serving worker shows; -1 before the first."""
        return int(self.state.get("epoch", -1)), int(self.state.get("generation", -1))

    @property
    def answers(self) -> bool:
        """Tell whether requests are answered, by workers that outlived their supervisor if need be."""
        return bool(self.state.get("ready")) and (self.alive or self._orphans)

    @property
    def _orphans(self) -> bool:
        workers = self.state.get("workers", [])
        return any(one["ready"] and one["process"] and is_alive(one["process"]) for one in workers)

    @property
    def reverted(self) -> bool:
        """Tell whether a lease ran out and the stable revision took all traffic."""
        return bool(self.state.get("reverted"))

    @property
    def coming(self) -> bool:
        """Tell whether a supervisor that we started has not said anything yet."""
        child = _children.get(self.folder.name)
        return child is not None and child.poll() is None

    def refusal(self, at: tuple[int, int]) -> str:
        """Return why the servers do not take the routes of that epoch and generation; empty when they do, or may."""
        refused = self.state.get("refused") or {}
        said = (refused.get("epoch"), refused.get("generation"))
        if not self.alive or self.reverted or at[0] < 0 or said != at:
            return ""
        return str(refused["why"])

    def start(self) -> None:
        """Start a supervisor in a session of its own, unless one is coming or died a moment ago."""
        deployment = self.folder.name
        if self.coming or time.monotonic() - _started.get(deployment, -AGAIN_S) < AGAIN_S:
            return
        _started[deployment] = time.monotonic()
        sink = os.open(self.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _children[deployment] = launch(
                [sys.executable, "-P", "-m", "mlops_tui.serving.process.supervisor", "--dir", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(sink)

    def end(self) -> bool:
        """Ask the servers to drain, and clear up behind them; tell whether they are gone."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.state["pid"], signal.SIGTERM)
        if self.coming:
            _children[self.folder.name].terminate()
        if self.alive or self.coming or _held(self.folder / LOCK):
            return False
        # Workers that outlived their supervisor drain when they find no deployment any more.
        (self.folder / DEPLOYMENT).unlink(missing_ok=True)
        if any(one["process"] and is_alive(one["process"]) for one in self.state.get("workers", [])):
            return False
        shutil.rmtree(self.folder, ignore_errors=True)
        _children.pop(self.folder.name, None)
        return True

    def last_words(self) -> str:
        """Return the error that a supervisor wrote down when it ended; empty when it ended without one."""
        last = next((line for line in reversed(self.log(TAIL_BYTES)) if line.strip()), "")
        return "" if any(mark in last for mark in _WELL) else last.partition(_MARK)[2] or last

    def log(self, tail: int) -> list[str]:
        """Return the lines in the last ``tail`` bytes of the log."""
        try:
            with open(self.folder / LOG, "rb") as file:
                start = max(0, file.seek(0, os.SEEK_END) - tail)
                file.seek(start)
                lines = file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return lines[1:] if start else lines


def _held(lock: Path) -> bool:
    """Tell whether a supervisor holds its lock: one that an earlier agent started may not have said anything yet."""
    import fcntl

    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
