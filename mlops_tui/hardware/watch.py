"""This machine, watched: a sample every two seconds, every second while somebody looks, into the store."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import msgspec

from mlops_tui.core.clock import DAY, SECOND, now_us
from mlops_tui.door import House, every
from mlops_tui.hardware.devices import Others
from mlops_tui.hardware.gpu import Gpus, GpuSample, value
from mlops_tui.hardware.probe import Facts, probe
from mlops_tui.hardware.processes import ProcessLine, processes
from mlops_tui.hardware.samples import Sample, Sampler
from mlops_tui.store.session import Session

LOOKED_AT_S, ALONE_S = 1.0, 2.0
KEPT_US = 7 * DAY
SCOPE = "host"


class Watch:
    """The facts and the open sampler of this machine, for one home."""

    def __init__(self, folder: Path) -> None:
        gpus = Gpus()
        self.facts = probe(folder, gpus)
        self._sampler = Sampler(folder, gpus)
        self._others = Others()
        self._guard = threading.Lock()
        self.last = -ALONE_S
        self.noted = False

    def sample(self) -> Sample:
        """Take a sample now."""
        with self._guard:
            self.last = time.monotonic()
            sample = self._sampler.sample()
            others = self._others.devices(len(sample.gpus))
            return msgspec.structs.replace(sample, others=others) if others else sample

    def processes(self) -> list[ProcessLine]:
        """Return the busiest processes; takes 0.2 s and more."""
        with self._guard:
            return processes(self._sampler.gpus)


_watches: dict[Path, Watch] = {}
_opening = threading.Lock()


def watch_of(house: House) -> Watch:
    """Return the watch of a house, opening it at the first call."""
    with _opening:
        return _watches.get(house.home.data) or _watches.setdefault(house.home.data, Watch(house.home.data))


@every(LOOKED_AT_S, "hardware.sample")
def turn(house: House) -> None:
    """Take a sample into the store when it is time."""
    watch = watch_of(house)
    # A tenth less than the period: a tick that comes a moment early must not wait for the next.
    if house.feed.readers or time.monotonic() - watch.last > ALONE_S - 0.1:
        take(house, watch)


def take(house: House, watch: Watch) -> Sample:
    """Sample this machine into its row and its series, and tell who listens."""
    sample = watch.sample()
    house.store.write(lambda session: _keep(house, session, watch, sample))
    watch.noted = True
    house.touch("host", watch.facts.id)
    return sample


def _keep(house: House, session: Session, watch: Watch, sample: Sample) -> None:
    facts = watch.facts
    if not watch.noted:
        _note(session, facts)
    now = msgspec.json.encode(sample).decode()
    session.execute("UPDATE host SET sample = ?, seen = make_timestamp(?) WHERE id = ?", [now, sample.ts, facts.id])
    names, values = zip(*figures(sample), strict=True)
    # The step of a sample is its second, so that a curve in equal steps is one in equal times.
    step, count = sample.ts // SECOND, len(names)
    house.series.append(session, SCOPE, facts.id, list(names), [step] * count, [sample.ts] * count, list(values))


def _note(session: Session, facts: Facts) -> None:
    """Write what the machine is, once an agent's life: memory, disks and drivers change between two of them."""
    body = msgspec.json.encode(facts).decode()
    if session.value("SELECT count(*) FROM host WHERE id = ?", [facts.id]):
        session.execute("UPDATE host SET name = ?, facts = ? WHERE id = ?", [facts.host, body, facts.id])
    else:
        session.insert("host", id=facts.id, name=facts.host, facts=body, sample="{}", seen_us=now_us())


def figures(sample: Sample) -> list[tuple[str, float]]:
    """Return a sample as points: ``cpu``, ``mem``, ``disk`` in per cent, ``net_down`` and ``net_up`` in bytes a second.

    A GPU gives ``gpu0/util``, ``gpu0/mem`` in per cent, ``gpu0/temp`` in °C and ``gpu0/power`` in watts, as far as its
    driver knows them.
    """
    found = [
        ("cpu", sample.cpu),
        ("mem", _share(sample.mem_used, sample.mem_total)),
        ("disk", _share(sample.disk_used, sample.disk_total)),
        ("load", sample.load),
        ("net_down", sample.net_down),
        ("net_up", sample.net_up),
    ]
    for gpu in sample.gpus:
        found += [(f"gpu{gpu.index}/{name}", number) for name, number in _gpu(gpu) if number is not None]
    for one in sample.others:
        memory = None if one.mem_used is None or not one.mem_total else _share(one.mem_used, one.mem_total)
        told = {"util": one.util, "mem": memory, "temp": one.temp_c, "power": one.power_w}
        found += [(f"gpu{one.index}/{name}", number) for name, number in told.items() if number is not None]
    return found


def _gpu(gpu: GpuSample) -> list[tuple[str, float | None]]:
    used, total = value(gpu.mem_used), value(gpu.mem_total)
    memory = None if used is None or total is None else _share(used, total)
    return [("util", value(gpu.util)), ("mem", memory), ("temp", value(gpu.temp_c)), ("power", value(gpu.power_w))]


def _share(part: float, whole: float) -> float:
    return 100.0 * part / whole if whole else 0.0


@every(3600.0, "hardware.retain")
def retain(house: House) -> None:
    """Drop samples that are older than a week: an agent that stays for years must not fill its disk with them."""
    before = now_us() - KEPT_US
    old = "sid IN (SELECT sid FROM series WHERE scope = 'host') AND ts < make_timestamp(?)"
    if house.read(lambda session: session.value(f"SELECT count(*) FROM point WHERE {old}", [before])):
        house.store.write(lambda session: session.execute(f"DELETE FROM point WHERE {old}", [before]))


def this_host() -> str:
    """Return the name under which this machine stands in the store."""
    return os.uname().nodename
