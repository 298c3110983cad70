"""What the processes of a run use: processors, memory, disk, network, GPUs, power; as metrics named ``system/…``.

A sample is taken every few seconds on the keeper's thread, from ``/proc`` where there is one: 0.1 ms a process. Figures
are those of the run's own processes (the one that runs and its descendants); network and ``system/power_w`` are told by
the machine as a whole only. Rates are means since the sample before.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mlops_tui.core.clock import now_us
from mlops_tui.core.ids import born_ms
from mlops_tui.spool import keeper
from mlops_tui.spool.usage_gpu import Devices
from mlops_tui.spool.writer import Writer

PREFIX = "system/"
OFF = "MLOPS_SYSTEM_METRICS"
"""Variable that, set to 0, turns the samples off."""
SHORT_S = 1.0
"""A sample that covers less is left out: its rates would be noise."""
_MB = 1e6
_POWER = Path("/sys/class/powercap")


class Work(NamedTuple):
    """What a process has used so far: CPU seconds, bytes read and written; and holds now: bytes of memory."""

    cpu_s: float
    memory: int
    read: int
    written: int


class Usage:
    """Samples the processes below one into a run's spool file, as long as the writer is open.

    Args:
        writer: where the samples go.
        root: the process whose tree is measured.
    """

    def __init__(self, writer: Writer, root: int) -> None:
        self._writer, self._root = writer, root
        self._began_ms = born_ms(writer.owner) or now_us() // 1000
        self._at = time.monotonic()
        self._work, self._moved, self._joules = tree(root), network(), energy()
        self._devices: Devices | None = None
        keeper.look_after(self)

    def tick(self) -> None:
        """Write a sample of the time since the last one."""
        with suppress(Exception):  # a figure that cannot be had is not worth a training
            self._sample()

    def forked(self) -> None:
        """Leave it to the parent."""
        keeper.let_go(self)

    def close(self) -> None:
        """Write the last sample, and no more; the writer is somebody else's to close."""
        keeper.let_go(self)
        self.tick()

    def end(self) -> None:
        """Do the same and close the writer, which wrote nothing else."""
        self.close()
        self._writer.close()

    def _sample(self) -> None:
        now = time.monotonic()
        if (seconds := now - self._at) < SHORT_S:
            return
        work, moved, joules = tree(self._root), network(), energy()
        if not work:  # it has ended
            return
        figures = _figures(self._work, work, seconds)
        if moved and self._moved:
            down, up = (max(0, after - before) / seconds for after, before in zip(moved, self._moved, strict=True))
            figures |= {"net_down_mb_s": down / _MB, "net_up_mb_s": up / _MB}
        if joules is not None and self._joules is not None and joules >= self._joules:
            figures["power_w"] = (joules - self._joules) / seconds
        self._devices = self._devices or Devices()
        figures |= self._devices.figures(set(work))
        self._at, self._work, self._moved, self._joules = now, work, moved, joules
        step = max(0, now_us() // 1000 - self._began_ms) // 1000
        self._writer.machine({PREFIX + name: value for name, value in figures.items()}, step)


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether samples are wanted; they are unless ``MLOPS_SYSTEM_METRICS`` is 0."""
    return environment.get(OFF, "1").strip().lower() not in ("0", "false", "no", "off")


def tree(root: int) -> dict[int, Work]:
    """Return what a process and its descendants use, by pid; those that end meanwhile are left out."""
    return _tree_of_proc(root) if sys.platform == "linux" else _tree_of_psutil(root)


def network() -> tuple[int, int] | None:
    """Return the bytes that this machine has received and sent, loopback left out; None when nobody tells."""
    try:
        lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    except OSError:
        return None
    down = up = 0
    for line in lines:
        name, _, rest = line.partition(":")
        if name.strip() != "lo":
            fields = rest.split()
            down, up = down + int(fields[0]), up + int(fields[8])
    return down, up


def energy() -> float | None:
    """Return the joules that the processors have used (RAPL); None where they are not told, or not to us."""
    try:
        zones = [zone for zone in _POWER.glob("intel-rapl:*") if zone.name.count(":") == 1]
        return sum(int((zone / "energy_uj").read_text()) for zone in zones) / 1e6 if zones else None
    except (OSError, ValueError):
        return None


def _figures(before: dict[int, Work], after: dict[int, Work], seconds: float) -> dict[str, float]:
    """Return the figures of a tree; a process that ended between the samples takes its last share with it."""
    nothing = Work(0.0, 0, 0, 0)
    spent = [(one, before.get(pid, nothing)) for pid, one in after.items()]
    return {
        "cpu": 100.0 * sum(max(0.0, one.cpu_s - was.cpu_s) for one, was in spent) / seconds,
        "memory_mb": sum(one.memory for one in after.values()) / _MB,
        "processes": float(len(after)),
        "disk_read_mb_s": sum(max(0, one.read - was.read) for one, was in spent) / seconds / _MB,
        "disk_write_mb_s": sum(max(0, one.written - was.written) for one, was in spent) / seconds / _MB,
    }


def _tree_of_proc(root: int) -> dict[int, Work]:
    found: dict[int, Work] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        with suppress(OSError, ValueError, IndexError):
            found[pid] = _work(pid)
            for task in os.listdir(f"/proc/{pid}/task"):
                waiting += [int(child) for child in _read(f"/proc/{pid}/task/{task}/children").split()]
    return found


def _work(pid: int) -> Work:
    # After the command in brackets, which may hold anything: state is field 0, utime 11, stime 12, rss in pages 21.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    moved = {"read_bytes": 0, "write_bytes": 0}
    with suppress(OSError):  # of another user's process nobody tells
        for line in _read(f"/proc/{pid}/io").splitlines():
            name, _, number = line.partition(": ")
            if name in moved:
                moved[name] = int(number)
    cpu_s = (int(fields[11]) + int(fields[12])) / ticks
    return Work(cpu_s, int(fields[21]) * page, moved["read_bytes"], moved["write_bytes"])


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()


def _tree_of_psutil(root: int) -> dict[int, Work]:
    import psutil

    found = {}
    with suppress(psutil.Error):
        parent = psutil.Process(root)
        for one in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.Error):
                times = one.cpu_times()
                found[one.pid] = Work(times.user + times.system, one.memory_info().rss, 0, 0)
    return found
