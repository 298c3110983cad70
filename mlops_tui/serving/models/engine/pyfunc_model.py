"""A model of MLflow, run by its ``pyfunc`` interface: columns in, whatever it predicts out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .mlflow_folder import card_of, check_requirements, params_of, signature_of, tensor_based
from .shapes import PARAM, Spec, listed, param_of, spec_of
from .wire import Array

_PLAIN = "predictions"
_NO_SIGNATURE = [{"name": "input", "dtype": "float64", "shape": [-1, -1], "tensor": True}]


class PyfuncModel:
    """A loaded model.

    Args:
        path: the folder of the model.

    Raises:
        ValueError: it needs what is not installed, or cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        check_requirements(path)
        import mlflow.pyfunc

        card = card_of(path)
        said = signature_of(path) or {"inputs": _NO_SIGNATURE, "outputs": []}
        self._model = mlflow.pyfunc.load_model(str(path))
        self.inputs = [spec_of(one) for one in said["inputs"]]
        self._tensors = tensor_based(said["inputs"])
        self._alone = self._tensors and len(self.inputs) == 1
        self._dates = [one["name"] for one in said["inputs"] if one["dtype"] == "datetime"]
        self.params = [one for said_ in params_of(path) if (one := param_of(said_)) is not None]
        outputs = [spec_of(one) for one in said["outputs"]]
        self._table = len(outputs) > 1 and not tensor_based(said["outputs"])
        self._names = [one.name if one.name != "input" else _PLAIN for one in outputs]
        self.outputs = self._tried(
            path, card, [one._replace(name=n) for one, n in zip(outputs, self._names, strict=True)]
        )
        self._names = [one.name for one in self.outputs]

    def about(self) -> dict[str, Any]:
        """Return what it takes and gives, and where it runs."""
        sides = {"inputs": self.inputs, "outputs": self.outputs, "params": self.params}
        known = {"provider": "cpu", "table": self._table, "dates": self._dates}
        return {**known, **{side: listed(specs) for side, specs in sides.items()}}

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output by its name."""
        given = [(one, tensors[one.name].tolist()) for one in self.params if one.name in tensors]
        if not given:
            return self._named(self._model.predict(self._given(tensors)))
        params = {one.name.removeprefix(PARAM): values if one.shape == (-1,) else values[0] for one, values in given}
        return self._named(self._model.predict(self._given(tensors), params=params))

    def _given(self, tensors: Mapping[str, Array]) -> Any:
        if self._alone:
            return tensors[self.inputs[0].name]
        if self._tensors:
            return dict(tensors)
        import pandas as pd

        table = {one.name: tensors[one.name] for one in self.inputs if one.name in tensors}
        frame = pd.DataFrame({name: column.reshape(len(column)) for name, column in table.items()})
        for name in table.keys() & set(self._dates):
            frame[name] = pd.to_datetime(frame[name], format="ISO8601")
        return frame

    def _named(self, found: Any) -> dict[str, Array]:
        """Return what a model gave as arrays by name; a table's columns each by its own."""
        self._table = hasattr(found, "columns") and hasattr(found, "dtypes")
        if self._table:
            return {str(name): _array(found[name].to_numpy()) for name in found.columns}
        if isinstance(found, Mapping):
            return {str(name): _array(np.asarray(value)) for name, value in found.items()}
        if hasattr(found, "to_numpy"):
            found = found.to_numpy()
        name = self._names[0] if len(self._names) == 1 else _PLAIN
        return {name: _array(np.asarray(found))}

    def _tried(self, path: Path, card: dict[str, Any], said: list[Spec]) -> list[Spec]:
        """Return the outputs as a row shows them: of the model's own example when it has one, else of nothing."""
        try:
            results = self._named(self._model.predict(self._example(path, card)))
        except Exception:
            if not said:
                raise
            return said
        return [Spec.seen(name, value[:1], True) for name, value in results.items()]

    def _example(self, path: Path, card: dict[str, Any]) -> Any:
        if card.get("saved_input_example_info"):
            from mlflow.models import Model

            try:
                return Model.load(str(path)).load_input_example(str(path))
            except Exception:  # an example that cannot be read is none
                pass
        return self._given({one.name: one.row() for one in self.inputs})


def _array(found: Array) -> Array:
    """Return an array that can travel: dates and words as text."""
    if found.dtype.kind == "M":
        return np.datetime_as_string(found).astype(np.object_)
    return found if found.ndim else found.reshape(1)
