"""What is left of a job's child: it runs without a supervisor, or it is gone and some of its processes are not.

Nobody hears them any more, so they are ended before anybody begins again. A child leads a process group of its own;
a group's number is not given away while a member of it lives, so only the leader has to be told from a stranger.
"""

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
LAST_S = 2.0
"""Seconds that the processes of a child that is gone have to end by themselves."""


def note(folder: Path, pid: int) -> None:
    """Write down which process a job's child is."""
    who = ProcessId(host=os.uname().nodename, boot=boot_id(), pid=pid, created=created_us(pid) or 0)
    scratch = folder / f"{_NOTE}.new"
    scratch.write_bytes(msgspec.json.encode(who))
    scratch.rename(folder / _NOTE)


def left(folder: Path) -> int | None:
    """Return the pid of the child that a job's folder names, if that very process still runs."""
    who = _noted(folder)
    return who["pid"] if who is not None and is_alive(who) else None


def end(folder: Path, grace_s: float) -> None:
    """Ask a leftover child to stop, and kill its whole group when it has not within the grace period."""
    who = _noted(folder)
    if who is None or not _may_be_left(who):
        return
    if is_alive(who):
        with contextlib.suppress(ProcessLookupError):
            os.kill(who["pid"], signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while is_alive(who) and time.monotonic() < deadline:
            time.sleep(0.05)
    end_group(who["pid"], 0.0 if is_alive(who) else min(LAST_S, grace_s))


def end_soon(folder: Path, grace_s: float) -> None:
    """Do the same without waiting for it."""
    who = _noted(folder)
    if who is not None and _may_be_left(who):
        threading.Thread(target=end, args=(folder, grace_s), name="leftover", daemon=True).start()


def end_group(group: int, grace_s: float) -> int:
    """End every process of a group; those that have not ended within the grace period are killed.

    Args:
        group: number of the group, the pid of the child that led it.
        grace_s: seconds between the request and the kill; 0 kills at once.

    Returns:
        How many processes there were.
    """
    if not _signal(group, 0) or not (found := _members(group)):
        return 0
    _signal(group, signal.SIGTERM if grace_s else signal.SIGKILL)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and _members(group):
        time.sleep(0.02)
    _signal(group, signal.SIGKILL)
    return len(found)


def _noted(folder: Path) -> ProcessId | None:
    try:
        return msgspec.json.decode((folder / _NOTE).read_bytes(), type=ProcessId)
    except (OSError, msgspec.MsgspecError):
        return None


def _may_be_left(who: ProcessId) -> bool:
    """Tell whether the child, or the group that it led, may still run here: its number belongs to no stranger."""
    if who["host"] != os.uname().nodename or who["boot"] != boot_id():
        return False
    return created_us(who["pid"]) in (who["created"], None) and _signal(who["pid"], 0)


def _signal(group: int, number: int) -> bool:
    """Send a signal to a group; return whether there is one."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _members(group: int) -> list[int]:
    """Return the processes of a group that still run; those that only wait to be reaped do not."""
    import psutil

    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == group and created_us(pid) is not None:
                found.append(pid)
    return found
