"""Features of every entity as one file that a server maps into its memory: the newest row of each, found by its key.

The file is a JSON header, then sorted 64-bit hashes of the keys, when each row was true (µs UTC), and the features as
float32, row by row. It is written once and never changed; a newer one takes its place. Readers need no store.
"""

from __future__ import annotations

import json
import mmap
from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mlops_tui.core.errors import BadInput

MAGIC = b"MLOPSON1"
_ALIGN = 64
_FEW = 32


def write(
    file: BinaryIO,
    keys: NDArray[Any],
    ts: NDArray[np.int64],
    matrix: NDArray[np.float32],
    record: dict[str, Any],
    **facts: Any,
) -> int:
    """Write the newest row of each key; of rows of one time the last. Returns how many entities there are.

    Args:
        file: opened for writing.
        keys: ``[n]`` numbers or words.
        ts: when each row was true, µs UTC, ``[n]``.
        matrix: features ``[n, F]``, in the order of the record's definitions.
        record: the feature set that computed them, as ``FeatureSet.record`` gives it.
        **facts: whatever else the header is to say.

    Raises:
        BadInput: there is no row, or two keys cannot be told apart.
    """
    if not len(keys):
        raise BadInput("there is no row to materialise", "the data set is empty", "mlops data show")
    order = np.lexsort((np.arange(len(ts)), ts))
    words = [word(key) for key in keys[order].tolist()]
    newest = {key: at for at, key in enumerate(words)}
    hashes = hashed(list(newest))
    rows = order[np.fromiter(newest.values(), np.int64, len(newest))]
    by_hash = np.argsort(hashes, kind="stable")
    hashes, rows = hashes[by_hash], rows[by_hash]
    if (hashes[1:] == hashes[:-1]).any():
        raise BadInput("two keys have one hash", "one in 2⁶⁴ pairs does", "leave one of them out")
    header = {**facts, "key": record["key"], "rows": len(rows), "record": record}
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + len(MAGIC) + 4) % _ALIGN)
    file.write(MAGIC + len(text).to_bytes(4, "little") + text)
    for column in (hashes.astype("<u8"), ts[rows].astype("<i8"), matrix[rows].astype("<f4")):
        file.write(column.tobytes())
    return len(rows)


class OnlineTable:
    """A mapped file.

    Args:
        path: the file, or an open descriptor of it.

    Attributes:
        header: what it says of itself: ``view``, ``made_us``, ``key``, ``rows``, ``record``.
        names: the features, in the order of their columns.

    Raises:
        BadInput: it is no such file, or not a whole one.
    """

    def __init__(self, path: Path | int) -> None:
        try:
            with open(path, "rb", closefd=not isinstance(path, int)) as file:
                memory = memoryview(mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))
            size = int.from_bytes(memory[8:12], "little")
            if memory[:8] != MAGIC:
                raise ValueError("it begins otherwise")
            self.header: dict[str, Any] = json.loads(bytes(memory[12 : 12 + size]))
            rows, names = self.header["rows"], [one["name"] for one in self.header["record"]["features"]]
            at = 12 + size
            self._hashes = np.frombuffer(memory, "<u8", rows, at)
            # Single numbers are read faster from a view than from an array.
            self._sorted = memory[at : at + 8 * rows].cast("Q")
            self._moments = memory[at + 8 * rows : at + 16 * rows].cast("q")
            self._matrix = np.frombuffer(memory, "<f4", rows * len(names), at + 16 * rows).reshape(rows, len(names))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput("the online features cannot be read", str(error), "materialise them again") from error
        self.names = tuple(names)

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each feature's definition, by its name."""
        return {one["name"]: one["digest"] for one in self.header["record"]["features"]}

    def find(self, keys: Sequence[Any]) -> list[int]:
        """Return the row of each key; -1 where there is none."""
        if len(keys) > _FEW:
            return self._find_many(keys)
        found = []
        for key in keys:
            wanted = int.from_bytes(blake2b(word(key).encode(), digest_size=8).digest(), "little")
            at = bisect_left(self._sorted, wanted)
            found.append(at if at < len(self._sorted) and self._sorted[at] == wanted else -1)
        return found

    def _find_many(self, keys: Sequence[Any]) -> list[int]:
        hashes = hashed([word(key) for key in keys])
        rows = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        found: list[int] = np.where(self._hashes[rows] == hashes, rows, -1).tolist()
        return found

    def values(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Return the features ``[n, F]`` of rows, a copy; of row -1 they are those of anybody."""
        if len(rows) == 1:
            at = max(rows[0], 0)
            return self._matrix[at : at + 1].copy()
        found: NDArray[np.float32] = self._matrix[rows]
        return found

    def oldest(self, rows: Sequence[int]) -> int:
        """Return when the oldest of some rows was true, µs UTC."""
        return min(self._moments[at] for at in rows)


def word(key: Any) -> str:
    """Return a key as text: a whole number is the same however it was written."""
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    return key.decode() if isinstance(key, bytes) else str(key)


def hashed(words: Sequence[str]) -> NDArray[np.uint64]:
    """Return the hash of each key: BLAKE2b of its text, eight bytes."""
    joined = b"".join(blake2b(one.encode(), digest_size=8).digest() for one in words)
    return np.frombuffer(joined, "<u8")
