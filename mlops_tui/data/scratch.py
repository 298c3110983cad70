"""A place for the plaintext of stored artifacts while one job works on it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops_tui.core.errors import MlopsError

MEMORY = Path("/dev/shm")
YOUNG_S = 60.0
"""A folder that is younger may not be locked by its owner yet."""


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a private folder, in memory where the system has a place for that; nothing of it remains afterwards.

    A job that is killed cannot clear up: whoever comes next removes the folders whose owner lives no more.

    Raises:
        MlopsError: the place is full.
    """
    base = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    prefix = f"mlops-scratch-{os.getuid()}-"
    _sweep(base, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    # The kernel drops the lock with its holder, however it dies and in whatever pid namespace it lives.
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        free = shutil.disk_usage(base).free
        fix = "make it larger (docker run --shm-size), or free some of it"
        raise MlopsError(
            f"there is no room for the unsealed data in {base}", f"{free:,} bytes are free", fix
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(base: Path, prefix: str) -> None:
    for folder in base.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # a living owner's, another user's, or swept by somebody else
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(lock).st_mtime > YOUNG_S:
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
