"""Handing this process over to another program of ours: the TUI, the demo, the agent in the foreground."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def to_module(module: str, arguments: Sequence[str] = ()) -> NoReturn:
    """Become ``python -m module``; does not return.

    ``-P`` keeps the folder that the user stands in off ``sys.path``: a ``queue.py`` there must not become ours.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])
