"""A torch model: TorchScript, an exported program (``.pt2``), or what MLflow's torch flavour keeps."""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .shapes import Spec, listed, spec_of
from .wire import Array

SIGNATURE = "signature.json"


class TorchModel:
    """A module in inference mode.

    Args:
        path: its file, or the folder of an MLflow model.
        folder: which of both.
        signature: what it takes and gives, where the file does not say; or None.
        threads: how many one request may use.
        device: ``cpu``, or ``cuda`` with or without a number.

    Raises:
        ValueError: it cannot be read, or nobody says what it takes.
    """

    def __init__(self, path: Path, folder: bool, signature: Any, threads: int, device: str) -> None:
        import torch

        torch.set_num_threads(threads)
        self._torch, self._device = torch, device
        self.inputs: list[Spec]
        self.outputs: list[Spec]
        if folder:
            self._module, said = _of_mlflow(path, device)
        elif _is_exported(path):
            self._module, said = _exported(torch, path, device)
        else:
            self._module, said = _script(torch, path, device)
        said = signature or said
        if not said or not said.get("inputs"):
            raise ValueError(
                "nobody says what this model takes: TorchScript keeps no shapes; save it with "
                f"_extra_files={{'{SIGNATURE}': …}} (inputs and outputs: name, dtype, shape), or export it as .pt2"
            )
        self.inputs = [spec_of(one) for one in said["inputs"]]
        self._names = [one["name"] for one in said.get("outputs") or ()]
        self.outputs = self._tried([spec_of(one) for one in said.get("outputs") or () if "dtype" in one])

    def about(self) -> dict[str, Any]:
        """Return what it takes and gives, and where it runs."""
        return {"inputs": listed(self.inputs), "outputs": listed(self.outputs), "provider": self._device}

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output by its name."""
        torch = self._torch
        given = [torch.from_numpy(tensors[one.name]).to(self._device) for one in self.inputs]
        with torch.inference_mode():
            return self._named(self._module(*given))

    def _named(self, results: Any) -> dict[str, Array]:
        if isinstance(results, Mapping):
            return {str(name): _array(value) for name, value in results.items()}
        values: Sequence[Any] = results if isinstance(results, tuple | list) else [results]
        if len(self._names) != len(values):
            self._names = [f"output_{at}" for at in range(len(values))] if len(values) > 1 else ["output"]
        return {name: _array(value) for name, value in zip(self._names, values, strict=True)}

    def _tried(self, said: list[Spec]) -> list[Spec]:
        """Return the outputs as one row of zeros shows them; some models refuse zeros, and may."""
        try:
            results = self.run({one.name: one.row() for one in self.inputs})
        except Exception:
            if not said:
                raise
            return said
        batch = bool(self.inputs[0].shape) and self.inputs[0].shape[0] == -1
        return [Spec.seen(name, value, batch) for name, value in results.items()]


def _array(value: Any) -> Array:
    found: Array = value.detach().to("cpu").contiguous().numpy()
    return found


def _is_exported(path: Path) -> bool:
    """Tell an exported program from TorchScript: both are archives, by what lies in them."""
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ValueError("it is no torch model, or not a whole one") from error
    return any(
        name.endswith(("archive_format", "serialized_exported_program.json", "models/model.json")) for name in names
    )


def _script(torch: Any, path: Path, device: str) -> tuple[Any, Any]:
    extra = {SIGNATURE: ""}
    with open(path, "rb") as file:
        module = torch.jit.load(file, map_location=device, _extra_files=extra)
    module.eval()
    return module, json.loads(extra[SIGNATURE]) if extra[SIGNATURE] else None


def _exported(torch: Any, path: Path, device: str) -> tuple[Any, Any]:
    extra = {SIGNATURE: ""}
    with open(path, "rb") as file, _no_code(torch):
        program = torch.export.load(file, extra_files=extra)
    said = json.loads(extra[SIGNATURE]) if extra[SIGNATURE] else _signature(program)
    return program.module().to(device), said


@contextlib.contextmanager
def _no_code(torch: Any) -> Iterator[None]:
    """Run no code that a file names, as torch does for parts of an exported program.

    Written against torch 2.13: it opens some parts with pickle, or falls back to it, and reads the sizes of free
    dimensions with ``sympify``, which evaluates them as Python.
    """
    import pickle

    import sympy

    load, loads, sympify = torch.load, pickle.loads, sympy.sympify

    def plain(*given: Any, **how: Any) -> Any:
        return load(*given, **{**how, "weights_only": True})

    def never(*given: Any, **how: Any) -> Any:
        raise ValueError("a part of the program is a pickle that may name code; export it without objects of its own")

    def arithmetic(expression: Any, *given: Any, **how: Any) -> Any:
        if isinstance(expression, str) and not is_arithmetic(expression):
            raise ValueError(f"a size of the program is no arithmetic: {expression[:80]!r}")
        return sympify(expression, *given, **how)

    torch.load, pickle.loads, sympy.sympify = plain, never, arithmetic
    try:
        yield
    finally:
        torch.load, pickle.loads, sympy.sympify = load, loads, sympify


def is_arithmetic(text: str) -> bool:
    """Tell whether an expression has numbers, symbols, operators and functions of mathematics alone."""
    text = re.sub(r"Symbol\('[A-Za-z_]\w*'(, ?\w+=(True|False))*\)", "s", text)
    if not re.fullmatch(r"[\w\s+\-*/%<>=!&|~(),.]*", text) or "__" in text or re.search(r"\.\s*[A-Za-z_]", text):
        return False
    calls = set(re.findall(r"([A-Za-z_]\w*)\s*\(", text))
    return all(re.fullmatch(r"[A-Z][A-Za-z]*(_[a-z]+)?|floor|ceiling|sqrt|log|exp", name) for name in calls)


def _signature(program: Any) -> dict[str, Any]:
    """Return what an exported program takes: free dimensions were named when it was exported."""
    wanted = set(program.graph_signature.user_inputs)
    inputs = []
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in wanted:
            value = node.meta["val"]
            shape = [int(d) if isinstance(d, int) else -1 for d in value.shape]
            inputs.append({"name": node.name, "dtype": str(value.dtype).removeprefix("torch."), "shape": shape})
    return {"inputs": inputs}


def _of_mlflow(path: Path, device: str) -> tuple[Any, Any]:
    from .mlflow_folder import check_requirements, signature_of

    check_requirements(path)
    import mlflow.pytorch

    module = mlflow.pytorch.load_model(str(path), map_location=device)
    if hasattr(module, "eval"):
        with contextlib.suppress(NotImplementedError):  # an exported program has no other mode
            module.eval()
    return module, signature_of(path)
