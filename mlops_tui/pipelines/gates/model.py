"""A model file that is asked by the names of its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlops_tui.core.errors import BadInput
from mlops_tui.core.runtime import onnxruntime

FEATURES_KEY = "mlops.features"


class Model:
    """An ONNX model on one thread; called with columns by name it returns the score of each row, shape (n,).

    Args:
        file: the model.
        there: the features that there are; a model that does not name its own takes all of them in this order.

    Attributes:
        inputs: the features that it takes, in its order.

    Raises:
        BadInput: it is no model, or takes features that there are not.
    """

    def __init__(self, file: Path, there: Sequence[str]) -> None:
        ort = onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own errors have no common base
            raise BadInput("the model cannot be loaded", str(error).splitlines()[0]) from error
        given = self._session.get_inputs()[0]
        self._name, width = given.name, given.shape[-1]
        self.inputs = _named(self._session.get_modelmeta().custom_metadata_map) or list(there)
        if missing := [name for name in self.inputs if name not in there]:
            raise BadInput(f"the model takes the feature {missing[0]}, which the rows have not")
        if width != len(self.inputs):
            raise BadInput(f"the model takes {width} features, the rows have {len(self.inputs)}")

    def __call__(self, columns: Mapping[str, Any]) -> Any:
        x = np.stack([np.asarray(columns[name], dtype=np.float32) for name in self.inputs], axis=1)
        scores = np.asarray(self._session.run(None, {self._name: x})[0], dtype=np.float64)
        return scores.reshape(len(x), -1)[:, -1]  # of two columns the last is the probability of class 1


def _named(metadata: Mapping[str, str]) -> list[str]:
    try:
        return msgspec.json.decode(metadata.get(FEATURES_KEY, "[]"), type=list[str])
    except msgspec.MsgspecError:
        return []
