"""Where an export may go: into a new folder, or on in one where it was stopped."""

from __future__ import annotations

from pathlib import Path

from mlops_tui.core.errors import BadInput, Conflict

UNFINISHED = ".unfinished"
"""What lies in the folder of an export until it is whole."""


def check_target(folder: Path) -> None:
    """Return when an export may be written to a folder.

    Raises:
        BadInput: it is a file.
        Conflict: something else lies there.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file", "an export is a folder", "name a new folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / UNFINISHED).exists():
        raise Conflict(f"{folder} is not empty", "an export replaces nothing", "name a new folder")
