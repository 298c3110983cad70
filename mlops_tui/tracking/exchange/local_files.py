"""Files of runs on this machine's disk, found also when the folder that holds them was moved."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlops_tui.blobs.input import open_regular
from mlops_tui.core.errors import MlopsError
from mlops_tui.tracking.exchange.source import SourceFile


def local_folder(uri: str, beside: Path) -> Path | None:
    """Return the folder that an artifact URI of MLflow's means, None when nothing lies there (a run without files).

    Args:
        uri: a path, ``file:…`` or ``mlflow-artifacts:…``.
        beside: the folder of the database, or of the store: where to look when the whole was moved.

    Raises:
        MlopsError: the files lie on another machine or in a bucket, or it is no folder that MLflow would make.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file", "mlflow-artifacts"):
        raise MlopsError(
            f"files at {parts.scheme}://{parts.netloc}/… are not read", "", "import from the server that serves them"
        )
    path = Path(unquote(parts.path))
    if not path.parts:
        return None
    if path.name != "artifacts":  # a database from elsewhere may name any folder of this machine
        raise MlopsError(f"{uri:.200} is no folder of artifacts of MLflow's", "its name is not artifacts", "")
    if parts.scheme == "mlflow-artifacts":
        places = [beside / "mlartifacts" / str(path).lstrip("/")]
    else:
        inner = path.parts[1:] if path.is_absolute() else path.parts
        moved = [beside.joinpath(*inner[-count:]) for count in range(min(5, len(inner)), 1, -1)]
        places = [beside / path, *moved]
    return next((place for place in places if place.is_dir()), None)


def files_below(folder: Path) -> Iterator[SourceFile]:
    """Yield every regular file below a folder; links are not followed."""
    for top, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(top, name)
            if path.is_file() and not path.is_symlink():
                yield SourceFile(path.relative_to(folder).as_posix(), partial(open_regular, path))
