import collections
import os
import platform
import signal
import subprocess
import sys
import time

import msgspec
import psutil
import pytest

from mlops_tui.hardware.identity import Identity, alive, identity
from mlops_tui.hardware.limits import Limits
from mlops_tui.hardware.probe import Facts, cpu_model, existing, probe
from mlops_tui.hardware.processes import processes
from mlops_tui.hardware.samples import Sample, Sampler


def test_facts_are_those_of_this_machine_and_travel_as_json(tmp_path):
    facts = probe(tmp_path / "not" / "yet")
    assert (facts.host, facts.python, facts.cpus) == (platform.node(), platform.python_version(), os.cpu_count())
    assert facts.memory == psutil.virtual_memory().total
    assert abs(facts.booted / 1e6 - psutil.boot_time()) < 60
    assert 1 <= facts.cpus_allowed <= facts.cpus
    assert tmp_path.is_relative_to(facts.disks[0].mount), "the disk of the home comes first"
    assert facts.disks[0].total > facts.disks[0].free > 0
    assert len({disk.mount for disk in facts.disks}) == len(facts.disks)
    assert facts.gpu_state and (facts.gpus or facts.gpu_state.startswith("CPU only"))
    assert msgspec.json.decode(msgspec.json.encode(facts), type=Facts) == facts


def test_a_host_keeps_its_id_and_does_not_show_its_machine_id(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    first = probe(tmp_path, root=tmp_path).id
    assert first == probe(tmp_path, root=tmp_path).id and "0123456789abcdef" not in first
    (tmp_path / "etc/machine-id").write_text("f" * 32)
    assert probe(tmp_path, root=tmp_path).id != first


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("processor : 0\nmodel name\t: AMD  EPYC 7B13\nmodel name : second\n", "AMD EPYC 7B13"),
        ("processor : 0\nCPU part : 0xd0c\n\nModel : Raspberry Pi 5\n", "Raspberry Pi 5"),
    ],
)
def test_the_processor_is_named_on_x86_and_on_arm(tmp_path, text, want):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(text)
    assert cpu_model(tmp_path) == want


def test_without_a_name_the_architecture_stands_in(tmp_path):
    assert cpu_model(tmp_path)


def test_the_nearest_existing_folder(tmp_path):
    assert existing(tmp_path / "a" / "b") == tmp_path == existing(tmp_path)


Count = collections.namedtuple("Count", "bytes_sent bytes_recv")


def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_busy_processor_shows_in_the_sample(tmp_path):
    sampler = Sampler(tmp_path)
    burn(0.4)
    sample = sampler.sample(per_core=True)
    # One of the host's processors was busy all the time, whatever the others did.
    assert sample.cpu >= 60 / os.cpu_count()
    assert len(sample.cores) == psutil.cpu_count() and max(sample.cores) > 40
    assert all(0 <= share <= 100 for share in [sample.cpu, *sample.cores])
    assert sampler.sample().cpu == sample.cpu, "asked again at once, there is no new interval"
    assert sampler.sample().cores == []
    sampler.close()


def test_memory_disk_and_load_are_the_systems_own(tmp_path):
    sample = Sampler(tmp_path).sample()
    assert sample.mem_total == psutil.virtual_memory().total or sample.mem_total < psutil.virtual_memory().total
    assert 0 < sample.mem_used < sample.mem_total
    disk = os.statvfs(tmp_path)
    assert sample.disk_total == disk.f_blocks * disk.f_frsize
    assert abs(sample.ts / 1e6 - time.time()) < 5
    assert msgspec.json.decode(msgspec.json.encode(sample), type=Sample) == sample


def test_inside_a_cgroup_shares_are_of_the_limits(tmp_path):
    (tmp_path / "memory.current").write_text(str(200 << 20))
    usage = tmp_path / "cpu.stat"
    usage.write_text("usage_usec 1000000\n")
    sampler = Sampler(tmp_path, limits=Limits(2, 0.5, 512 << 20, usage, tmp_path))
    time.sleep(0.2)
    usage.write_text("usage_usec 1050000\n")
    sample = sampler.sample()
    assert (sample.mem_used, sample.mem_total) == (200 << 20, 512 << 20)
    # 50 ms of processor time in a little over 0.2 s at half a processor: about 50 %.
    assert 25 < sample.cpu <= 50


def test_waiting_for_the_disk_is_idle_and_a_guest_is_counted_once(tmp_path, monkeypatch):
    def times(user, idle, iowait, guest):
        none = dict.fromkeys(psutil.cpu_times()._fields, 0)
        return type(psutil.cpu_times())(**none | {"user": user, "idle": idle, "iowait": iowait, "guest": guest})

    if not hasattr(psutil.cpu_times(), "guest"):
        pytest.skip("Linux only")
    readings = iter([times(100, 1000, 50, 20), times(130, 1050, 70, 40)])
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "cpu_times", lambda percpu=False: [] if percpu else next(readings))
        sampler = Sampler(tmp_path, limits=Limits())
        time.sleep(0.03)
        assert sampler.sample().cpu == pytest.approx(30.0)


def test_network_rates_count_real_interfaces_only(tmp_path, monkeypatch):
    counters = iter([100, 1_000_100])

    def fake(pernic):
        got = next(counters)
        count = Count(7, got)
        return {"eth0": count, "lo": Count(got * 1000, got * 1000), "veth1": Count(got * 1000, got * 1000)}

    monkeypatch.setattr(psutil, "net_io_counters", fake)
    sampler = Sampler(tmp_path)
    time.sleep(0.1)
    sample = sampler.sample()
    assert 1e6 < sample.net_down <= 1e7 and sample.net_up == 0


def test_a_sample_is_cheap(tmp_path):
    sampler = Sampler(tmp_path)
    costs = []
    for _ in range(5):
        begun = time.process_time()
        for _ in range(20):
            sampler.sample()
        costs.append((time.process_time() - begun) / 20)
    assert min(costs) < 0.001, (
        f"{min(costs) * 1e6:.0f} µs (180 µs on a quiet two-core machine: 0.07 % of a core at 4 Hz)"
    )


def test_who_this_process_is():
    me = identity()
    assert me.pid == os.getpid() and me.host == os.uname().nodename and alive(me)
    assert msgspec.json.decode(msgspec.json.encode(me), type=Identity) == me


def test_dead_zombie_recycled_rebooted_and_foreign_processes():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    who = identity(child.pid)
    assert alive(who)
    assert alive(msgspec.structs.replace(who, created=who.created + 10_000)) is False
    assert alive(msgspec.structs.replace(who, boot="another-boot")) is False
    assert alive(msgspec.structs.replace(who, host="another-host")) is None
    child.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while alive(who) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert os.path.exists(f"/proc/{child.pid}") and alive(who) is False, "a zombie is not alive"
    child.wait()
    assert alive(who) is False and identity(child.pid) is None


def test_the_process_list_finds_the_busy_one_without_its_arguments():
    secret = "password=hunter2"
    child = subprocess.Popen([sys.executable, "-c", "while True: pass", secret])
    try:
        time.sleep(0.1)
        found = processes(limit=100_000, seconds=0.3)  # whatever else is busy here
    finally:
        child.kill()
        child.wait()
    line = next(line for line in found if line.pid == child.pid)
    assert line.cpu > 0 and line.mem > 0 and line.user and "python" in line.name
    assert [one.cpu for one in found] == sorted((one.cpu for one in found), reverse=True)
    assert secret not in str(found) and len(processes(limit=2, seconds=0)) == 2
