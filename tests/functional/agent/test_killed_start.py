"""An agent that is killed while it comes up: whoever called it begins again instead of giving up."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from mlops_tui.client import Client


def agents(home):
    wanted = f"MLOPS_HOME={home.data}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            argv = (folder / "cmdline").read_bytes().split(b"\0")
            if b"mlops_tui.agent" in argv and wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)
        except OSError:
            continue


def test_a_caller_outlives_two_agents_that_are_killed_at_birth(home):
    killed = set()

    def kill():
        deadline = time.monotonic() + 20
        while len(killed) < 2 and time.monotonic() < deadline:
            for pid in set(agents(home)) - killed:
                time.sleep(0.15 * len(killed))
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    with Client() as client:
        killer.join()
        assert len(killed) == 2 and client.hello.pid not in killed
        assert client.call("agent.status").pid == client.hello.pid
        client.call("agent.stop")
    deadline = time.monotonic() + 20
    while list(agents(home)) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_an_agent_that_dies_at_every_call_is_started_again_for_each(home):
    with Client() as client:
        for _ in range(3):
            os.kill(client.call("agent.status").pid, signal.SIGKILL)
            assert client.call("run.list", {"limit": 1}).total == 0
        client.call("agent.stop")
    deadline = time.monotonic() + 20
    while list(agents(home)) and time.monotonic() < deadline:
        time.sleep(0.05)
