from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlops_tui.serving.problem import Problem
from mlops_tui.serving.tensors import DTYPES, from_binary, from_json, to_binary, to_json

NUMERIC = [name for name in DTYPES if name != "BYTES"]
arrays = st.sampled_from(NUMERIC).flatmap(
    lambda name: st.tuples(
        st.just(name),
        hnp.arrays(
            DTYPES[name],
            hnp.array_shapes(max_dims=3, max_side=5),
            elements={"allow_nan": False, "allow_infinity": False} if name.startswith("FP") else None,
        ),
    )
)


@given(arrays)
def test_every_type_goes_through_json_and_bytes_unchanged(case: tuple[str, Any]) -> None:
    name, array = case
    shape = list(array.shape)
    back = from_json("x", name, shape, to_json(array))
    assert back.dtype == array.dtype and np.array_equal(back, array)
    blob = b"pad" + to_binary(array)
    back = from_binary("x", name, shape, blob, 3, len(blob) - 3)
    assert back.dtype == array.dtype and np.array_equal(back, array) and back.flags.aligned


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), min_size=1))
def test_strings_too(values: list[str]) -> None:
    array = np.array(values, np.object_)
    assert from_json("x", "BYTES", [len(values)], to_json(array)).tolist() == values
    blob = to_binary(array)
    assert from_binary("x", "BYTES", [len(values)], blob, 0, len(blob)).tolist() == values


def test_binary_is_little_endian_with_lengths_before_strings() -> None:
    assert to_binary(np.array([1, 2], np.int16)) == b"\1\0\2\0"
    assert to_binary(np.array(["ab"], np.object_)) == b"\2\0\0\0ab"


def test_nested_data_are_flat_data_with_brackets() -> None:
    assert from_json("x", "FP32", [2, 2], b"[[1,2],[3,4]]").tolist() == [[1, 2], [3, 4]]
    assert from_json("x", "INT64", [2, 1], b" [ [9007199254740993], [2] ]").tolist() == [[9007199254740993], [2]]
    assert from_json("x", "BYTES", [1, 2], b'["[", "]"]').tolist() == [["[", "]"]]


@pytest.mark.parametrize("size", [2, 600])
def test_large_and_small_arrays_are_read_alike(size: int) -> None:
    values = np.linspace(-1e3, 1e3, size)
    text = ("[" + ",".join(repr(float(v)) for v in values) + "]").encode()
    assert np.array_equal(from_json("x", "FP64", [size], text), values)


BAD_JSON = [
    ("FP32", [2], b"[1]"),
    ("FP32", [1], b"[1,2]"),
    ("FP32", [-1], b"[1]"),
    ("FP32", [2], b'[1,"2"]'),
    ("FP32", [2], b"[1,null]"),
    ("FP32", [1], b"[true]"),
    ("FP32", [2, 2], b"[[1,2],[3]]"),
    ("FP32", [2, 2], b"[[1],[2,3,4]]"),
    ("FP32", [3], b"[1,[2,3]]"),
    ("FP32", [2], b"[[1],[2]]"),
    ("FP32", [1], b"1"),
    ("FP32", [1], b'{"a":1}'),
    ("FP32", [1], b'"x"'),
    ("FP32", [1], b"[1"),
    ("FP32", [1], b""),
    ("FP32", [], b"[1,2]"),
    ("FP32", [600], b"[" + b"1," * 599 + b'"x"]'),
    ("FP32", [600], b"[" + b"1," * 599 + b"null]"),
    ("FP32", [1], b"[" * 100_000),
    ("FP64", [1], b"[1e999]"),
    ("INT64", [1], b"[1.5]"),
    ("INT8", [1], b"[300]"),
    ("UINT8", [1], b"[-1]"),
    ("INT64", [1], b"[99999999999999999999]"),
    ("BOOL", [1], b"[1]"),
    ("BYTES", [1], b"[1]"),
    ("STRING", [1], b'["a"]'),
    ("BF16", [1], b"[1]"),
]


@pytest.mark.parametrize(("datatype", "shape", "raw"), BAD_JSON)
def test_what_is_wrong_in_json_is_the_clients_mistake(datatype: str, shape: list[int], raw: bytes) -> None:
    for _ in range(2):
        with pytest.raises(Problem) as caught:
            from_json("x", datatype, shape, raw)
        assert caught.value.status == 400 and "'x'" in caught.value.message
    assert from_json("x", "FP32", [600], b"[" + b"1," * 599 + b"1]").sum() == 600


BAD_BINARY = [
    ("FP32", [2], bytes(4), 0, 4),
    ("FP32", [1], bytes(4), 0, 8),
    ("FP32", [1], bytes(4), 2, 4),
    ("FP32", [-1], bytes(4), 0, 4),
    ("FP32", [1], bytes(4), 0, -4),
    ("NOPE", [1], bytes(4), 0, 4),
    ("BYTES", [1], struct.pack("<I", 100) + b"ab", 0, 6),
    ("BYTES", [2], struct.pack("<I", 2) + b"ab", 0, 6),
    ("BYTES", [1], b"\1\0", 0, 2),
    ("BYTES", [1], struct.pack("<I", 1) + b"\xff", 0, 5),
]


@pytest.mark.parametrize(("datatype", "shape", "blob", "at", "size"), BAD_BINARY)
def test_what_is_wrong_in_bytes_is_the_clients_mistake(
    datatype: str, shape: list[int], blob: bytes, at: int, size: int
) -> None:
    with pytest.raises(Problem) as caught:
        from_binary("x", datatype, shape, blob, at, size)
    assert caught.value.status == 400


def test_json_has_no_nan_and_says_null() -> None:
    assert to_json(np.array([1, np.nan, np.inf], np.float32)) == b"[1.0,null,null]"


def test_whole_numbers_are_integers_however_they_are_written() -> None:
    for raw in (b"[1, 2.0, 3e2]", b"[[1], [2.0], [3e2]]"):
        shape = [3] if raw[1:2] != b"[" else [3, 1]
        assert from_json("x", "INT32", shape, raw).ravel().tolist() == [1, 2, 300]
    for raw in (b"[1, 2.5]", b"[[1], [2.5]]", b"[1, true]", b"[1, 1e300]"):
        with pytest.raises(Problem):
            from_json("x", "INT32", [2] if raw[1:2] != b"[" else [2, 1], raw)
