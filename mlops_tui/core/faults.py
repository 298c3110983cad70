"""Points at which a test may kill the process: ``MLOPS_FAULT=rollout:Shifting:after`` dies there, as kill -9 does.

Without the variable a point is one comparison. Only tests set it.
"""

from __future__ import annotations

import os
import signal

_ARMED = os.environ.get("MLOPS_FAULT", "")


def point(name: str) -> None:
    """Die here if this is the point that was asked for."""
    if _ARMED and name == _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
