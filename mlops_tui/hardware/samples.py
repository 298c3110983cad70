"""How busy a machine is: one cheap look at processors, memory, disk, network and GPUs (≤ 0.13 % of a core at 4 Hz)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from mlops_tui.contracts.agent import Device
from mlops_tui.core.clock import now_us
from mlops_tui.hardware.gpu import Gpus, GpuSample
from mlops_tui.hardware.limits import Limits, read_limits
from mlops_tui.hardware.probe import existing

# Bridges and container ends carry again what a real interface already counted.
_VIRTUAL = ("lo", "veth", "docker", "br-", "virbr", "cni", "flannel", "cali")
_LEAST_SECONDS = 0.02


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A machine at ``ts`` (µs), since the sample before.

    Attributes:
        cpu: per cent of the processors' time that may be used: of the quota where a cgroup sets one, else of the host.
        cores: per cent of each processor of the host; empty unless asked for.
        load: runnable processes, mean of the last minute.
        mem_used: bytes; against the cgroup's limit where there is one, else the host's.
        net_down: bytes a second, and ``net_up``; without loopback and virtual interfaces.
        gpu_state: how many GPUs, or why there is none.
        others: what the probes of plugins see, numbered after the GPUs.
    """

    ts: int
    cpu: float
    cores: list[float]
    load: float
    mem_used: int
    mem_total: int
    swap_used: int
    swap_total: int
    disk_used: int
    disk_total: int
    net_down: float
    net_up: float
    gpus: list[GpuSample]
    gpu_state: str
    others: list[Device] = []


class Sampler:
    """Takes samples of this machine; rates are between one call and the next. Not for several threads at once."""

    def __init__(self, folder: Path, gpus: Gpus | None = None, limits: Limits | None = None) -> None:
        """Take the folder whose disk is watched, and the open GPUs and limits if they are already known."""
        self._folder, self.gpus = folder, gpus or Gpus()
        self.limits = read_limits() if limits is None else limits
        self._at, self._used = time.monotonic(), self.limits.cpu_used_us()
        self._busy, self._cores, self._net = _busy(), _busy_cores(), _net()
        self._cpu, self._rates = 0.0, (0.0, 0.0)

    def sample(self, per_core: bool = False) -> Sample:
        """Return the machine now; within 20 ms of the last call, rates are the last ones again."""
        import psutil

        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        used, total = self._memory(memory.total - memory.available, memory.total)
        disk = psutil.disk_usage(str(existing(self._folder)))
        self._advance()
        return Sample(
            ts=now_us(),
            cpu=self._cpu,
            cores=self._per_core() if per_core else [],
            load=os.getloadavg()[0],
            mem_used=used,
            mem_total=total,
            swap_used=swap.used,
            swap_total=swap.total,
            disk_used=disk.used,
            disk_total=disk.total,
            net_down=self._rates[0],
            net_up=self._rates[1],
            gpus=self.gpus.samples(),
            gpu_state=self.gpus.state,
        )

    def close(self) -> None:
        """Let the GPUs go."""
        self.gpus.close()

    def _memory(self, used: int, total: int) -> tuple[int, int]:
        limit, inside = self.limits.memory, self.limits.memory_used()
        return (used, total) if limit is None or limit >= total or inside is None else (inside, limit)

    def _advance(self) -> None:
        now = time.monotonic()
        if (seconds := now - self._at) < _LEAST_SECONDS:
            return
        self._at, busy, net, used = now, _busy(), _net(), self.limits.cpu_used_us()
        if self.limits.cpus and used is not None and self._used is not None:
            self._cpu = _percent(used - self._used, seconds * 1e6 * self.limits.cpus)
        else:
            self._cpu = _percent(busy[0] - self._busy[0], busy[1] - self._busy[1])
        self._rates = (max(0, net[0] - self._net[0]) / seconds, max(0, net[1] - self._net[1]) / seconds)
        self._busy, self._net, self._used = busy, net, used

    def _per_core(self) -> list[float]:
        before, self._cores = self._cores, _busy_cores()
        return [_percent(b - a, d - c) for (a, c), (b, d) in zip(before, self._cores, strict=False)]


def _percent(part: float, whole: float) -> float:
    return min(100.0, max(0.0, 100.0 * part / whole)) if whole > 0 else 0.0


def _busy() -> tuple[float, float]:
    """Return (busy, all) processor seconds of the host since boot."""
    import psutil

    return _split(psutil.cpu_times())


def _busy_cores() -> list[tuple[float, float]]:
    import psutil

    return [_split(times) for times in psutil.cpu_times(percpu=True)]


def _split(times: tuple[float, ...]) -> tuple[float, float]:
    fields = times._asdict()  # type: ignore[attr-defined]
    # Linux counts a guest's time in user and nice already.
    whole = sum(fields.values()) - fields.get("guest", 0.0) - fields.get("guest_nice", 0.0)
    return whole - fields["idle"] - fields.get("iowait", 0.0), whole


def _net() -> tuple[int, int]:
    """Return (received, sent) bytes of the real interfaces since boot."""
    import psutil

    real = [count for name, count in psutil.net_io_counters(pernic=True).items() if not name.startswith(_VIRTUAL)]
    return sum(count.bytes_recv for count in real), sum(count.bytes_sent for count in real)
