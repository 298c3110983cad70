"""Waiting for something, and children that are somebody else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops_tui.client.start import hello
from mlops_tui.spool.process import created_us

NOBODY = 65534


@pytest.fixture
def until():
    """A function that waits for an answer that is true and returns it; says what it last saw when it never comes."""

    def wait(ask, seconds: float = 20.0, every: float = 0.05):
        deadline = time.monotonic() + seconds
        while not (seen := ask()):
            assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s; last seen: {seen!r}"
            time.sleep(every)
        return seen

    return wait


BECOME = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


@pytest.fixture(scope="session")
def _another_user():
    """Skip where nobody can be somebody else, or where another user cannot run this Python."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can be somebody else, with setpriv")
    probe = [*BECOME, sys.executable, "-c", "import http.client, mlops_tui.client, os; print(os.getuid())"]
    if subprocess.run(probe, capture_output=True, text=True, cwd="/", timeout=60).stdout.strip() != str(NOBODY):
        pytest.skip("another user cannot run this Python")


@pytest.fixture
def as_nobody(_another_user):
    """A function that runs Python source as another user and returns the finished child."""

    def run(source: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*BECOME, sys.executable, "-c", source, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd="/",
            env={**os.environ, **environment},
        )

    return run


@pytest.fixture
def disk(tmp_path):
    """A function that mounts a disk of its own, of some megabytes, and returns its folder."""
    mounted = []

    def mount(megabytes: int, folder: Path = tmp_path / "disk") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        asked = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "none", str(folder)]
        if os.getuid() != 0 or subprocess.run(asked, capture_output=True).returncode != 0:
            pytest.skip("only root may mount, and not in every container")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def gone(until):
    """A function that waits until a process is no more, its files closed."""
    return lambda pid: until(lambda: created_us(pid) is None)


@pytest.fixture
def stop(home, gone):
    """A function that stops whatever agent runs and waits until it is gone; runs once more when the test is over."""

    def end() -> None:
        found = hello(home, 1.0)
        if found is not None:
            os.kill(found.pid, 15)
            gone(found.pid)

    yield end
    end()
