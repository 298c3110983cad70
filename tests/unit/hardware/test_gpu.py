"""GPUs through the real pynvml and its real ctypes calls. The library behind them is a double compiled from C."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from mlops_tui.hardware.gpu import Failed, Gpus, GpuSample, NotSupported, note, value

ASK = """
import msgspec, os, sys
from mlops_tui.hardware.gpu import Gpus
from mlops_tui.hardware.processes import processes
gpus = Gpus()
found = {"state": gpus.state, "facts": gpus.facts(), "samples": gpus.samples(), "processes": gpus.processes()}
os.environ["NVML_DOUBLE_PID"] = str(os.getpid())
found["busiest"] = processes(gpus, limit=1, seconds=0.01)
gpus.close()
found["after"] = gpus.samples()
print(msgspec.json.encode(found).decode())
"""


@pytest.fixture(scope="module")
def library(nvml_double):
    return nvml_double


def ask(library, **variables):
    environment = os.environ | {"LD_LIBRARY_PATH": str(library)} | variables
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_figure_is_a_value_or_says_why_not(library):
    found = ask(library)
    assert found["state"] == "3 GPUs (driver 550.54.15)"
    first, second, lost = found["facts"]
    limit = 700.0
    assert first == {
        "index": 0,
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": "GPU-aaaa",
        "mem_total": 80 * 2.0**30,
        "power_limit_w": limit,
    }
    assert (second["name"], lost["name"], lost["uuid"]) == ("NVIDIA T4", "GPU 2", "")
    full, partial, gone = (msgspec.convert(sample, GpuSample) for sample in found["samples"])
    assert (full.util, full.mem_used, full.temp_c, full.power_w) == (93.0, 61 * 2.0**30, 71.0, 612.5)
    assert (partial.util, partial.power_w, partial.temp_c) == (47.0, NotSupported(), Failed("unknown error"))
    assert (gone.util, gone.mem_total, gone.power_w) == (Failed("gpu is lost"),) * 3


def test_processes_on_a_gpu_come_first(library):
    found = ask(library)
    assert found["processes"] == [
        {"index": 0, "pid": 1, "mem_used": 3 * 2.0**30},
        {"index": 0, "pid": 4242, "mem_used": {"type": "not_supported"}},
    ]
    assert (found["busiest"][0]["gpus"], found["busiest"][0]["gpu_mem"]) == ([0], 3 * 2.0**30)
    assert found["after"] == []


def test_a_driver_without_gpus_and_a_driver_that_is_not_loaded_are_states(library):
    assert ask(library, NVML_DOUBLE_COUNT="0")["state"] == "CPU only (NVML: driver 550.54.15, no GPU)"
    assert ask(library, NVML_DOUBLE_COUNT="1")["state"] == "1 GPU (driver 550.54.15)"
    unloaded = ask(library, NVML_DOUBLE_NO_DRIVER="1")
    assert unloaded["state"] == "CPU only (NVML: driver not loaded)" and unloaded["samples"] == []


def test_no_library_is_a_state_with_its_reason():
    found = ask(Path("/nonexistent"))
    if "GPU" in found["state"].split()[1:2]:
        pytest.skip("this machine has a GPU")
    assert found["state"] == "CPU only (NVML not found: no driver)"
    assert found["facts"] == found["samples"] == found["processes"] == []


def test_numbers_and_reasons_are_told_apart():
    assert (value(0.0), note(0.0)) == (0.0, "")
    assert (value(NotSupported()), note(NotSupported())) == (None, "not supported")
    assert (value(Failed("gpu is lost")), note(Failed("gpu is lost"))) == (None, "gpu is lost")


def test_closing_twice_is_fine():
    gpus = Gpus()
    gpus.close()
    gpus.close()
