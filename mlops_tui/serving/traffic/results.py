"""What a run gave, cut up for the requests that shared it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import orjson

from mlops_tui.serving.models.model import Model
from mlops_tui.serving.tensors import Array, to_json

Writer = Callable[["Shared", Model], list[bytes]]


class Shared:
    """The outputs of one run and the rows of each request in it.

    Args:
        arrays: the model's outputs.
        rows: how many rows each request has, in their order; of several requests every output has a row a row.
    """

    def __init__(self, arrays: Sequence[Array], rows: Sequence[int]) -> None:
        self.arrays, self._rows = arrays, rows
        self.alone = len(rows) == 1
        self._written: dict[Writer, list[bytes]] = {}

    @property
    def single(self) -> bool:
        """Tell whether every request has one row, and there are several of them."""
        return not self.alone and max(self._rows) == 1

    def each(self) -> Iterator[Results]:
        """Give every request its part, in their order."""
        return (Results(self, number) for number in range(len(self._rows)))

    def span(self, number: int) -> tuple[int, int]:
        """Return where a request's rows begin and end."""
        begin = sum(self._rows[:number])
        return begin, begin + self._rows[number]

    def shapes(self, output: int) -> list[tuple[int, ...]]:
        """Return the shape of an output for each request."""
        shape = self.arrays[output].shape
        return [shape] if self.alone else [(rows, *shape[1:]) for rows in self._rows]

    def json(self, output: int) -> list[bytes]:
        """Return the values of an output as a flat JSON array for each request; NaN and infinity become null."""
        return [to_json(results[output]) for results in self.each()]

    def lines(self, output: int) -> list[bytes]:
        """Return the same without the brackets, in a third of the time, when every request has one row."""
        array = self.arrays[output]
        if array.dtype.kind == "O":
            return [text[1:-1] for text in self.json(output)]
        table = np.ascontiguousarray(array).reshape(len(array), -1)
        # [[1,2],[3,4]]: numbers hold neither brackets nor commas of their own.
        return orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")

    def written(self, writer: Writer, model: Model) -> list[bytes]:
        """Return what a writer makes of all requests; it is asked once a run."""
        found = self._written.get(writer)
        if found is None:
            found = self._written[writer] = writer(self, model)
        return found


class Results(Sequence[Array]):
    """The outputs for one request: arrays in the order of the model's outputs."""

    __slots__ = ("_number", "_shared")

    def __init__(self, shared: Shared, number: int) -> None:
        self._shared, self._number = shared, number

    def __len__(self) -> int:
        return len(self._shared.arrays)

    def __getitem__(self, output: int) -> Array:  # type: ignore[override]
        array = self._shared.arrays[output]
        if self._shared.alone:
            return array
        begin, end = self._shared.span(self._number)
        return array[begin:end]

    def shape(self, output: int) -> tuple[int, ...]:
        """Return the shape of an output."""
        return self._shared.shapes(output)[0 if self._shared.alone else self._number]

    def of_all(self, writer: Writer, model: Model) -> bytes:
        """Return this request's part of what a writer makes of all requests of the run."""
        return self._shared.written(writer, model)[self._number]
