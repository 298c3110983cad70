"""The processes of a machine, for when somebody looks: far too dear to sample (10–100 ms)."""

from __future__ import annotations

import time

import msgspec

from mlops_tui.hardware.gpu import GpuProcess, Gpus, value


class ProcessLine(msgspec.Struct, frozen=True, kw_only=True):
    """One process: ``cpu`` in per cent of one processor, memory in bytes. No arguments: they may hold secrets."""

    pid: int
    user: str
    name: str
    cpu: float
    mem: int
    gpus: list[int]
    gpu_mem: float


def processes(gpus: Gpus | None = None, limit: int = 20, seconds: float = 0.2) -> list[ProcessLine]:
    """Return the busiest processes: those on a GPU first, then by processor time over ``seconds``, then by memory.

    Args:
        gpus: open GPUs; None leaves their processes out.
        limit: how many to return.
        seconds: how long to watch.
    """
    import psutil

    on_gpu: dict[int, list[GpuProcess]] = {}
    for one in gpus.processes() if gpus else ():
        on_gpu.setdefault(one.pid, []).append(one)
    watched = list(psutil.process_iter())
    begun, before = time.monotonic(), {p.pid: _seconds(p) for p in watched}
    time.sleep(seconds)
    passed = time.monotonic() - begun
    lines = [_line(p, (_seconds(p) - before[p.pid]) / passed * 100, on_gpu.get(p.pid, [])) for p in watched]
    found = [line for line in lines if line is not None]
    return sorted(found, key=lambda line: (bool(line.gpus), line.cpu, line.mem), reverse=True)[:limit]


def _seconds(process: object) -> float:
    import psutil

    assert isinstance(process, psutil.Process)
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def _line(process: object, cpu: float, on_gpu: list[GpuProcess]) -> ProcessLine | None:
    import psutil

    assert isinstance(process, psutil.Process)
    try:
        with process.oneshot():
            user, name, mem = process.username(), process.name(), process.memory_info().rss
    except psutil.Error:
        return None
    return ProcessLine(
        pid=process.pid,
        user=user,
        name=name,
        cpu=max(0.0, cpu),
        mem=mem,
        gpus=[one.index for one in on_gpu],
        gpu_mem=sum(value(one.mem_used) or 0 for one in on_gpu),
    )
