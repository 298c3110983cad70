"""The program itself, as a person or a script starts it."""

from __future__ import annotations

import importlib.util
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "mlops_tui"]
SOURCE = Path(__file__).parents[3] / "plugins/mlops-energy"


@pytest.fixture
def mlops(home):
    """Run one command line without a terminal: ``mlops("run", "list")``; returns the finished process."""

    def call(*words, timeout=90, **environment):
        return subprocess.run(
            [*PROGRAM, *words],
            env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    return call


@pytest.fixture
def typed(home):
    """Run one command line on a terminal and type, or do, an answer when it asks; returns exit code and screen."""

    def call(*words, answer, asks="? ", timeout=60, **environment):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(
                sys.executable, [*PROGRAM, *words], {**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment}
            )
        screen, deadline, answered = b"", time.monotonic() + timeout, False
        try:
            while time.monotonic() < deadline:
                if not select.select([terminal], [], [], 0.5)[0]:
                    continue
                try:
                    part = os.read(terminal, 65536)
                except OSError:  # the program closed its side
                    break
                if not part:
                    break
                screen += part
                if not answered and asks.encode() in screen:
                    answer() if callable(answer) else os.write(terminal, answer.encode())
                    answered = True
        finally:
            os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen.decode(errors="replace")

    return call


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The plugin as pip installs it."""
    target = tmp_path_factory.mktemp("site")
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), *isolation, str(SOURCE)]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("no build backend: neither hatchling nor an index that has it")
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def installed(built, home, tmp_path, monkeypatch):
    """A copy of it that a test may damage, on the path of every process that the test starts."""
    site = tmp_path / "site"
    shutil.copytree(built, site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site
