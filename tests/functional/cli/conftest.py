"""The program itself, as a person or a script starts it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time

import pytest

PROGRAM = [sys.executable, "-m", "mlops_tui"]


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
    """Run one command line on a terminal of its own and type an answer when it asks; returns exit code and screen."""

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
                    os.write(terminal, answer.encode())
                    answered = True
        finally:
            os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen.decode(errors="replace")

    return call
