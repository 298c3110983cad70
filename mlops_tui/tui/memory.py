"""What the screens remember from one session to the next: order, columns and kept views of lists, in a small file."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from mlops_tui.core.errors import MlopsError
from mlops_tui.core.paths import home, private_dir


def _file() -> Path:
    return home().state / "tui.json"


def recall() -> dict[str, Any]:
    """Return what was remembered; a missing or damaged file is an empty memory."""
    try:
        found = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(key: str, value: Any) -> None:
    """Keep one thing, or forget it where ``value`` is empty; that it cannot be written is no reason to stop."""
    _write({**recall(), key: value} if value else {name: one for name, one in recall().items() if name != key})


def forget() -> None:
    """Forget how lists were sorted and laid out; the views that a person has named stay."""
    _write({name: one for name, one in recall().items() if name.startswith("views.")})


def _write(kept: dict[str, Any]) -> None:
    with contextlib.suppress(OSError, MlopsError):
        path = private_dir(_file().parent) / "tui.json"
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(kept, indent=1, sort_keys=True))
        fresh.replace(path)
