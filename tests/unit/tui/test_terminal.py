"""What the terminal does to the program."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

_PROGRAM = """
import time
from mlops_tui.tui.terminal.ask import leave_when_gone
leave_when_gone()
print("here", flush=True)
time.sleep(60)
"""


def test_a_program_ends_with_a_terminal_that_sends_no_hang_up() -> None:
    outside, inside = pty.openpty()
    # A session of its own without a controlling terminal: the kernel has nobody to send SIGHUP to.
    child = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdin=inside, stdout=subprocess.PIPE, start_new_session=True
    )
    os.close(inside)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.poll() is None
        os.close(outside)
        assert child.wait(20) == 129
    finally:
        child.kill()
        child.communicate()
