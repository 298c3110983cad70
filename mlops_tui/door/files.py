"""Files that a caller names: seen from where the caller stands, and said plainly when they are none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_tui.core.errors import BadInput, NotFound

if TYPE_CHECKING:
    from mlops_tui.door.context import Context


def callers_file(ctx: Context, given: str) -> Path:
    """Return the absolute path of a file that the caller named.

    Raises:
        NotFound: nothing is there.
        BadInput: a folder, a pipe or a device is.
    """
    path = Path(ctx.caller.cwd or "/", given)
    if path.is_dir():
        raise BadInput(f"{path} is a folder", "one file is wanted", "name a file in it")
    if not path.exists():
        raise NotFound(f"there is no file {path}", "", "give its path from where you are")
    if not path.is_file():
        raise BadInput(f"{path} is not a file", "it is a pipe, a socket or a device", "write it to a file first")
    return path
