"""What a model is like, found out by running it once it is loaded: does it take long, do its rows mind each other?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

import numpy as np

from mlops_tui.serving.tensors import DTYPES, Array, Tensor

LONG_S = 1e-3
"""A run that takes longer than this goes to a thread of its own."""
_ROWS = 16
_MANY = 64
"""Rows by which the cost of a row is measured: enough that the jitter of a short run does not decide it."""
_TRIES = 3
_MAX_ELEMENTS = 1 << 20
Run = Callable[[Mapping[str, Array]], Sequence[Array]]


class Probe:
    """Runs a model on made-up rows.

    Attributes:
        joins: rows that run together give what each gives alone, so that requests may share a run.
        cost: seconds of a run, and seconds of each row in it besides.
        refuses_nan: a run of what is missing fails, where one of numbers does not.
    """

    def __init__(self, run: Run, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        self._run, self._inputs = run, inputs
        self.joins, self.cost, self.refuses_nan = False, (0.0, 0.0), False
        try:
            alone = self._timed(self._rows(1))
            self.cost = (alone, 0.0)
            if alone < LONG_S and _free(inputs) and all(t.shape[:1] == (-1,) for t in outputs):
                row_s = max(0.0, (self._timed(self._rows(_MANY)) - alone) / (_MANY - 1))
                self.cost = (max(0.0, alone - row_s), row_s)
                self.joins = self._same(self._rows(_ROWS))
        except Exception:
            # Some models refuse what is made up, and may: they run request by request.
            self.joins = False
            return
        try:
            one = self._rows(1)
            self._run({name: np.full_like(a, np.nan) if a.dtype.kind == "f" else a for name, a in one.items()})
        except Exception:
            self.refuses_nan = True

    def _timed(self, feed: Mapping[str, Array]) -> float:
        times = []
        for _ in range(_TRIES):
            began = perf_counter()
            self._run(feed)
            times.append(perf_counter() - began)
        return min(times)

    def _rows(self, n: int) -> dict[str, Array]:
        rng = np.random.default_rng(0)
        feed: dict[str, Array] = {}
        for tensor in self._inputs:
            shape = [d if d >= 0 else 1 for d in tensor.shape]
            if tensor.shape and tensor.shape[0] < 0:
                shape[0] = n
            if np.prod(shape, dtype=float) > _MAX_ELEMENTS:
                raise ValueError("too large to try")
            dtype = DTYPES[tensor.datatype]
            values = rng.normal(size=shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
            feed[tensor.name] = values.astype(str).astype(dtype) if dtype.kind == "O" else values.astype(dtype)
        return feed

    def _same(self, rows: Mapping[str, Array]) -> bool:
        """Tell whether each row alone gives what it gives among others, but for the last digits of a sum."""
        together = self._run(rows)
        for i in range(_ROWS):
            alone = self._run({name: array[i : i + 1] for name, array in rows.items()})
            for one, all_ in zip(alone, together, strict=True):
                if len(all_) != _ROWS or len(one) != 1 or not _close(one[0], all_[i]):
                    return False
        return True


def _free(tensors: Sequence[Tensor]) -> bool:
    """Tell whether the first dimension, and no other, is free in all of them."""
    return bool(tensors) and all(t.shape[:1] == (-1,) and -1 not in t.shape[1:] for t in tensors)


def _close(a: Array, b: Array) -> bool:
    if np.asarray(a).dtype.kind == "f":
        return bool(np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True))
    return bool(np.array_equal(a, b))
