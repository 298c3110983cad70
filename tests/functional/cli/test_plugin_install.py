"""The example plugin, installed by pip and used like any other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "plugins/mlops-energy"

USE = """
import json
import numpy as np
from mlops_tui.plugins.hookspecs import Candidate
from mlops_tui.plugins.loader import brought, problems
gates, statistics, panels = brought("gates"), brought("drift_statistics"), brought("panels")
found = {"gates": list(gates), "statistics": list(statistics), "panels": [one.title for one in panels.values()]}
if gates:
    scores, champion = np.array([0.1, 0.9, 0.8, 0.2]), np.zeros(4)
    candidate = Candidate(run="r", labels=np.zeros(4), scores=scores, columns={}, champion=champion)
    found["passed"] = gates["score-shift"].judge(candidate).passed
print(json.dumps(found | {"problems": problems()}))
"""


def used():
    """Return what plugins bring in a process of its own."""
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_it_is_found_trusted_used_and_refused_again(installed, agent, mlops):
    def listed():
        rows = json.loads(mlops("plugins", "--json").stdout)["rows"]
        return next(row for row in rows if row["name"] == "mlops-energy")

    assert listed()["state"] == "untrusted" and listed()["sides"] == "agent, screen, worker"
    assert used()["gates"] == []

    asked = mlops("plugin", "trust", "mlops-energy")
    assert asked.returncode == 2 and "mlops plugin trust mlops-energy --yes" in asked.stderr
    plan = mlops("plugin", "trust", "mlops-energy", "--dry-run")
    assert "its code runs with your rights" in plan.stdout and listed()["state"] == "untrusted"
    assert mlops("plugin", "trust", "nothing-like-it", "--yes").returncode == 5
    assert mlops("plugin", "trust", "mlops-energy", "--yes").returncode == 0
    assert listed()["state"] == "trusted"
    assert mlops("plugin", "trust", "mlops-energy", "--yes").returncode == 6
    now = used()
    assert (now["gates"], now["statistics"], now["panels"]) == (["score-shift"], ["energy"], ["Energy distance"])
    assert now["passed"] is False and now["problems"] == {}

    gate = installed / "mlops_energy/gate.py"
    gate.write_text(gate.read_text() + "# one line more\n")
    assert listed()["state"] == "changed"
    assert used()["gates"] == [] and "gate.py was changed" in used()["problems"]["mlops-energy"]
    assert "changed since they were trusted" in mlops("doctor", "-o", "plain").stdout

    assert mlops("plugin", "trust", "mlops-energy", "--revoke", "--yes").returncode == 0
    assert listed()["state"] == "untrusted"
    actions = [row["action"] for row in json.loads(mlops("audit", "list", "--json").stdout)["rows"]]
    assert actions.count("plugin.trust") == 2


def test_its_own_tests_pass_where_it_is_installed(installed, tmp_path):
    shutil.copytree(SOURCE / "tests", tmp_path / "tests")
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "tests"]
    done = subprocess.run(
        run, cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout


def test_it_is_an_example_that_can_be_read_at_once():
    lines = [line for path in (SOURCE / "src").rglob("*.py") for line in path.read_text().splitlines() if line.strip()]
    assert len(lines) < 100


def test_a_new_plugin_is_written_where_one_stands(mlops, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = mlops("plugin", "new", "mlops-mine", "--json")
    assert made.returncode == 0 and json.loads(made.stdout)["folder"] == str(tmp_path / "mlops-mine")
    assert mlops("plugin", "new", "mlops-mine").returncode == 6
