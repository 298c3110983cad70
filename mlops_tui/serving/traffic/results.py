"""What a run gave, cut up for the requests that shared it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import orjson

from mlops_tui.serving.problem import Answer
from mlops_tui.serving.tensors import Array, to_json
from mlops_tui.serving.traffic.routing import Arm

Writer = Callable[["Shared", Arm], list[Answer]]


class Shared:
    """The outputs of one run and the rows of each request in it.

    Args:
        arrays: the model's outputs.
        rows: how many rows each request has, in their order; of several requests every output has a row a row.
        idents: their ids.
        rescued: the revision stands in for another one.
    """

    def __init__(
        self, arrays: Sequence[Array], rows: Sequence[int], idents: Sequence[str] = (), rescued: bool = False
    ) -> None:
        self.arrays, self.rows, self.idents, self.rescued = arrays, rows, idents, rescued
        self.alone = len(rows) == 1
        self._written: dict[Writer, list[Answer]] = {}

    @property
    def single(self) -> bool:
        """Tell whether every request has one row, and there are several of them."""
        return not self.alone and max(self.rows) == 1

    def span(self, number: int) -> tuple[int, int]:
        """Return where a request's rows begin and end."""
        begin = sum(self.rows[:number])
        return begin, begin + self.rows[number]

    def shapes(self, output: int) -> list[tuple[int, ...]]:
        """Return the shape of an output for each request."""
        shape = self.arrays[output].shape
        return [shape] if self.alone else [(rows, *shape[1:]) for rows in self.rows]

    def json(self, output: int) -> list[bytes]:
        """Return the values of an output as a flat JSON array for each request; NaN and infinity become null."""
        return [to_json(Results(self, number)[output]) for number in range(len(self.rows))]

    def lines(self, output: int) -> list[bytes]:
        """Return the same without the brackets, in a third of the time, when every request has one row."""
        array = self.arrays[output]
        if array.dtype.kind == "O":
            return [text[1:-1] for text in self.json(output)]
        table = np.ascontiguousarray(array).reshape(len(array), -1)
        # [[1,2],[3,4]]: numbers hold neither brackets nor commas of their own.
        return orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")

    def written(self, writer: Writer, arm: Arm) -> list[Answer]:
        """Return the answers that a writer makes for all requests; it is asked once a run."""
        found = self._written.get(writer)
        if found is None:
            found = self._written[writer] = writer(self, arm)
        return found


class Results(msgspec.Struct):
    """The outputs for one request: arrays in the order of the model's outputs."""

    shared: Shared
    number: int

    def __getitem__(self, output: int) -> Array:
        """Return an output; iterating gives all."""
        array = self.shared.arrays[output]
        if self.shared.alone:
            return array
        begin, end = self.shared.span(self.number)
        return array[begin:end]

    def __iter__(self) -> Iterator[Array]:
        """Give every output."""
        return (self[output] for output in range(len(self.shared.arrays)))

    def shape(self, output: int) -> tuple[int, ...]:
        """Return the shape of an output."""
        return self.shared.shapes(output)[0 if self.shared.alone else self.number]
