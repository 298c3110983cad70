"""Devices that plugins see: beside the GPUs in sample, host and curves; a probe that breaks stops no sample."""

import logging
import os

import msgspec
import pytest

from mlops_tui.contracts.agent import Device
from mlops_tui.contracts.operation import find
from mlops_tui.door import Caller
from mlops_tui.door.perform import perform
from mlops_tui.hardware import devices, watch
from mlops_tui.plugins.loader import brought


class Npu:
    name = "npu"

    def devices(self):
        return [
            Device(index=0, name="NPU", uuid="n0", util=40.0, mem_used=1, mem_total=4),
            Device(index=0, name="second", uuid="n1"),
        ]


class Broken:
    name = "broken"

    def devices(self):
        raise OSError("gone")


@pytest.fixture
def probes(monkeypatch):
    found = {"nvml": devices.NvmlProbe(), "broken": Broken(), "npu": Npu()}
    monkeypatch.setattr(devices, "brought", lambda what: found)
    return found


def call(house, operation):
    found = find(operation)
    return perform(house, operation, msgspec.convert({}, found.request), Caller("tester", os.getuid()))


def test_what_plugins_see_stands_beside_the_gpus(house, probes, caplog):
    one = watch.Watch(house.home.data)
    with caplog.at_level(logging.WARNING):
        watch.take(house, one)
        watch.take(house, one)
    first = len(one.facts.gpus)
    shown = call(house, "host.show")
    assert [(gpu.index, gpu.name, gpu.util) for gpu in shown.gpus[first:]] == [
        (first, "NPU", 40.0),
        (first + 1, "second", None),
    ]
    assert shown.gpu_state.endswith("; 2 seen by plugins")
    table = call(house, "host.list")
    assert table.rows[0][[column.name for column in table.columns].index("gpus")] == first + 2
    keys = house.read(lambda s: s.column(f"SELECT key FROM series WHERE key LIKE 'gpu{first}/%' ORDER BY key"))
    assert keys == [f"gpu{first}/mem", f"gpu{first}/util"]
    assert caplog.messages == ["the device probe broken: OSError: gone"]


def test_the_built_in_probe_answers_like_any_other(house):
    assert isinstance(brought("device_probes")["nvml"].devices(), list)
