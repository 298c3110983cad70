"""What can be served without a store: a model file, or a bundle; found out from the path alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.serving.deployment import Model, Revision


class Source(NamedTuple):
    """A model to serve: the name that its clients use, and its revisions with their weights."""

    name: str
    revisions: tuple[Revision, ...]


def find_source(path: Path) -> Source:
    """Return what lies at a path.

    Raises:
        NotFound: nothing does.
        BadInput: it is nothing that can be served.
    """
    if not path.exists():
        raise NotFound(f"there is no {path}", "", "mlops serve NAME@ALIAS serves a registered model")
    if path.is_dir():
        raise BadInput(f"{path} is a folder", "it is no bundle", "mlops deploy bundle NAME makes one")
    return Source(named(path.stem), (_only(path.stem, Model(str(path.absolute()))),))


def named(text: str) -> str:
    """Return a name that can stand in an address."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "model"


def _only(label: str, model: Model) -> Revision:
    return Revision("only", 1, label, model, 100.0)
