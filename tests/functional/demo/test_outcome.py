"""Nothing in the demo is hard-coded: where the data does no harm, no harm is caught, and the demo says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[3] / "sample_data"


@pytest.fixture
def sample(tmp_path):
    """A copy of the sample whose version 3 learns the right labels."""
    folder = tmp_path / "sample"
    shutil.copytree(SAMPLE / "project", folder / "project")
    (folder / "census").symlink_to(SAMPLE / "census")
    project = folder / "project/mlops.toml"
    before = project.read_text()
    after = before.replace(', "--flip-labels-where", "age BETWEEN 35 AND 54"', "")
    assert before != after
    project.write_text(after)
    return folder


@pytest.mark.train
@pytest.mark.soak
def test_a_version_that_does_no_harm_is_not_reported_as_caught(home, sample):
    command = [sys.executable, "-m", "mlops_tui.demo", "--headless", "--json", "--until", "harm"]
    given = ["--home", str(home.data), "--sample", str(sample)]
    done = subprocess.run([*command, *given], capture_output=True, text=True, timeout=200)
    summary = json.loads(done.stdout)
    *before, last = summary["steps"]
    assert done.returncode == 1 and not summary["ok"], done.stderr
    assert {step["outcome"] for step in before} == {"ok"}, done.stderr
    assert (last["name"], last["outcome"]) == ("canary-3", "failed")
    assert last["figures"]["state"] == "Succeeded"
    assert "the harmful version is Succeeded · the analysis did not catch it" in done.stderr
