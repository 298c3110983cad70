"""What starts a training script: Python by default, or what a plugin brings; it is known before anything is queued."""

import sys
from types import SimpleNamespace

import msgspec
import pytest

from mlops_tui.contracts import job as contract
from mlops_tui.core.errors import BadInput, MlopsError
from mlops_tui.door.context import Caller
from mlops_tui.door.perform import Wish, perform
from mlops_tui.training import trainers


@pytest.fixture
def train(house, tmp_path):
    (tmp_path / "fit.py").write_text("print('fits')\n")
    (tmp_path / "fit.sh").write_text("#!/bin/sh\n")

    def call(script, args=(), **more):
        caller = Caller("tester", 0, cwd=str(tmp_path))
        request = contract.StartTraining(script=script, args=list(args), **more)
        started = perform(house, "job.train", request, caller, Wish())
        return house.read(lambda s: msgspec.json.decode(s.value("SELECT spec FROM job WHERE id = ?", [started.job])))

    return call


@pytest.fixture
def launcher(monkeypatch):
    made = SimpleNamespace(name="twice", command=lambda script, args: ["torchrun", "-n2", script, *args])
    monkeypatch.setattr(trainers, "brought", lambda what: {"python": trainers.PythonTrainer(), "twice": made})
    return made


def test_python_runs_scripts_and_leaves_programs_as_they_are(train, tmp_path):
    assert train("fit.py", ["--epochs", "3"])["argv"] == [sys.executable, str(tmp_path / "fit.py"), "--epochs", "3"]
    assert train("fit.sh")["argv"] == [str(tmp_path / "fit.sh")]


def test_a_plugin_says_how_its_scripts_are_started(train, launcher, tmp_path):
    assert train("fit.py", ["-x"], trainer="twice")["argv"] == ["torchrun", "-n2", str(tmp_path / "fit.py"), "-x"]


def test_an_unknown_trainer_names_the_known_ones_and_queues_nothing(train, launcher, house):
    with pytest.raises(BadInput, match="no trainer 'thrice'") as refused:
        train("fit.py", trainer="thrice")
    assert refused.value.fix == "one of: python, twice"
    assert house.read(lambda s: s.value("SELECT count(*) FROM job")) == 0


@pytest.mark.parametrize("answer", [lambda script, args: 1 / 0, lambda script, args: [], lambda script, args: "run it"])
def test_one_that_breaks_is_named(train, launcher, answer):
    launcher.command = answer
    with pytest.raises(MlopsError, match="the trainer twice"):
        train("fit.py", trainer="twice")
