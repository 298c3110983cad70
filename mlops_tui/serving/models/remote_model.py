"""A model in a process of its own, with the face of any other: checked here, run there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from mlops_tui.serving.models.engine.shapes import PARAM
from mlops_tui.serving.models.model import Feed, Model, Packed
from mlops_tui.serving.models.remote import Remote
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.tensors import Array, Tensor

_PLATFORMS = {"torch": "pytorch_torch", "pyfunc": "mlflow_pyfunc"}


class RemoteModel(Model):
    """A model whose engines run beside the workers.

    Args:
        engine: ``torch`` or ``pyfunc``.
        about: what an engine said of it: ``inputs``, ``outputs``, ``provider``.
        remote: the engines.
    """

    joins = False

    def __init__(self, engine: str, about: Mapping[str, Any], remote: Remote) -> None:
        self._engine, self._remote = engine, remote
        self._provider = about["provider"]
        self.platform = _PLATFORMS[engine]
        self.optional = frozenset(one["name"] for one in about["inputs"] if one["optional"])
        self.gives_table, dates = bool(about.get("table")), about.get("dates", ())
        self.params = {one["name"].removeprefix(PARAM): _tensor(one) for one in about.get("params", ())}
        self._describe(
            [
                _tensor(one)._replace(
                    nullable=engine == "pyfunc" and one["datatype"] == "BYTES", date=one["name"] in dates
                )
                for one in about["inputs"]
            ],
            [_tensor(one) for one in about["outputs"]],
        )
        shapes = [[1 if d < 0 else d for d in tensor.shape] for tensor in self.output_tensors]
        self._lay_out(shapes, {})

    @property
    def condition(self) -> dict[str, Any]:
        """What a worker knows of the engines; how they fare is the supervisor's to say."""
        return {"engine": self._engine, "provider": self._provider}

    def takes_long(self, rows: int) -> bool:
        """Tell that a run would hold up other requests: it waits for another process."""
        return True

    def check(self, feed: Feed) -> int:
        """Return how many rows the tensors hold, if they are what the model takes; optional ones may be missing."""
        if self.params:
            beside = {tensor.name for tensor in self.params.values()}
            feed = {name: array for name, array in feed.items() if name not in beside}
        dated = [tensor.name for tensor in self.inputs if tensor.date and tensor.name in feed]
        if self.optional and any(name not in feed for name in self.optional):
            first = next(iter(feed.values()), None)
            rows = len(first) if first is not None and first.ndim else 0
            feed = {**{name: self._blank(name, rows) for name in self.optional}, **feed}
        count = super().check(feed)
        for name in dated:
            _refuse_undated(name, feed[name])
        return count

    def run(self, feed: Feed) -> list[Array]:
        """Return every output for tensors that :meth:`check` has let pass.

        Raises:
            Problem: 429, 503 or 504 when the process is busy, gone or too slow.
            RuntimeError: the model failed, or gave other outputs than before.
        """
        results = self._remote.run(feed)
        try:
            return [_as(results[tensor.name], tensor) for tensor in self.output_tensors]
        except KeyError as error:
            raise RuntimeError(f"it gave {', '.join(results)} and no {error.args[0]!r}") from error

    def close(self) -> None:
        """Hang up, when who waits for an answer has it."""
        if self.lane is None:
            self._remote.close()
        else:
            self.lane.close(self._remote.close)

    def feature_bytes(self, feed: Feed, rows: int) -> Packed:
        """Return the features as the log keeps them; empty when an optional one is missing."""
        if any(tensor.name not in feed for tensor in self.inputs):
            return b""
        return super().feature_bytes(feed, rows)

    def _blank(self, name: str, rows: int) -> Array:
        tensor = next(one for one in self.inputs if one.name == name)
        return np.zeros([rows if at == 0 and d < 0 else max(d, 1) for at, d in enumerate(tensor.shape)], tensor.dtype)


def _tensor(said: Mapping[str, Any]) -> Tensor:
    shape = tuple(said["shape"])
    symbols = tuple("n" if not at and d < 0 else None for at, d in enumerate(shape))
    return Tensor(said["name"], said["datatype"], shape, symbols)


def _refuse_undated(name: str, words: Array) -> None:
    """Refuse what the model would fail on: the client's mistake is not to count as the model's."""
    for word in words.ravel():
        try:
            moment = datetime.fromisoformat(word) if word is not None else None
        except ValueError:
            raise Problem(f"input {name!r}: {word[:40]!r} is no date, such as 2026-11-26T10:00:00") from None
        if moment is not None and moment.tzinfo is not None:
            raise Problem(f"input {name!r}: {word[:40]!r} has an offset, and the model takes dates without one")


def _as(array: Array, tensor: Tensor) -> Array:
    """Return an output in the type that was promised: models give whole numbers one time and fractions another.

    Raises:
        Problem: 500, it cannot be had in that type.
    """
    if array.dtype == tensor.dtype:
        return array
    try:
        return array.astype(tensor.dtype)
    except (ValueError, TypeError) as error:
        raise Problem(f"the output {tensor.name!r} is not {tensor.datatype}", 500) from error
