from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mlops_tui.core.paths import home
from mlops_tui.sdk import active
from mlops_tui.spool.files import scan
from mlops_tui.spool.reader import read_from


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Every test has a home of its own and no variable that a job would set."""
    for name in [name for name in os.environ if name.startswith("MLOPS_")] + ["RANK"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(active, "_mine", set())
    yield
    for run in list(active._open):
        run.end()


@pytest.fixture
def events():
    """Reads back what is in the spool: every record of one owner (or the only one), files in order of their start."""

    def read(owner: str | None = None) -> Events:
        files = scan(home().spool)
        owners = {file.owner for file in files}
        owner = owner or owners.pop()
        return Events([read_from(file.path) for file in files if file.owner == owner])

    return read


class Events:
    """The records of a run, by type name, and its metric points."""

    def __init__(self, chunks: list) -> None:
        assert not any(chunk.bad for chunk in chunks)
        self.files = len(chunks)
        self.records = [record for chunk in chunks for record in chunk.records]
        self.points = [
            (points.names[key], int(step), float(value))
            for points in (chunk.points for chunk in chunks)
            for key, step, value in zip(points.key, points.step, points.value, strict=True)
        ]

    def of(self, kind: str) -> list:
        return [record for record in self.records if type(record).__name__ == kind]

    @property
    def start(self):
        return self.of("Start")[0]

    @property
    def ends(self) -> list[tuple]:
        return [(end.status, end.exit, end.error) for end in self.of("End")]

    @property
    def tags(self) -> dict[str, str]:
        return {key: value for tag in self.of("Tag") for key, value in tag.g.items()}


@pytest.fixture
def script(tmp_path):
    """Runs a script in a fresh interpreter and returns what became of it."""

    def run(code: str, *args: object, wait: bool = True, **environment: str):
        file = tmp_path / "train.py"
        Path(file).write_text("import mlops_tui as mlops\n" + textwrap.dedent(code))
        process = subprocess.Popen(
            [sys.executable, str(file), *map(str, args)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not wait:
            started.append(process)
            return process
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    started: list[subprocess.Popen[str]] = []
    yield run
    for process in started:
        process.kill()
        process.communicate()
