"""The app against a real agent: over its socket, and as the program that a person starts in a terminal."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_tui.client import AsyncClient
from mlops_tui.core.config import load
from mlops_tui.tui.app import MlopsApp
from mlops_tui.tui.widgets.table import Table

SCRIPT = """
import sys
import mlops_tui as mlops
with mlops.start_run(experiment="live", name="from-a-script") as run:
    for step in range(50):
        run.log({"loss": 1 / (step + 1)}, step=step)
    print("logged", flush=True)
    sys.stdin.readline()
"""


def terminal_class():
    path = Path(__file__).parents[2] / "benchmarks" / "tui_terminal.py"
    spec = importlib.util.spec_from_file_location("tui_terminal", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Terminal


async def test_a_run_of_a_script_appears_ends_and_outlives_the_agent(agent, home, screen_text, until):
    config = load({"theme": "mlops-dark"}, home)
    app = MlopsApp(AsyncClient(home, config=config), config, period=0.1)
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("2")

        def names():
            table = app.face.query_one("#runs", Table)
            return [(table.value("name", row), table.value("status", row)) for row in await_rows(table)]

        def await_rows(table):
            return [row for i in range(table.total) if (row := table.row(i))]

        await until(pilot, lambda: app.face.query_one("#runs", Table).opened)
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=home.data
        )
        try:
            await until(pilot, lambda: names() == [("from-a-script", "running")])
            await until(pilot, lambda: "loss" in "\n".join(screen_text(app)))
            process.stdin.write(b"\n")
            process.stdin.close()
            await until(pilot, lambda: names() == [("from-a-script", "done")])
        finally:
            process.kill()
            process.wait()
        before = agent.process.pid
        agent.kill()
        # What was read stays on the screen; the next agent is started by the app itself.
        await until(pilot, lambda: app.door.hello.pid != before and "● live" in screen_text(app)[0], 20)
        assert ("from-a-script", "done") in names()
    await stop(home)


async def stop(home):
    """Stop the agent that the app may have started anew."""
    from mlops_tui.client import Client
    from mlops_tui.core.errors import Unreachable

    try:
        await asyncio.to_thread(lambda: Client(home, start=False).call("agent.stop"))
    except Unreachable:
        return
    from mlops_tui.client.start import hello

    for _ in range(300):
        if hello(home, 0.5) is None:
            return
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("no_color", [False, True], ids=["colour", "no-color"])
def test_the_program_starts_paints_and_leaves_the_terminal_as_it_was(agent, home, no_color, until):
    env = {"MLOPS_HOME": str(home.data), **({"NO_COLOR": "1"} if no_color else {})}
    terminal = terminal_class()([sys.executable, "-P", "-m", "mlops_tui.tui"], env)
    try:
        assert terminal.until("Needs you", 20) is not None
        assert terminal.until("CPU", 20) is not None
        os.write(terminal.fd, b"q")
        assert terminal.process.wait(10) == 0
        terminal.quiet(0.2)
        assert (b"38;2;" in terminal.seen) is not no_color
        # The alternate screen is left and the cursor shown again.
        assert b"\x1b[?1049l" in terminal.seen and b"\x1b[?25h" in terminal.seen
    finally:
        terminal.close()


def test_without_a_terminal_it_says_what_to_do_instead(home):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mlops_tui.tui"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2 and "mlops top" in done.stderr


def test_a_bad_link_is_said_before_anything_is_painted(home, until):
    terminal = terminal_class()(
        [sys.executable, "-P", "-m", "mlops_tui.tui", "nowhere:x"], {"MLOPS_HOME": str(home.data)}
    )
    try:
        assert terminal.until("there is no place called", 20) is not None
        assert terminal.process.wait(10) == 2
    finally:
        terminal.close()


def test_the_start_imports_nothing_that_can_wait():
    heavy = ("numpy", "duckdb", "torch", "onnxruntime", "msgspec", "http.client", "mlops_tui.client")
    start = "import sys, mlops_tui.tui.app, mlops_tui.tui.screens.home.mode"
    code = f"{start}; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60).strip() == "[]"
