"""Checkpoints of a job that may be asked to stop.

The contract, the same on every target::

    state = torch.load(path) if (path := mlops.latest_checkpoint()) else fresh()
    for step in range(state.step, steps):
        ...
        if run.should_stop:
            mlops.save_checkpoint(lambda file: torch.save(state, file))
            sys.exit(mlops.PREEMPTED)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mlops_tui.sdk.exits import PREEMPTED
from mlops_tui.spool.notice import Notices

__all__ = ["PREEMPTED", "checkpoint_dir", "latest_checkpoint", "save_checkpoint"]

_notices = Notices()


def checkpoint_dir() -> Path | None:
    """Return the folder that outlives this attempt of the job (``MLOPS_CKPT_DIR``), made if need be; else None."""
    given = os.environ.get("MLOPS_CKPT_DIR")
    if not given:
        return None
    folder = Path(given)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _notices.once("folder", f"the checkpoint folder {folder} cannot be made ({error.strerror})")
    return folder


def save_checkpoint(content: bytes | Callable[[BinaryIO], object], name: str = "last.ckpt") -> Path | None:
    """Write a checkpoint so that whoever kills us finds the old one or the new one, whole.

    Args:
        content: the bytes, or a function that writes them to the file it is given.
        name: the file's name in the checkpoint folder.

    Returns:
        The file; None outside a job, or when the disk did not take it (said on stderr; the old one is still there).

    Raises:
        Exception: whatever ``content`` raises, but OSError.
    """
    folder = checkpoint_dir()
    if folder is None:
        return None
    target = folder / name
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync_folder(folder)
    except OSError as error:
        _notices.once("save", f"the checkpoint {target} could not be written ({error.strerror or error})")
        return None
    finally:
        temporary.unlink(missing_ok=True)
    return target


def latest_checkpoint(name: str = "last.ckpt") -> Path | None:
    """Return the checkpoint that an earlier attempt saved under this name; None when there is none."""
    folder = checkpoint_dir()
    return folder / name if folder is not None and (folder / name).is_file() else None


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
