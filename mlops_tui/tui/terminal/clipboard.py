"""Copying so that it works over ssh and inside tmux: OSC 52, and tmux's own buffer where there is tmux."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.app import App


def copy(app: App[Any], text: str) -> list[str]:
    """Copy a text by every way there is.

    tmux swallows OSC 52 in its default setting, so its buffer is filled directly; ``-w`` passes it on.

    Returns:
        The ways that were taken, for the toast.
    """
    app.copy_to_clipboard(text)
    ways = ["terminal"]
    if os.environ.get("TMUX") and shutil.which("tmux"):
        try:
            done = subprocess.run(
                ["tmux", "load-buffer", "-w", "-"], input=text.encode(), capture_output=True, timeout=2, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return ways
        if done.returncode == 0:
            ways.append("tmux")
    return ways
