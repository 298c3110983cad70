"""Limits from cgroup files as real systems lay them out, under another root."""

import os
from pathlib import Path

import pytest

from mlops_tui.hardware.limits import memory_total, read_limits

MIB = 2**20
UNLIMITED_V1 = "9223372036854771712"


@pytest.fixture
def system(tmp_path):
    """Return a function that writes files below a fake root: ``{path: content}``."""

    def write(cgroup, mountinfo, **files):
        contents = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo}
        contents |= {f"sys/fs/cgroup/{path}": text for path, text in files.items()}
        for path, text in contents.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return tmp_path

    return write


V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def v1(top="/"):
    return "".join(
        f"32 31 0:29 {top} /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n" for name in ("cpu,cpuacct", "memory")
    )


def test_a_container_of_cgroup_v2(system):
    root = system(
        "0::/\n",
        V2,
        **{
            "cpu.max": "50000 100000\n",
            "memory.max": f"{512 * MIB}\n",
            "memory.current": f"{300 * MIB}\n",
            "memory.stat": f"anon 1\ninactive_file {100 * MIB}\n",
            "cpu.stat": "usage_usec 1234567\nuser_usec 1\n",
        },
    )
    limits = read_limits(root)
    assert (limits.version, limits.cpus, limits.memory) == (2, 0.5, 512 * MIB)
    assert (limits.memory_used(), limits.cpu_used_us()) == (200 * MIB, 1234567)
    assert limits.text == "0.5 CPU · 512 MiB (cgroup v2)"


def test_the_tightest_limit_above_a_nested_service_counts(system):
    slice_, unit = "user.slice", "user.slice/job.service"
    files = {
        f"{slice_}/cpu.max": "300000 100000",
        f"{unit}/cpu.max": "max 100000",
        f"{slice_}/cpu.stat": "usage_usec 7\n",
        f"{slice_}/memory.max": str(4096 * MIB),
        f"{unit}/memory.max": str(8192 * MIB),
        f"{slice_}/memory.current": str(MIB),
        f"{unit}/memory.current": "5",
    }
    root = system(f"0::/{unit}\n", V2, **files)
    limits = read_limits(root)
    assert (limits.cpus, limits.memory) == (3.0, 4096 * MIB)
    assert (limits.memory_used(), limits.cpu_used_us()) == (MIB, 7), "use is read where the limit is"
    assert limits.text == "3 CPU · 4.0 GiB (cgroup v2)"


@pytest.mark.parametrize("top", ["/docker/abc", "/"])
def test_a_container_of_cgroup_v1(system, top):
    inner = "" if top != "/" else "docker/abc/"
    cpu, memory = f"cpu,cpuacct/{inner}", f"memory/{inner}"
    files = {
        f"{cpu}cpu.cfs_quota_us": "150000\n",
        f"{cpu}cpu.cfs_period_us": "100000\n",
        f"{cpu}cpuacct.usage": "9000999\n",
        f"{cpu}cpu.stat": "nr_periods 0\n",
        f"{memory}memory.limit_in_bytes": f"{256 * MIB}\n",
        f"{memory}memory.usage_in_bytes": f"{90 * MIB}\n",
        f"{memory}memory.stat": f"inactive_file 1\ntotal_inactive_file {30 * MIB}\n",
    }
    root = system("4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n", v1(top), **files)
    limits = read_limits(root)
    assert (limits.version, limits.cpus, limits.memory) == (1, 1.5, 256 * MIB)
    assert (limits.memory_used(), limits.cpu_used_us()) == (60 * MIB, 9000)


def test_no_limit_is_none_in_both_versions(system, tmp_path):
    root = system("0::/\n", V2, **{"cpu.max": "max 100000\n", "memory.max": "max\n"})
    limits = read_limits(root)
    assert (limits.version, limits.cpus, limits.memory, limits.text) == (2, None, None, "")
    assert limits.memory_used() is None and limits.cpu_used_us() is None
    root = system(
        "4:memory:/\n2:cpu,cpuacct:/\n",
        v1(),
        **{
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "memory/memory.limit_in_bytes": UNLIMITED_V1,
        },
    )
    limits = read_limits(root)
    assert (limits.version, limits.cpus, limits.memory) == (1, None, None)


def test_a_hybrid_system_reads_the_tree_that_has_the_controller(system):
    mounts = v1() + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    root = system(
        "4:memory:/svc\n2:cpu,cpuacct:/\n0::/svc\n",
        mounts,
        **{"memory/svc/memory.limit_in_bytes": str(64 * MIB), "unified/svc/memory.max": str(MIB)},
    )
    assert read_limits(root).memory == 64 * MIB


def test_a_path_outside_the_namespace_falls_back_to_what_is_mounted(system):
    root = system("0::/../../other\n", V2, **{"memory.max": str(128 * MIB)})
    (root / "sys/memory.max").write_text("1")
    assert read_limits(root).memory == 128 * MIB


@pytest.mark.parametrize("content", ["", "garbage", "-5", "\x00"])
def test_unreadable_figures_are_no_limits(system, content):
    root = system("0::/\n", V2, **{"memory.max": content, "cpu.max": content})
    assert (read_limits(root).memory, read_limits(root).cpus) == (None, None)


def test_no_cgroups_at_all(tmp_path):
    limits = read_limits(tmp_path)
    assert (limits.version, limits.cpus, limits.memory) == (0, None, None)


def test_this_machine_can_be_read():
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory_total() <= machine
    if not Path("/proc/self/cgroup").exists():
        pytest.skip("no cgroups here")
    assert read_limits().version in (1, 2)
