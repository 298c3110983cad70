"""A child whose supervisor was killed. Nobody hears it any more, so it is ended before anybody begins again."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import msgspec

from mlops_tui.spool.process import ProcessId, boot_id, created_us, is_alive

_NOTE = "child.json"


def note(folder: Path, pid: int) -> None:
    """Write down which process a job's child is."""
    who = ProcessId(host=os.uname().nodename, boot=boot_id(), pid=pid, created=created_us(pid) or 0)
    scratch = folder / f"{_NOTE}.new"
    scratch.write_bytes(msgspec.json.encode(who))
    scratch.rename(folder / _NOTE)


def left(folder: Path) -> int | None:
    """Return the pid of the child that a job's folder names, if that very process still runs."""
    try:
        who = msgspec.json.decode((folder / _NOTE).read_bytes(), type=ProcessId)
    except (OSError, msgspec.MsgspecError):
        return None
    return who["pid"] if is_alive(who) else None


def end(folder: Path, grace_s: float) -> None:
    """Ask a leftover child to stop, and kill its whole group when it has not within the grace period."""
    if (pid := left(folder)) is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while left(folder) == pid and time.monotonic() < deadline:
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def end_soon(folder: Path, grace_s: float) -> None:
    """Do the same without waiting for it."""
    if left(folder) is not None:
        threading.Thread(target=end, args=(folder, grace_s), name="leftover", daemon=True).start()
