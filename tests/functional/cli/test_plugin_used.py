"""What the installed example plugin brings is there where people look: in drift, in a gate's report, on a screen."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

import mlops_tui as mlops_sdk
from mlops_tui.contracts.monitor import AddMonitor
from mlops_tui.contracts.operation import find
from mlops_tui.core.config import load
from mlops_tui.data import training_set
from mlops_tui.door.context import Caller
from mlops_tui.door.perform import Wish, perform
from mlops_tui.monitoring import watch
from mlops_tui.monitoring.reference import monitor_of
from mlops_tui.plugins import loader
from mlops_tui.plugins.found import find_plugin
from mlops_tui.plugins.trust import set_trust
from mlops_tui.stats import profile
from mlops_tui.tui.app import MlopsApp


@pytest.fixture
def trusted(installed, home, monkeypatch):
    """The example in this process, trusted; its code is gone again after the test."""
    monkeypatch.syspath_prepend(str(installed))
    set_trust(home, find_plugin(home, "mlops-energy"))
    yield
    loader.forget("mlops-energy")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlops_energy"]:
        del sys.modules[name]


@pytest.fixture
def watched(trusted, house):
    """A deployment whose ages went down, judged once."""
    spec = importlib.util.spec_from_file_location("stage", Path(__file__).parents[2] / "unit/stage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stage = module.Stage(house)
    stage.model(features=("age", "hours"))
    deployment = stage.serve()
    values = np.random.default_rng(1).uniform(20, 80, (4000, 2)).astype(np.float32)
    profiles = {"names": ["age", "hours"], "features": {}}
    for at, name in enumerate(profiles["names"]):
        profiles["features"][name] = msgspec.to_builtins(profile.build(values[:, at], "numeric"))
    asked = msgspec.to_builtins(AddMonitor(deployment="census", window_s=600.0))
    stage.call("monitor.commit", deployment="census", spec=asked, reference="made up", profiles=profiles)
    live = values[:1000].copy()
    live[:, 0] = live[:, 0] / 4 + 15
    stage.answer(deployment, 1, np.full(1000, 0.5), features=live)
    stage.evidence()
    watch.judge(house, monitor_of(house.read(lambda s: watch.find(s, deployment))))
    return stage


def test_its_statistic_stands_in_the_judgement_and_draws_a_curve(watched):
    shown = {one.feature: one.others for one in watched.call("drift.show", deployment="census").features}
    assert shown["age"]["energy"] > 0.1 > 0.01 > shown["hours"]["energy"]
    keys = watched.house.read(lambda s: s.column("SELECT key FROM series WHERE scope = 'monitor'"))
    assert {"age/energy", "hours/energy"} <= set(keys)


class HouseDoor:
    """A door to the rooms in this process."""

    def __init__(self, house):
        self.house = house

    async def reach(self):
        return None

    async def close(self):
        return None

    async def events(self, since=None):
        await asyncio.sleep(3600)
        yield {}

    async def call(self, operation, request=None, *, digest=""):
        body = msgspec.convert(request or {}, find(operation).request)
        caller = Caller("alice", os.getuid())
        return await asyncio.to_thread(perform, self.house, operation, body, caller, Wish(digest=digest))


async def test_its_panel_stands_in_the_drift_mode(watched):
    app = MlopsApp(HouseDoor(watched.house), load({"theme": "mlops-dark", "user": "alice"}), period=0.05)
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("6")
        text, deadline = "", time.monotonic() + 20
        while "census age" not in text.partition("Energy distance")[2] and time.monotonic() < deadline:
            await pilot.pause(0.1)
            text = "\n".join(strip.text for strip in app.screen._compositor.render_strips(app.size))
    assert "Energy distance" in text
    lines = [line.strip("│ ┃") for line in text.partition("Energy distance")[2].splitlines() if "census" in line]
    assert [line.split()[:2] for line in lines] == [["census", "age"], ["census", "hours"]]
    assert "█" in lines[0]


def test_its_gate_is_asked_and_reported(installed, agent, mlops, tmp_path):
    assert mlops("plugin", "trust", "mlops-energy", "--yes").returncode == 0
    rng = np.random.default_rng(0)
    definition = {"name": "age", "version": 1, "dtype": "float", "expr": "AGE"}
    roles = {"key": "id", "label": "employed", "groups": ["SEX"], "forbidden": ["SEX"]}
    record = {**roles, "inputs": {"AGE": "DOUBLE"}, "features": [definition]}
    x = rng.normal(size=(500, 1)).astype(np.float32)
    rows = training_set.TrainingSet(
        np.arange(500), x, (x[:, 0] > 0).astype(np.float32), {"SEX": np.where(rng.random(500) < 0.5, "1", "2")}, record
    )
    training_set.write_evaluation(rows, x[:, 0], tmp_path / "evaluation.parquet")
    with mlops_sdk.start_run(experiment="people", name="first") as run:
        run.log_artifact(tmp_path / "evaluation.parquet", path="evaluation/evaluation.parquet")
    with agent.client() as client:
        deadline = time.monotonic() + 20
        while not client.call("run.list", {"filter": "name:first status:done"}).total and time.monotonic() < deadline:
            time.sleep(0.05)
        while not client.call("run.show", {"run": "first"}).artifacts and time.monotonic() < deadline:
            time.sleep(0.05)
        report = client.run_job("gate.run", {"run": "first", "gates": ["score-shift"]})
        (result,) = report["results"]
        assert (result["gate"], result["passed"], result["text"]) == ("score-shift", True, "there is no champion yet")
        names = [row[0] for row in client.call("plugin.list", {"filter": "state:builtin"}).rows]
    assert "builtin:pipelines.gates" in names
