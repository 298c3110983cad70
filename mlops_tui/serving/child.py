"""What every process that a server starts is given: this very package, its threads, and none of our secrets."""

from __future__ import annotations

import os
from pathlib import Path

import mlops_tui

_SECRETS = ("MLOPS_STORE_KEY", "CREDENTIALS_DIRECTORY")


def environment(threads: int = 1) -> dict[str, str]:
    """Return what a process of ours is started with: so many threads a library, no secrets, and this very package."""
    libraries = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    kept = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    root = str(Path(mlops_tui.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return {**kept, **libraries, "PYTHONPATH": path}
