"""The GPUs that the processes of a run use, by the driver: load, the processes' own memory, power, temperature."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_MB = 1e6


class Devices:
    """The NVIDIA devices of this machine; none without a driver. Opened once, at the first sample."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: dict[int, Any] = {}
        with suppress(Exception):  # no driver, no module, a driver that is broken: there is no GPU to be told of
            import ctypes

            ctypes.CDLL("libnvidia-ml.so.1")  # fails at once without a driver, long before the module is imported
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            for index in range(pynvml.nvmlDeviceGetCount()):
                with suppress(pynvml.NVMLError):  # one that is lost hides no other
                    self._handles[index] = pynvml.nvmlDeviceGetHandleByIndex(index)

    def figures(self, pids: set[int]) -> dict[str, float]:
        """Return ``gpu0/util`` (%), ``gpu0/memory_mb``, ``gpu0/power_w`` and ``gpu0/temp_c`` of each device in use.

        A device is in use when one of the processes is on it, or when ``CUDA_VISIBLE_DEVICES`` names it: inside a
        container the driver knows the processes by other numbers.
        """
        found: dict[str, float] = {}
        for index, handle in self._handles.items():
            memory = self._memory(handle, pids)
            if memory is not None or self._visible(index, handle):
                found |= {f"gpu{index}/{name}": value for name, value in self._told(handle, memory).items()}
        return found

    def _told(self, handle: Any, memory: int | None) -> dict[str, float]:
        """Return the figures of a device; what it does not have is left out."""
        nvml = self._nvml
        asked: dict[str, Callable[[], Any]] = {
            "util": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "memory_mb": lambda: (memory or nvml.nvmlDeviceGetMemoryInfo(handle).used) / _MB,
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "temp_c": lambda: nvml.nvmlDeviceGetTemperature(handle, 0),
        }
        found = {}
        for name, ask in asked.items():
            with suppress(Exception):
                found[name] = float(ask())
        return found

    def _memory(self, handle: Any, pids: set[int]) -> int | None:
        """Return the bytes that the processes hold on a device; None when none of them is on it."""
        try:
            running = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except Exception:
            return None
        mine = [one.usedGpuMemory or 0 for one in running if one.pid in pids]
        return sum(mine) if mine else None

    def _visible(self, index: int, handle: Any) -> bool:
        named = [word.strip() for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
        if not named:
            return False
        uuid = self._nvml.nvmlDeviceGetUUID(handle)
        uuid = uuid.decode() if isinstance(uuid, bytes) else str(uuid)
        return any(word == str(index) or (word.startswith("GPU-") and uuid.startswith(word)) for word in named)
