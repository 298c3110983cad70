"""GPUs by NVML. No GPU is a state with a reason, not an error; what a driver does not give is said, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec

NO_DRIVER = "CPU only (NVML not found: no driver)"


class NotSupported(msgspec.Struct, frozen=True, tag="not_supported"):
    """This device or driver has no such figure."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The figure exists and could not be read."""

    why: str


Reading = float | NotSupported | Failed


class GpuFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a GPU is; memory in bytes, power in watts."""

    index: int
    name: str
    uuid: str
    mem_total: Reading
    power_limit_w: Reading


class GpuSample(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU now: load in per cent, memory in bytes, °C, watts."""

    index: int
    util: Reading
    mem_used: Reading
    mem_total: Reading
    temp_c: Reading
    power_w: Reading


class GpuProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process on a GPU and its memory there in bytes, where the driver tells it."""

    index: int
    pid: int
    mem_used: Reading


def value(reading: Reading) -> float | None:
    """Return a reading's number, or None when there is none."""
    return None if isinstance(reading, (NotSupported, Failed)) else reading


def note(reading: Reading) -> str:
    """Return why a reading has no number; empty when it has one."""
    if isinstance(reading, NotSupported):
        return "not supported"
    return reading.why if isinstance(reading, Failed) else ""


class Gpus:
    """The GPUs of this machine. Opens NVML once; :meth:`close` lets it go.

    Attributes:
        state: ``2 GPUs (driver 550.54)``, or why there is none: ``CPU only (NVML not found: no driver)``.
        count: how many there are.
    """

    def __init__(self) -> None:
        self._nvml: ModuleType | None = None
        self.count, self.state = 0, NO_DRIVER
        try:
            import pynvml
        except ImportError:
            self.state = "CPU only (nvidia-ml-py is not installed)"
            return
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            if not isinstance(error, pynvml.NVMLError_LibraryNotFound):
                self.state = f"CPU only (NVML: {_words(error)})"
            return
        self._nvml = pynvml
        found = self._try(pynvml.nvmlDeviceGetCount)
        self.count = found if isinstance(found, int) else 0
        driver = _string(self._try(pynvml.nvmlSystemGetDriverVersion)) or "unknown"
        if self.count:
            self.state = f"{self.count} GPU{'s' * (self.count > 1)} (driver {driver})"
        else:
            why = note(found) if isinstance(found, (NotSupported, Failed)) else f"driver {driver}, no GPU"
            self.state = f"CPU only (NVML: {why})"

    def facts(self) -> list[GpuFacts]:
        """Return what each GPU is."""
        return [self._facts(index) for index in range(self.count)]

    def samples(self) -> list[GpuSample]:
        """Return what each GPU does now."""
        return [self._sample(index) for index in range(self.count)]

    def processes(self) -> list[GpuProcess]:
        """Return the compute processes on every GPU; slow, for when somebody looks."""
        found = []
        for index in range(self.count):
            ask, nvml = self._asker(index)
            running = ask(nvml.nvmlDeviceGetComputeRunningProcesses)
            for one in running if isinstance(running, list) else ():
                used = NotSupported() if one.usedGpuMemory is None else float(one.usedGpuMemory)
                found.append(GpuProcess(index=index, pid=int(one.pid), mem_used=used))
        return found

    def close(self) -> None:
        """Let NVML go; nothing can be read afterwards."""
        if self._nvml is not None:
            self._nvml.nvmlShutdown()
            self._nvml, self.count = None, 0

    def _facts(self, index: int) -> GpuFacts:
        ask, nvml = self._asker(index)
        name, uuid = ask(nvml.nvmlDeviceGetName), ask(nvml.nvmlDeviceGetUUID)
        return GpuFacts(
            index=index,
            name=_string(name) or f"GPU {index}",
            uuid=_string(uuid),
            mem_total=_reading(ask(nvml.nvmlDeviceGetMemoryInfo), lambda info: info.total),
            power_limit_w=_reading(ask(nvml.nvmlDeviceGetEnforcedPowerLimit), lambda milliwatts: milliwatts / 1000),
        )

    def _sample(self, index: int) -> GpuSample:
        ask, nvml = self._asker(index)
        memory = ask(nvml.nvmlDeviceGetMemoryInfo)
        celsius = ask(lambda handle: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        return GpuSample(
            index=index,
            util=_reading(ask(nvml.nvmlDeviceGetUtilizationRates), lambda rates: rates.gpu),
            mem_used=_reading(memory, lambda info: info.used),
            mem_total=_reading(memory, lambda info: info.total),
            temp_c=_reading(celsius, float),
            power_w=_reading(ask(nvml.nvmlDeviceGetPowerUsage), lambda milliwatts: milliwatts / 1000),
        )

    def _asker(self, index: int) -> tuple[Callable[[Callable[[Any], Any]], Any], ModuleType]:
        """Return a function that asks NVML about one GPU, and NVML; a GPU that is lost fails every question."""
        assert self._nvml is not None
        nvml = self._nvml
        handle = self._try(lambda: nvml.nvmlDeviceGetHandleByIndex(index))
        if isinstance(handle, (NotSupported, Failed)):
            return lambda question: handle, nvml
        return lambda question: self._try(lambda: question(handle)), nvml

    def _try(self, call: Callable[[], Any]) -> Any:
        """Return what NVML says, or NotSupported, or Failed with NVML's words."""
        assert self._nvml is not None
        nvml = self._nvml
        try:
            return call()
        except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
            return NotSupported()
        except nvml.NVMLError as error:
            return Failed(_words(error))


def _reading(found: Any, pick: Callable[[Any], float]) -> Reading:
    return found if isinstance(found, (NotSupported, Failed)) else float(pick(found))


def _string(found: Any) -> str:
    """Return a text of the driver; empty when it gives none."""
    if isinstance(found, (NotSupported, Failed)):
        return ""
    return found.decode(errors="replace") if isinstance(found, bytes) else str(found)


def _words(error: Exception) -> str:
    """Return NVML's own words for an error, in lower case and without the full stop."""
    return str(error).strip().rstrip(".").lower() or type(error).__name__
