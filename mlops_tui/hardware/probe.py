"""What a machine is: the facts that are noted once for a host and with every run."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import msgspec

from mlops_tui.hardware.gpu import GpuFacts, Gpus
from mlops_tui.hardware.limits import read_limits
from mlops_tui.spool.process import boot_id


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """A mounted file system; bytes."""

    mount: str
    device: str
    kind: str
    total: int
    free: int


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A host.

    Attributes:
        id: 16 hex digits, the same as long as machine id and host name are.
        cpus: logical processors of the machine; ``cores`` physical ones, where known.
        cpus_allowed: processors that this process may run on (affinity).
        cpu_limit: processors' worth of time by cgroup quota, or None.
        memory: bytes of the machine; ``memory_limit`` by cgroup, or None; ``swap`` bytes.
        limits: the cgroup limits in words; empty without any.
        booted: µs since the epoch.
    """

    id: str
    host: str
    os: str
    kernel: str
    arch: str
    python: str
    boot: str
    booted: int
    cpu_model: str
    cpus: int
    cores: int | None
    cpus_allowed: int
    cpu_limit: float | None
    memory: int
    memory_limit: int | None
    swap: int
    limits: str
    disks: list[Disk]
    gpus: list[GpuFacts]
    gpu_state: str


def probe(folder: Path, gpus: Gpus | None = None, root: Path = Path("/")) -> Facts:
    """Return the facts of this machine.

    Args:
        folder: the disk that this lies on is listed first (the home of the installation).
        gpus: GPUs that are already open; default, opened and closed here.
        root: the folder that holds ``proc`` and ``etc``; another one only in tests.
    """
    import psutil

    limits, opened = read_limits(root), gpus or Gpus()
    host = platform.node()
    try:
        return Facts(
            id=_host_id(root, host),
            host=host,
            os=_os_name(),
            kernel=platform.release(),
            arch=platform.machine(),
            python=platform.python_version(),
            boot=boot_id(),
            booted=int(psutil.boot_time() * 1e6),
            cpu_model=cpu_model(root),
            cpus=os.cpu_count() or 1,
            cores=psutil.cpu_count(logical=False),
            cpus_allowed=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            cpu_limit=limits.cpus,
            memory=psutil.virtual_memory().total,
            memory_limit=limits.memory,
            swap=psutil.swap_memory().total,
            limits=limits.text,
            disks=_disks(folder),
            gpus=opened.facts(),
            gpu_state=opened.state,
        )
    finally:
        if gpus is None:
            opened.close()


def cpu_model(root: Path = Path("/")) -> str:
    """Return the processor's name as the system gives it; the architecture where it gives none."""
    try:
        for line in (root / "proc/cpuinfo").read_text(errors="replace").splitlines():
            key, _, text = line.partition(":")
            if key.strip() in ("model name", "Model", "cpu model") and text.strip():
                return " ".join(text.split())
    except OSError:
        pass
    if sys.platform == "darwin":
        ask = ["sysctl", "-n", "machdep.cpu.brand_string"]
        found = subprocess.run(ask, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
        return found or platform.machine()
    return platform.processor() or platform.machine()


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _host_id(root: Path, host: str) -> str:
    # machine-id(5) asks that the id itself is not shown to others; images of containers share it.
    try:
        machine = (root / "etc/machine-id").read_text().strip()
    except OSError:
        machine = ""
    return hashlib.sha256(f"mlops host|{machine}|{host}".encode()).hexdigest()[:16]


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return f"{platform.system()} {platform.release()}"


def _disks(folder: Path) -> list[Disk]:
    import psutil

    parts = {part.mountpoint: part for part in psutil.disk_partitions(all=False)}
    here = existing(folder)
    while not here.is_mount():
        here = here.parent
    found, seen = [], set()
    for mount in (str(here), *parts):
        try:
            device, space = os.stat(mount).st_dev, psutil.disk_usage(mount)
        except OSError:
            continue
        if device not in seen:
            seen.add(device)
            part = parts.get(mount)
            name, kind = (part.device, part.fstype) if part else ("", "")
            found.append(Disk(mount=mount, device=name, kind=kind, total=space.total, free=space.free))
    return found
