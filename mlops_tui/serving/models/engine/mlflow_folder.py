"""What stands in the folder of an MLflow model: its card, what it takes and gives, and what it needs."""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

CARD, REQUIREMENTS = "MLmodel", "requirements.txt"


def card_of(folder: Path) -> dict[str, Any]:
    """Return the card of a model.

    Raises:
        ValueError: there is none.
    """
    try:
        import yaml
    except ImportError as error:
        raise ValueError(_no_mlflow()) from error
    try:
        found = yaml.safe_load((folder / CARD).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"it is no MLflow model: {error}") from error
    return found if isinstance(found, dict) else {}


def check_requirements(folder: Path) -> None:
    """Return when everything that a model asks for is installed, in whatever version.

    Raises:
        ValueError: something is missing; all of it is named, with the Python that lacks it.
    """
    try:
        lines = (folder / REQUIREMENTS).read_text().splitlines()
    except OSError:
        lines = []
    missing = [line.strip() for line in lines if (name := _name(line)) and not _installed(name)]
    if missing:
        raise ValueError(
            f"the model needs {', '.join(missing)}, which {sys.executable} does not have: install it there, or "
            "name the Python of an environment that has it (--python)"
        )
    if not _installed("mlflow") and not _installed("mlflow-skinny"):
        raise ValueError(_no_mlflow())


def signature_of(folder: Path) -> dict[str, Any] | None:
    """Return the signature of a model's card as inputs and outputs; None when it has none."""
    said = card_of(folder).get("signature") or {}
    inputs, outputs = (_specs(said.get(side)) for side in ("inputs", "outputs"))
    return {"inputs": inputs, "outputs": outputs} if inputs else None


def params_of(folder: Path) -> list[dict[str, Any]]:
    """Return the params of a signature as name, dtype (empty: none that a tensor has) and whether it is a list."""
    said = (card_of(folder).get("signature") or {}).get("params")
    found = (json.loads(said) if isinstance(said, str) else said) or []
    return [
        {
            "name": one["name"],
            "dtype": kind if isinstance(kind := one["type"], str) else "",
            "list": bool(one.get("shape")),
        }
        for one in found
    ]


def tensor_based(specs: list[dict[str, Any]]) -> bool:
    """Tell whether specs are tensors, not columns of a table."""
    return bool(specs) and all(one["tensor"] for one in specs)


def _specs(text: Any) -> list[dict[str, Any]]:
    """Return MLflow's JSON of a schema as name, dtype and shape; a column is a tensor of one dimension."""
    found = (json.loads(text) if isinstance(text, str) else text) or []
    specs = []
    for at, one in enumerate(found):
        if one.get("type") == "tensor":
            inner = one["tensor-spec"]
            spec = {"name": one.get("name"), "dtype": inner["dtype"], "shape": inner["shape"], "tensor": True}
        elif isinstance(one.get("type"), str) and one["type"] not in ("array", "object", "map", "any"):
            spec = {"name": one.get("name"), "dtype": one["type"], "shape": [-1], "tensor": False}
        else:
            raise ValueError(f"column {one.get('name')!r} is of type {one.get('type')}, which no tensor has")
        spec["optional"] = not one.get("required", True)
        spec["name"] = str(spec["name"] if spec["name"] is not None else "input" if len(found) == 1 else f"input_{at}")
        specs.append(spec)
    return specs


def _name(line: str) -> str:
    """Return the project that a line of requirements names; empty when it names none (an option, an address)."""
    line = line.partition("#")[0].partition(";")[0].strip()
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
    return found.group() if found and "://" not in line else ""


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _no_mlflow() -> str:
    return f"{sys.executable} has no MLflow, which runs this model: pip install 'mlops_tui[mlflow]', or --python"
