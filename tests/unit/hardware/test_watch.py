"""This machine in the store: its row, its series, its list; sampled when it is time, forgotten after a week."""

from __future__ import annotations

import os
import platform

import msgspec
import pytest

from mlops_tui.contracts.operation import find
from mlops_tui.core.clock import DAY, SECOND, now_us
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.door import Caller
from mlops_tui.door.perform import perform
from mlops_tui.hardware import watch
from mlops_tui.hardware.devices import device
from mlops_tui.hardware.gpu import Failed, GpuFacts, GpuSample, NotSupported
from mlops_tui.hardware.samples import Sample
from mlops_tui.store.series import curve


@pytest.fixture
def machine(house, monkeypatch):
    monkeypatch.setattr(watch, "_watches", {})  # houses of tests share a folder
    return watch.watch_of(house)


def call(house, name, **request):
    operation = find(name)
    return perform(house, name, msgspec.convert(request, operation.request), Caller("amal", os.getuid()))


def test_before_the_first_sample_there_is_none(house):
    with pytest.raises(NotFound, match="there is no machine") as missing:
        call(house, "host.show")
    assert "first sample" in missing.value.why
    assert call(house, "host.list").rows == []


def test_a_sample_is_shown_listed_and_kept_as_series(house, machine):
    heard = []
    house.feed.listen(heard.append)
    first = watch.take(house, machine)
    second = watch.take(house, machine)
    shown = call(house, "host.show")
    assert (shown.name, shown.ts, shown.mem_total) == (platform.node(), second.ts, second.mem_total)
    assert (shown.cpus, shown.os, shown.gpu_state) == (os.cpu_count(), machine.facts.os, machine.facts.gpu_state)
    assert shown.processes == []
    for typed in (platform.node(), machine.facts.id, f"host:{machine.facts.id}"):
        assert call(house, "host.show", host=typed).id == machine.facts.id
    table = call(house, "host.list")
    row = dict(zip([column.name for column in table.columns], table.rows[0], strict=True))
    assert table.total == 1 and (row["id"], row["name"], row["seen"]) == (machine.facts.id, shown.name, second.ts)
    assert (row["mem_used"], row["cpus"]) == (second.mem_used, os.cpu_count())
    assert row["disk_free"] == second.disk_total - second.disk_used
    assert [(event.topic, event.object, event.seq) for event in heard] == [("host", machine.facts.id, 0)] * 2
    kept = house.read(lambda s: s.rows("SELECT key, n FROM series WHERE scope = 'host' ORDER BY key"))
    assert kept == [(key, 2) for key in ("cpu", "disk", "load", "mem", "net_down", "net_up")]
    memory = house.read(lambda s: curve(s, "host", machine.facts.id, "mem", 10))
    used = [100 * sample.mem_used / sample.mem_total for sample in (first, second)]
    assert memory["ts"][-1] == second.ts and max(memory["max"]) == pytest.approx(max(used))
    assert min(memory["min"]) == pytest.approx(min(used)) and first.ts < second.ts


def test_the_facts_are_written_anew_by_the_next_agent(house, machine):
    watch.take(house, machine)
    house.store.write(lambda s: s.execute("UPDATE host SET facts = '{}', name = 'old'"))
    watch._watches.clear()
    again = watch.watch_of(house)
    assert again is not machine
    watch.take(house, again)
    assert call(house, "host.show").cpu_model == again.facts.cpu_model
    assert house.read(lambda s: s.column("SELECT name FROM host")) == [platform.node()]


def test_every_second_while_somebody_looks_and_every_other_when_nobody_does(house, machine, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: clock[0])
    machine.last = clock[0] - 10
    samples = []
    monkeypatch.setattr(
        watch, "take", lambda house, machine: samples.append(clock[0]) or setattr(machine, "last", clock[0])
    )
    for _ in range(6):
        watch.turn(house)
        clock[0] += 1.0
    assert samples == [1000.0, 1002.0, 1004.0]
    leave = house.feed.listen(lambda event: None)
    for _ in range(3):
        watch.turn(house)
        clock[0] += 1.0
    assert samples[3:] == [1006.0, 1007.0, 1008.0]
    leave()


def test_processes_are_looked_at_only_when_they_are_asked_for(house, machine):
    watch.take(house, machine)
    shown = call(house, "host.show", processes=True)
    assert shown.processes and all(one.pid > 0 and one.name for one in shown.processes)
    row = house.read(lambda s: s.dict("SELECT * FROM host"))
    facts = msgspec.json.decode(row["facts"])
    elsewhere = {**facts, "id": "f" * 16, "host": "edge-03"}
    body = msgspec.json.encode(elsewhere).decode()
    house.store.write(
        lambda s: s.insert("host", id="f" * 16, name="edge-03", facts=body, sample=row["sample"], seen_us=now_us())
    )
    assert call(house, "host.show", host="edge-03").name == "edge-03"
    with pytest.raises(BadInput, match="cannot be seen from here"):
        call(house, "host.show", host="edge-03", processes=True)


def test_a_gpu_gives_what_its_driver_knows_and_says_what_it_does_not():
    facts = GpuFacts(index=0, name="H100", uuid="GPU-1", mem_total=80e9, power_limit_w=700.0)
    known = GpuSample(index=0, util=93.0, mem_used=61e9, mem_total=80e9, temp_c=71.0, power_w=612.0)
    shown = device(facts, known)
    assert (shown.name, shown.util, shown.mem_used, shown.temp_c, shown.notes) == (
        "H100",
        93.0,
        61_000_000_000,
        71.0,
        [],
    )
    half = GpuSample(
        index=1, util=NotSupported(), mem_used=1.0, mem_total=Failed("gpu is lost"), temp_c=NotSupported(), power_w=9.0
    )
    shown = device(None, half)
    assert (shown.name, shown.uuid, shown.util, shown.mem_total, shown.power_w) == ("GPU 1", "", None, None, 9.0)
    assert shown.notes == ["load: not supported", "temperature: not supported"]
    sample = Sample(
        ts=5 * SECOND, cpu=1.0, cores=[], load=0.5, mem_used=1, mem_total=4, swap_used=0, swap_total=0, disk_used=1,
        disk_total=0, net_down=2.0, net_up=3.0, gpus=[known, half], gpu_state="2 GPUs",
    )  # fmt: skip
    assert dict(watch.figures(sample)) == {
        "cpu": 1.0, "mem": 25.0, "disk": 0.0, "load": 0.5, "net_down": 2.0, "net_up": 3.0,
        "gpu0/util": 93.0, "gpu0/mem": 76.25, "gpu0/temp": 71.0, "gpu0/power": 612.0, "gpu1/power": 9.0,
    }  # fmt: skip


def test_samples_of_last_week_go_and_what_a_run_logged_stays(house):
    def fill(session):
        for scope, owner in (("host", "h"), ("run", "r")):
            for age in (8 * DAY, 6 * DAY):
                house.series.append(session, scope, owner, ["cpu"], [1], [now_us() - age], [0.5])

    house.store.write(fill)
    watch.retain(house)
    left = house.read(
        lambda s: s.rows("SELECT scope, count(*) FROM point JOIN series USING (sid) GROUP BY 1 ORDER BY 1")
    )
    assert left == [("host", 1), ("run", 2)]
