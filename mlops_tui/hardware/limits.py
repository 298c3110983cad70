"""Limits that a container or a service puts on this process, read from cgroup v1 and v2 files.

The operating system's own figures, and so psutil's, are the host's: half a processor and 512 MiB look like 64
processors and 256 GB from inside.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# cgroup v1 writes "no limit" as the largest multiple of the page size below 2^63.
_UNLIMITED = 1 << 60
Groups = dict[str, str]
Mounts = dict[str, tuple[str, str]]
Folder = tuple[PurePosixPath, Path]


@dataclass(frozen=True)
class Limits:
    """The tightest limits above this process.

    Attributes:
        version: of the cgroup tree that holds them: 1, 2, or 0 where there is none.
        cpus: processors' worth of time, a quota; None without one.
        memory: bytes; None without a limit.
    """

    version: int = 0
    cpus: float | None = None
    memory: int | None = None
    _cpu_usage: Path | None = None
    _memory_group: Path | None = None

    @property
    def text(self) -> str:
        """The limits as people read them; empty without any."""
        parts = [f"{self.cpus:g} CPU"] if self.cpus is not None else []
        if self.memory is not None:
            parts.append(f"{self.memory / 2**30:.1f} GiB" if self.memory >= 2**30 else f"{self.memory / 2**20:.0f} MiB")
        return f"{' · '.join(parts)} (cgroup v{self.version})" if parts else ""

    def memory_used(self) -> int | None:
        """Return bytes in use under the memory limit, without file cache that can be dropped; None without a limit."""
        if self._memory_group is None:
            return None
        used = _number(self._memory_group, "memory.current", "memory.usage_in_bytes")
        if used is None:
            return None
        lines = [line.split() for line in _text(self._memory_group / "memory.stat").splitlines()]
        stat = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}
        return max(0, used - stat.get("total_inactive_file", stat.get("inactive_file", 0)))

    def cpu_used_us(self) -> int | None:
        """Return processor time used under the quota so far in microseconds; None without a quota."""
        if self._cpu_usage is None:
            return None
        if self._cpu_usage.name == "cpuacct.usage":
            nanos = _number(self._cpu_usage.parent, self._cpu_usage.name)
            return None if nanos is None else nanos // 1000
        for line in _text(self._cpu_usage).splitlines():
            if line.startswith("usage_usec "):
                return int(line.split()[1])
        return None


def read_limits(root: Path = Path("/")) -> Limits:
    """Return the limits of the calling process; none where there are no cgroups.

    Args:
        root: the folder that holds ``proc`` and the mounted cgroup trees; another one only in tests.
    """
    groups, mounts = _groups(root), _mounts(root)
    memory = _tightest(_memory_limit, _folders(root, groups, mounts, "memory"))
    cpu = _tightest(_cpu_limit, _folders(root, groups, mounts, "cpu"))
    return Limits(
        version=1 if "memory" in mounts or "cpu" in mounts else 2 if "" in mounts else 0,
        cpus=cpu[0] if cpu else None,
        memory=int(memory[0]) if memory else None,
        _cpu_usage=_cpu_usage(cpu[1], _folders(root, groups, mounts, "cpuacct")) if cpu else None,
        _memory_group=memory[1][1] if memory else None,
    )


def memory_total() -> int:
    """Return the bytes of memory that this process may use: the machine's, or its cgroup's if that is less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(machine, read_limits().memory or machine)


def _groups(root: Path) -> Groups:
    """Return this process's cgroup path by controller; the key of the v2 tree is empty."""
    found = {}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _mounts(root: Path) -> Mounts:
    """Return (group that is the mount's root, mount point) by controller; the key of the v2 tree is empty."""
    found = {}
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        top, point = before.split(" ")[3:5]
        if kind == "cgroup2":
            found[""] = (top, point)
        elif kind == "cgroup":
            found.update(dict.fromkeys(options.split(","), (top, point)))
    return found


def _folders(root: Path, groups: Groups, mounts: Mounts, controller: str) -> list[Folder]:
    """Return a controller's folders with their paths in the tree: this process's first, then up to the top in sight."""
    tree = controller if controller in mounts else ""
    if tree not in mounts or tree not in groups:
        return []
    top, point = mounts[tree]
    path = PurePosixPath(groups[tree])
    # Inside a container the mount may begin at the container's own group, or the path may lie outside what is mounted.
    inner = path.relative_to(top) if path.is_relative_to(top) else PurePosixPath()
    if ".." in inner.parts:
        inner = PurePosixPath()
    found = [(part, root / point.lstrip("/") / part) for part in (inner, *inner.parents)]
    return [(part, folder) for part, folder in found if folder.is_dir()]


def _cpu_limit(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(quota) and int(period) else None


def _memory_limit(folder: Path) -> int | None:
    found = _number(folder, "memory.max", "memory.limit_in_bytes")
    return found if found is not None and found < _UNLIMITED else None


def _cpu_usage(limited: Folder, accounts: list[Folder]) -> Path | None:
    """Return the file that counts processor time under a quota; cgroup v1 may keep it in another tree."""
    part, folder = limited
    if "usage_usec" in _text(folder / "cpu.stat"):
        return folder / "cpu.stat"
    return next((account / "cpuacct.usage" for at, account in accounts if at == part), None)


def _tightest(limit: Callable[[Path], float | None], folders: list[Folder]) -> tuple[float, Folder] | None:
    found = [(value, folder) for folder in folders if (value := limit(folder[1])) is not None]
    return min(found, key=lambda pair: pair[0], default=None)


def _number(folder: Path, *names: str) -> int | None:
    """Return the whole number in the first of these files that has one."""
    texts = (_text(folder / name).strip() for name in names)
    return next((int(text) for text in texts if text.isdigit()), None)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
