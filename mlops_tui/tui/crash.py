"""What is kept of an error of the screens themselves: a traceback in the log folder, without values."""

from __future__ import annotations

import os
import traceback
from datetime import UTC, datetime
from pathlib import Path

from mlops_tui.core.paths import home, private_dir


def record(error: BaseException) -> Path | str:
    """Append a traceback to the log of the screens and return where it is; frames only, never their variables."""
    try:
        path = private_dir(home().logs) / "tui.log"
        text = "".join(traceback.format_exception(error))
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "a") as file:
            file.write(f"--- {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n{text}")
    except Exception:
        return "nothing: the log could not be written"
    return path
