"""What the processes of a run use, measured on real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from mlops_tui.core.ids import uuid7
from mlops_tui.spool import usage
from mlops_tui.spool.reader import read_from
from mlops_tui.spool.writer import Writer

BUSY = """
import subprocess, sys
held = bytearray(60_000_000)
child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
print("up", flush=True)
sys.stdin.read()
child.kill()
"""


@pytest.fixture
def busy():
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    yield process
    process.communicate()


def figures(writer):
    """The system metrics of the only file, by name: (step, value) a sample."""
    points = read_from(writer.path, 0).points
    found = {}
    for key, step, value in zip(points.key, points.step, points.value, strict=True):
        found.setdefault(points.names[key], []).append((int(step), float(value)))
    return found


def test_a_sample_is_of_the_whole_tree_and_nothing_else(tmp_path, busy, monkeypatch):
    monkeypatch.setattr(usage, "SHORT_S", 0.0)
    writer = Writer(tmp_path, uuid7(), start=False)
    measured = usage.Usage(writer, busy.pid)
    time.sleep(0.5)
    measured.tick()
    found = figures(writer)
    assert all(name.startswith("system/") for name in found)
    [(_, cpu)], [(_, memory)], [(_, count)] = (found[f"system/{name}"] for name in ("cpu", "memory_mb", "processes"))
    assert count == 2 and 60 < memory < 400 and 5 < cpu < 150, "one of the two is busy, this process does not count"
    assert {"system/disk_read_mb_s", "system/disk_write_mb_s"} <= found.keys()
    assert writer.next_step == 0, "the training's own steps are not touched"
    writer.close()


def test_steps_are_seconds_since_the_run_began_whoever_measures(tmp_path, monkeypatch):
    monkeypatch.setattr(usage, "SHORT_S", 0.0)
    owner = uuid7()
    began = int(owner.replace("-", "")[:12], 16)
    owner = f"{began - 90_000:012x}"[:8] + "-" + f"{began - 90_000:012x}"[8:] + owner[13:]
    writer = Writer(tmp_path, owner, start=False)
    usage.Usage(writer, os.getpid()).tick()
    [(step, _)] = figures(writer)["system/cpu"]
    assert 90 <= step < 120
    writer.close()


def test_what_has_ended_or_is_too_short_is_not_told(tmp_path, busy):
    writer = Writer(tmp_path, uuid7(), start=False)
    measured = usage.Usage(writer, busy.pid)
    measured.tick()
    measured._at -= 10
    busy.communicate()
    measured.end()
    assert writer.path is None or not figures(writer)


def test_written_bytes_are_counted(tmp_path):
    before = usage.tree(os.getpid())[os.getpid()]
    with open(tmp_path / "file", "wb") as file:
        file.write(os.urandom(3_000_000))
        file.flush()
        os.fsync(file.fileno())
    after = usage.tree(os.getpid())[os.getpid()]
    if after.written == before.written:
        pytest.skip("this file system does not count what is written to it")
    assert after.written - before.written >= 3_000_000


@pytest.mark.parametrize(("value", "said"), [("0", False), ("off", False), ("1", True), ("", True)])
def test_samples_can_be_turned_off(value, said):
    assert usage.wanted({usage.OFF: value}) is said and usage.wanted({}) is True


def test_a_run_of_the_sdk_measures_itself_unless_its_runner_does(script, events):
    code = """
        import time
        with mlops.start_run("e") as run: time.sleep(1.1)
        print(run.id)
    """
    run = script(code).stdout.strip()
    assert {"system/cpu", "system/memory_mb"} <= {name for name, *_ in events(run).points}
    for variables in ({"MLOPS_SYSTEM_METRICS": "0"}, {"MLOPS_JOB_ID": uuid7(), "MLOPS_RUN_ID": uuid7()}):
        assert events(script(code, **variables).stdout.strip()).points == []


ASK = """
import json, os, sys
from mlops_tui.spool.usage_gpu import Devices
print(json.dumps([Devices().figures({int(pid) for pid in sys.argv[1:]}), "pynvml" in sys.modules]))
"""


def asked(*pids, **variables):
    done = subprocess.run(
        [sys.executable, "-c", ASK, *map(str, pids)],
        env=os.environ | variables, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_only_devices_in_use_are_told(nvml_double):
    library = {"LD_LIBRARY_PATH": str(nvml_double)}
    mine, _ = asked(77, **library, NVML_DOUBLE_PID="77")
    told = {"gpu0/util": 93.0, "gpu0/memory_mb": 3 * 2**30 / 1e6, "gpu0/power_w": 612.5, "gpu0/temp_c": 71.0}
    assert mine == told
    assert asked(78, **library, NVML_DOUBLE_PID="77")[0] == {}
    named, _ = asked(78, **library, CUDA_VISIBLE_DEVICES="1")
    assert named["gpu1/util"] == 47.0 and not any(name.startswith("gpu0/") for name in named)
    assert asked(78, **library, CUDA_VISIBLE_DEVICES="GPU-aaa")[0]["gpu0/memory_mb"] == 61 * 2**30 / 1e6


def test_without_a_driver_nothing_is_imported():
    found, imported = asked(1)
    if imported:
        pytest.skip("this machine has a GPU")
    assert found == {}
