"""Who a process is: (host, boot, pid, creation time), so that a recycled pid is never mistaken for it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypedDict

from mlops_tui.core.clock import now_us


class ProcessId(TypedDict):
    """The identity of a process. ``created`` is in microseconds; compare it only with ``created`` of this module."""

    host: str
    boot: str
    pid: int
    created: int


def this_process() -> ProcessId:
    """Return the identity of the calling process."""
    pid = os.getpid()
    return ProcessId(host=os.uname().nodename, boot=boot_id(), pid=pid, created=created_us(pid) or 0)


@cache
def boot_id() -> str:
    """Return a string that changes with every boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return str(int(psutil.boot_time()))


def created_us(pid: int) -> int | None:
    """Return when a process was created, in microseconds, or None when there is no such process.

    On Linux this counts from boot (field 22 of ``/proc/<pid>/stat``): unlike a wall clock time it stays
    the same when the clock is set. Elsewhere it counts from the epoch, as the kernel noted it.
    """
    try:
        # The second field is the command in brackets and may hold anything, brackets included.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19]) * 1_000_000 // os.sysconf("SC_CLK_TCK")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _created_by_psutil(pid)
    except (OSError, ValueError, IndexError):
        return None


def born_us(pid: int) -> int | None:
    """Return when a process was created, in microseconds since the epoch, to be compared with other times.

    It moves when the clock is set; an identity is made of :func:`created_us`.
    """
    created = created_us(pid)
    boot_clock = getattr(time, "CLOCK_BOOTTIME", None)  # Linux counts from boot, everybody else from the epoch
    if created is None or boot_clock is None:
        return created
    return now_us() - time.clock_gettime_ns(boot_clock) // 1000 + created


def holds(pid: int, path: Path) -> bool:
    """Tell whether a process has a file open; False where the system does not show it (only Linux does)."""
    try:
        wanted, opened = path.stat(), os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for number in opened:
        with suppress(OSError):  # closed meanwhile
            if os.path.samestat(os.stat(f"/proc/{pid}/fd/{number}"), wanted):
                return True
    return False


def _created_by_psutil(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 1_000_000)
    except psutil.Error:
        return None


def is_alive(process: ProcessId) -> bool | None:
    """Tell whether this very process still runs; None when it ran on another host and nothing can be said."""
    if process["host"] != os.uname().nodename:
        return None
    return process["boot"] == boot_id() and created_us(process["pid"]) == process["created"]
