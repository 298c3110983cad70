"""Accelerators: GPUs by NVML, and whatever the probes of plugins see besides."""

from __future__ import annotations

import logging
import time

import msgspec

from mlops_tui.contracts.agent import Device
from mlops_tui.hardware.gpu import GpuFacts, Gpus, GpuSample, note, value
from mlops_tui.plugins.hookspecs import DeviceProbe, hook
from mlops_tui.plugins.loader import brought

log = logging.getLogger(__name__)
NVML = "nvml"
LOOK_AGAIN_S = 30.0
"""Seconds between two looks for probes: finding plugins costs more than asking one."""
SLOW_S = 0.1


class NvmlProbe:
    """Sees the GPUs of NVIDIA. Samples read them themselves, as they keep the reason of every missing figure."""

    name = NVML

    def __init__(self) -> None:
        self._gpus: Gpus | None = None

    def devices(self) -> list[Device]:
        """Return the GPUs now; NVML is opened at the first call."""
        self._gpus = self._gpus or Gpus()
        facts = self._gpus.facts()
        return [device(one, now) for one, now in zip(facts, self._gpus.samples(), strict=True)]


_nvml = NvmlProbe()


@hook
def mlops_device_probes() -> list[DeviceProbe]:
    """Bring the built-in probe."""
    return [_nvml]


class Others:
    """The devices that plugins see. One that breaks, or is slow, is told once and stops no sample."""

    def __init__(self) -> None:
        self._probes: list[DeviceProbe] = []
        self._looked = -LOOK_AGAIN_S
        self._told: set[tuple[str, str]] = set()

    def devices(self, first: int) -> list[Device]:
        """Return them now, numbered from ``first`` on."""
        if time.monotonic() - self._looked >= LOOK_AGAIN_S:
            self._looked = time.monotonic()
            self._probes = [probe for name, probe in brought("device_probes").items() if name != NVML]
        found = [one for probe in self._probes for one in self._ask(probe)]
        return [msgspec.structs.replace(one, index=first + at) for at, one in enumerate(found)]

    def _ask(self, probe: DeviceProbe) -> list[Device]:
        begun = time.monotonic()
        try:
            found = [msgspec.convert(one, Device, from_attributes=True) for one in probe.devices()]
        except Exception as error:
            self._tell(probe.name, f"{type(error).__name__}: {error}")
            return []
        if time.monotonic() - begun > SLOW_S:
            self._tell(probe.name, f"it took longer than {SLOW_S * 1000:.0f} ms")
        return found

    def _tell(self, name: str, why: str) -> None:
        if (name, why) not in self._told:
            self._told.add((name, why))
            log.warning("the device probe %s: %s", name, why)


def device(facts: GpuFacts | None, now: GpuSample) -> Device:
    """Return a GPU, each figure as a number or None with the reason among the notes."""
    total, used = value(now.mem_total), value(now.mem_used)
    readings = {"load": now.util, "memory": now.mem_used, "temperature": now.temp_c, "power": now.power_w}
    return Device(
        index=now.index,
        name=facts.name if facts else f"GPU {now.index}",
        uuid=facts.uuid if facts else "",
        util=value(now.util),
        mem_used=None if used is None else int(used),
        mem_total=None if total is None else int(total),
        temp_c=value(now.temp_c),
        power_w=value(now.power_w),
        notes=[f"{name}: {note(reading)}" for name, reading in readings.items() if note(reading)],
    )
