"""What can be served without a store: a model file, or a bundle; found out from the path alone."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

from mlops_tui.core.errors import BadInput, NotFound, Refused
from mlops_tui.serving.deployment import Model, Part, Rescue, Revision
from mlops_tui.serving.models import bundle
from mlops_tui.serving.models.bundle import ARCHIVES, Facts


class Source(NamedTuple):
    """A model to serve: the name that its clients use, its revisions with their weights, and how it wants it."""

    name: str
    revisions: tuple[Revision, ...]
    facts: Facts = Facts()
    sticky: str | None = None
    fallback: str | None = None
    signed_by: str = ""
    rescue: Rescue = Rescue()
    also: tuple[str, ...] = ()
    features: Model | None = None
    missing: str = "refuse"


def find_source(path: Path, scratch: Path, key: str = "") -> Source:
    """Return what lies at a path.

    Args:
        path: a model file or a bundle.
        scratch: a folder in which an archive may be unpacked.
        key: public key in hex whose signature a bundle must have; empty: none is asked for.

    Raises:
        NotFound: nothing lies there.
        BadInput: it is nothing that can be served.
        Refused: a bundle was changed, or has not the signature.
    """
    if not path.exists():
        raise NotFound(f"there is no {path}", "", "mlops serve NAME@ALIAS serves a registered model")
    if path.name.endswith(ARCHIVES):
        path = bundle.unpack(path, scratch)
    if bundle.is_bundle(path):
        found = bundle.read(path, key)
        told = found.manifest
        return Source(
            told.name, found.revisions, told.facts, told.sticky, told.fallback, found.signed_by, told.rescue,
            features=found.features, missing=told.missing,
        )  # fmt: skip
    if key:
        raise Refused(f"{path} is not signed", "it is no bundle", "mlops deploy bundle NAME makes one")
    return Source(named(path.stem), (_only(path.stem, find_model(path.absolute())),))


def named(text: str) -> str:
    """Return a name that can stand in an address."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "model"


def _only(label: str, model: Model) -> Revision:
    return Revision("only", 1, label, model, 100.0)


def find_model(path: Path) -> Model:
    """Return a model file or the folder of an MLflow model, with what runs it.

    Raises:
        BadInput: it is neither.
    """
    if path.is_dir():
        return _folder(path)
    beside = path.with_suffix(".signature.json")
    try:
        said = json.loads(beside.read_bytes()) if beside.exists() else None
    except ValueError as error:
        raise BadInput(f"cannot read {beside}", str(error), "it says inputs and outputs: name, dtype, shape") from error
    return Model(str(path), engine="torch" if zipfile.is_zipfile(path) else "onnx", signature=said)


def _folder(path: Path) -> Model:
    card = path / "MLmodel"
    if not card.exists():
        raise BadInput(
            f"{path} is a folder", "it is no bundle and no MLflow model", "mlops deploy bundle NAME makes one"
        )
    import yaml

    try:
        flavors = yaml.safe_load(card.read_text())["flavors"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise BadInput(f"cannot read {card}", str(error)) from error
    whole = list(path.rglob("*.onnx"))
    if "onnx" in flavors and len(whole) == 1:
        return Model(str(whole[0]))
    engine = "torch" if "pytorch" in flavors else "pyfunc"
    files = sorted(one for one in path.rglob("*") if one.is_file())
    return Model(
        str(path), engine=engine, parts=tuple(Part(one.relative_to(path).as_posix(), str(one)) for one in files)
    )
