"""Starting processes from one that has given its priority up: what it starts must not be slowed down with it."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_launcher: ThreadPoolExecutor | None = None


def give_way(steps: int) -> None:
    """Lower the priority of this process, but not of what :func:`launch` starts.

    On Linux a priority belongs to a thread and is inherited by the threads and processes that it starts. So the thread
    that launches must be there before; elsewhere what is launched is lowered too.
    """
    global _launcher
    _launcher = ThreadPoolExecutor(1, thread_name_prefix="launch")
    _launcher.submit(os.getpid).result()
    os.nice(steps)


def launch(words: list[str], **wishes: Any) -> subprocess.Popen[bytes]:
    """Start a process as ``subprocess.Popen`` does, with the priority that this process had before it gave way."""
    if _launcher is None:
        return subprocess.Popen(words, **wishes)
    return _launcher.submit(lambda: subprocess.Popen(words, **wishes)).result()
